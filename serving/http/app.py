"""The HTTP API: which path does what, and what becomes of whatever goes wrong."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pipeline.data.image import SIDE
from serving.http import handlers, metrics
from serving.http.errors import Problem, got_instead, json_response, refused
from serving.http.openapi import describe
from serving.http.pages import READ, page_file
from serving.http.parsing import flag, image_batch, picture_file
from serving.http.watchdog import Watchdog
from serving.model import Model

INLINE: Final = 16 * SIDE * SIDE  # bytes of a body that is answered sooner than another thread begins
TURN: Final = 2.0  # seconds that a request waits for its turn, at most
WRITE: Final = ("POST",)

Handler = Callable[[Request], Awaitable[Response]]

log = logging.getLogger("serving")


class Api:
    """An ASGI application: its routes and their handlers. `model` is set before the first request comes in.

    A table of paths and one `try` do here what Starlette's router and two layers for exceptions would: they took as
    long as the network.
    """

    model: Model

    def __init__(self) -> None:
        self.routes: dict[str, tuple[tuple[str, ...], Handler]] = {
            "/predict": (WRITE, self.predict),
            "/predict_batch": (WRITE, self.predict_batch),
            "/read": (WRITE, self.read),
            "/model": (READ, self.about),
            "/docs.json": (READ, self.description),
            "/livez": (READ, self.alive),
            "/readyz": (READ, self.ready),
            "/metrics": (READ, self.metrics),
        }
        # One picture at a time: to decode a large one takes a hundred megabytes and half a second.
        self.turn = anyio.Lock()
        self.watchdog = Watchdog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._handler(request)(request)
        except Problem as problem:
            response = refused(problem)
        except ClientDisconnect:
            return  # nobody is there to be told
        except Exception:
            log.exception("%s %s failed", request.method, request.url.path)
            response = refused(Problem("internal_error", "this is an error of ours; it has been logged"))
        await response(scope, receive, send)

    def _handler(self, request: Request) -> Handler:
        """What answers this path and method. Raises Problem."""
        if request.scope["path"] not in self.routes:
            return page_file
        methods, handler = self.routes[request.scope["path"]]
        check_method(request, methods)
        return handler

    async def _aside(self, work: Callable[[], Any]) -> Response:
        """Answer with what takes long to compute, in a thread: the probes and small requests are answered meanwhile.

        Raises Problem when those before it take too long.
        """
        with anyio.move_on_after(TURN) as waiting:
            await self.turn.acquire()
        if waiting.cancelled_caught:
            raise Problem("overloaded", f"other pictures took {TURN:g} seconds; try again in a second")
        try:
            return await anyio.to_thread.run_sync(partial(self.watchdog.working, partial(answer_of, work)))
        finally:
            self.turn.release()

    async def predict(self, request: Request) -> Response:
        seen = flag(request, "seen")
        return await self._aside(partial(handlers.of_picture, self.model, await picture_file(request), seen))

    async def read(self, request: Request) -> Response:
        seen = flag(request, "seen")
        return await self._aside(partial(handlers.of_row, self.model, await picture_file(request), seen))

    async def predict_batch(self, request: Request) -> Response:
        length, images = await image_batch(request)

        def answer() -> dict[str, Any]:
            return handlers.of_batch(self.model, images())

        return json_response(answer()) if length <= INLINE else await self._aside(answer)

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


def answer_of(work: Callable[[], Any]) -> Response:
    """The answer with what `work` returns, or the refusal that it raises.

    A Problem that a thread raised into the event loop would be part of a reference cycle, with the frames that hold the
    client's bytes: 30 refused pictures of 9 MB took 270 MB, until the garbage collector came by.
    """
    try:
        return json_response(work())
    except Problem as problem:
        return refused(problem)


def check_method(request: Request, allowed: tuple[str, ...]) -> None:
    if request.method not in allowed:
        raise got_instead("method_not_allowed", f"method {request.method}", ", ".join(allowed))
