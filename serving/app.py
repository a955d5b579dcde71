"""The HTTP API: which path does what, and what becomes of whatever goes wrong."""

import logging
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from serving import answers, metrics
from serving.body import flag, image_batch, picture_file
from serving.model import Model
from serving.openapi import describe
from serving.problems import Problem, got_instead, json_response
from serving.watchdog import Watchdog

PAGE: Final = Path(__file__).parent / "page"
SWAGGER: Final = Path(str(files("bentoml._internal.server"))) / "static_content"  # BentoML brings Swagger's files
INLINE: Final = 16  # images that are answered sooner than another thread begins

log = logging.getLogger("serving")


class Api:
    """The handlers. `model` is set before the first request comes in."""

    model: Model

    def __init__(self) -> None:
        # Pictures are decoded one at a time: a large one takes a hundred megabytes while that lasts.
        self.one_at_a_time = anyio.CapacityLimiter(1)
        self.watchdog = Watchdog()

    async def _aside(self, work: Callable[[], Any]) -> Response:
        """Answer with what takes long to compute, in a thread: the probes and small requests are answered meanwhile."""
        watched = partial(self.watchdog.working, work)
        return json_response(await anyio.to_thread.run_sync(watched, limiter=self.one_at_a_time))

    async def predict(self, request: Request) -> Response:
        seen = flag(request, "seen")
        return await self._aside(partial(answers.of_picture, self.model, await picture_file(request), seen))

    async def read(self, request: Request) -> Response:
        seen = flag(request, "seen")
        return await self._aside(partial(answers.of_row, self.model, await picture_file(request), seen))

    async def predict_batch(self, request: Request) -> Response:
        images = await image_batch(request)
        if len(images) <= INLINE:
            return json_response(answers.of_batch(self.model, images))
        return await self._aside(partial(answers.of_batch, self.model, images))

    async def about(self, request: Request) -> Response:
        model = self.model
        return json_response(
            {"model": model.tag, "dataset": model.dataset, "classes": model.classes, "labels": model.labels}
        )

    async def description(self, request: Request) -> Response:
        return json_response(describe(self.model.tag, self.model.dataset, self.model.classes))

    async def alive(self, request: Request) -> Response:
        return json_response({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        if not await anyio.to_thread.run_sync(self.model.answers_as_trained):
            raise Problem("not_ready", f"the model {self.model.tag} does not answer as it was trained to")
        return json_response({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        return Response(await anyio.to_thread.run_sync(metrics.page), media_type="text/plain; version=0.0.4")

    async def page(self, request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def swagger(self, request: Request) -> Response:
        return FileResponse(PAGE / "docs.html")


async def on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    metrics.REJECTED.labels(error.code).inc()
    return error.response()


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own refusals in our schema: an unknown file, a method that a path does not have."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        response = await on_problem(request, got_instead("method_not_allowed", f"method {request.method}", allowed))
        response.headers["Allow"] = allowed
        return response
    path = request.url.path[:100]
    return await on_problem(request, got_instead("not_found", f"path {path!r}", "a path that /docs names"))


async def on_error(request: Request, error: Exception) -> Response:
    log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
    return await on_problem(request, Problem("internal_error", "this is an error of ours; it has been logged"))


def app(api: Api) -> Starlette:
    return Starlette(
        routes=[
            Route("/", api.page),
            Route("/predict", api.predict, methods=["POST"]),
            Route("/predict_batch", api.predict_batch, methods=["POST"]),
            Route("/read", api.read, methods=["POST"]),
            Route("/model", api.about),
            Route("/docs", api.swagger),
            Route("/docs.json", api.description),
            Route("/livez", api.alive),
            Route("/readyz", api.ready),
            Route("/metrics", api.metrics),
            Mount("/page", StaticFiles(directory=PAGE)),
            Mount("/swagger", StaticFiles(directory=SWAGGER)),
        ],
        exception_handlers={Problem: on_problem, HTTPException: on_http_exception, Exception: on_error},
    )
