"""What BentoML costs on top of uvicorn: the empty application in place of the service's middlewares, same settings.
`bentoml serve benchmarks.empty_bento:Empty`."""

import bentoml
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks import empty_baseline


class EmptyMiddleware:
    def __init__(self, app: ASGIApp) -> None:
        self.bentoml = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = empty_baseline.app if scope["type"] == "http" else self.bentoml
        await app(scope, receive, send)


@bentoml.service(
    traffic={"timeout": 30},
    metrics={"enabled": False},
    tracing={"excluded_urls": ".*"},
    logging={"access": {"enabled": False}},
)
class Empty:
    pass


Empty.add_asgi_middleware(EmptyMiddleware)  # type: ignore[attr-defined]  # the decorator makes it a Service
