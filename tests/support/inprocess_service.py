"""The service without BentoML, for tests in process and for work on the page.

`python -m tests.support.inprocess_service MODEL PORT` serves an ONNX file.
"""

import sys
from pathlib import Path

import uvicorn
from starlette.types import Receive, Scope, Send

from serving.http.app import Api
from serving.http.limits import Door
from serving.http.uvicorn_protocol import Protocol
from serving.model import Model


def service(model: Model) -> Door:
    api = Api()
    api.model = model
    return Door(nobody, api=api)


async def nobody(scope: Scope, receive: Receive, send: Send) -> None:
    """In BentoML's place: it says that it has started."""
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


if __name__ == "__main__":
    file, port = sys.argv[1:]
    model = Model(Path(file), "mnist:v1-test")
    uvicorn.run(service(model), host="127.0.0.1", port=int(port), log_level="warning", http=Protocol)
