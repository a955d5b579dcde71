"""The service without BentoML, for tests in process and for work on the page.

`python -m tests.support.inprocess_service MODEL PORT` serves an ONNX file.
"""

import sys
from pathlib import Path

import uvicorn
from starlette.types import Receive, Scope, Send

from serving.corrections.settings import corrections_folder
from serving.corrections.store import CorrectionStore
from serving.http.app import HttpApi
from serving.http.limits import DEFAULT_LIMITS, Limits
from serving.http.limits_middleware import LimitsMiddleware
from serving.http.uvicorn_protocol import Protocol
from serving.http.watchdog import Watchdog
from serving.model import Model
from serving.monitoring.monitor import Monitor


def service(
    model: Model,
    limits: Limits = DEFAULT_LIMITS,
    corrections: CorrectionStore | None = None,
    monitor: Monitor | None = None,
) -> LimitsMiddleware:
    api = HttpApi(bentoml_app, lambda: model, Watchdog(), corrections=corrections)
    return LimitsMiddleware(api, limits, lambda: monitor)


async def bentoml_app(scope: Scope, receive: Receive, send: Send) -> None:
    """In place of BentoML's application: completes its startup, and sends empty responses."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})
        return
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


if __name__ == "__main__":
    file, port = sys.argv[1:]
    model = Model(Path(file), "mnist:v1-test")
    folder = corrections_folder()
    app = service(model, corrections=CorrectionStore(folder) if folder else None)
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", http=Protocol)
