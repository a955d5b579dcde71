"""The HTTP API: routes, and the conversion of errors to responses."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread
import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.data.limits import SIDE
from serving.corrections.handler import correct, parse_index, parse_label
from serving.corrections.store import CorrectionStore
from serving.http import handlers, metrics
from serving.http.batching import BatchQueue
from serving.http.errors import Problem, unexpected
from serving.http.openapi import describe
from serving.http.pages import GET, page_file
from serving.http.parsing import image_batch, picture_upload
from serving.http.responses import json_response, problem_response
from serving.http.watchdog import Watchdog
from serving.model import Images, Model

POST: Final = ("POST",)
INLINE_BYTES: Final = 16 * SIDE * SIDE  # of a body; up to this size, starting a thread takes longer than the prediction
CLIENT_LEFT: Final = 499  # nginx's status for a client that closed the connection; only the metrics show it
LOCK_SECONDS: Final = 2.0  # at most, that a request waits for other pictures
# Passed on to BentoML's own application: the schema of the typed APIs, for its clients, and Swagger UI's files.
BENTOML_PATHS: Final = ("/schema.json", "/static_content/swagger-ui.css", "/static_content/swagger-ui-bundle.js")

Handler = Callable[[Request], Awaitable[Response]]

log = logging.getLogger("serving")


class HttpApi:
    """ASGI middleware: answers the API's and the page's paths, and passes BENTOML_PATHS on to BentoML's application.

    It is in front of BentoML's router, which would parse the requests of the typed APIs itself: with status 500 for a
    broken picture, and several times slower. A table of paths and one `try` replace Starlette's router and its two
    exception layers, which took as long as the network.
    """

    def __init__(
        self,
        app: ASGIApp,
        model: Callable[[], Model],
        watchdog: Watchdog,
        lock_seconds: float = LOCK_SECONDS,
        corrections: CorrectionStore | None = None,
    ) -> None:
        self.app = app
        self.model = model
        self.watchdog = watchdog
        self.lock_seconds = lock_seconds
        self.corrections = corrections
        # One picture at a time: decoding a large one takes a hundred megabytes and half a second.
        self.lock = anyio.Lock()
        self.small_batches = BatchQueue(self._answer_to)
        self.routes: dict[str, tuple[tuple[str, ...], Handler]] = {
            "/predict": (POST, self.predict),
            "/predict_batch": (POST, self.predict_batch),
            "/read": (POST, self.read),
            "/model": (GET, self.about),
            "/docs.json": (GET, self.description),
            "/livez": (GET, self.livez),
            "/readyz": (GET, self.readyz),
            "/metrics": (GET, self.metrics),
            "/page/settings.js": (GET, self.page_settings),
        }
        if corrections:
            self.routes["/corrections"] = (POST, self.correct)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        response = await self._respond(scope, receive)
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive) -> ASGIApp:
        """The response, or the application that sends it.

        It returns before the response is sent: a client may be slow to read it, and the request's bytes are free then.
        """
        request = Request(scope, receive)
        try:
            if scope["path"] in BENTOML_PATHS:
                check_method(request, GET)
                return self.app
            return await self._handler(request)(request)
        except Problem as problem:
            return problem_response(problem)
        except ClientDisconnect:
            return Response(status_code=CLIENT_LEFT)  # without one, BentoML would keep the request for 30 seconds
        except Exception:
            log.exception("%s %s failed", request.method, request.url.path)
            return problem_response(Problem("internal_error", "an error in the service; it has been logged"))

    def _handler(self, request: Request) -> Handler:
        """The handler for this path and method. Raises Problem."""
        if request.scope["path"] not in self.routes:
            return page_file
        methods, handler = self.routes[request.scope["path"]]
        check_method(request, methods)
        return handler

    async def _in_thread(self, work: Callable[[], Any]) -> Response:
        """Run long `work` in a thread, while probes and small requests are answered, and return its response.

        Raises Problem if earlier work takes too long.
        """
        with anyio.move_on_after(self.lock_seconds) as waiting:
            await self.lock.acquire()
        if waiting.cancelled_caught:
            raise Problem("overloaded", f"other pictures took {self.lock_seconds:g} seconds; try again in a second")
        try:
            return await anyio.to_thread.run_sync(partial(self.watchdog.run, partial(response_of, work)))
        finally:
            self.lock.release()

    async def predict(self, request: Request) -> Response:
        return await self._picture(handlers.predict, request)

    async def read(self, request: Request) -> Response:
        return await self._picture(handlers.read, request)

    async def _picture(
        self, answer_to: Callable[[Model, bytes, bool, handlers.Observe], dict[str, Any]], request: Request
    ) -> Response:
        model, (content, seen) = self.model(), await picture_upload(request)
        observe = request.scope.get("observe", handlers.ignore)

        def work() -> dict[str, Any]:
            answer = answer_to(model, content, seen, observe)
            metrics.count_picture(answer)
            return answer

        return await self._in_thread(work)

    async def predict_batch(self, request: Request) -> Response:
        length, images = await image_batch(request, self.model().channels)
        observe = request.scope.get("observe", handlers.ignore)
        if length <= INLINE_BYTES:
            batch = images()
            answer = await self.small_batches.answer(batch)
            observe(batch, answer["probabilities"], answer["digit_scores"], answer["reasons"])
            return json_response(answer)
        return await self._in_thread(lambda: self._answer_to(images(), observe))

    def _answer_to(self, images: Images, observe: handlers.Observe = handlers.ignore) -> dict[str, Any]:
        model = self.model()
        answer = handlers.predict_batch(model, images, observe)
        metrics.count_batch(answer, model.classes)
        return answer

    async def correct(self, request: Request) -> Response:
        query, store = request.query_params, self.corrections
        assert store is not None  # there is no route without one
        label, digit = parse_label(query.get("label")), parse_index(query.get("digit"))
        model, (content, _) = self.model(), await picture_upload(request)
        return await self._in_thread(lambda: correct(model, store, content, label, digit))

    def _stores_corrections(self) -> bool:
        return self.corrections is not None and self.model().preprocessing == "ink"

    async def page_settings(self, request: Request) -> Response:
        """A module for the page: what is configured."""
        settings = orjson.dumps({"corrections": self._stores_corrections()})
        return Response(b"export default " + settings + b";\n", media_type="text/javascript")

    async def about(self, request: Request) -> Response:
        model = self.model()
        return json_response(
            {
                "model": model.tag,
                "dataset": model.dataset,
                "classes": model.classes,
                "preprocessing": model.preprocessing,
                "channels": model.channels,
                "threshold": model.threshold,
                "labels": model.labels,
            }
        )

    async def description(self, request: Request) -> Response:
        model = self.model()
        stores = self._stores_corrections()
        return json_response(describe(model.tag, model.dataset, model.classes, model.channels, corrections=stores))

    async def livez(self, request: Request) -> Response:
        return json_response({"status": "alive"})

    async def readyz(self, request: Request) -> Response:
        model = self.model()
        if not await anyio.to_thread.run_sync(model.reproduces_golden):
            raise Problem("not_ready", f"the model {model.tag} does not reproduce its golden answers")
        return json_response({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        return Response(await anyio.to_thread.run_sync(metrics.page), media_type="text/plain; version=0.0.4")


def response_of(work: Callable[[], Any]) -> Response:
    """What `work` returns, or the Problem that it raises, as a response.

    A Problem raised by a thread into the event loop would be part of a reference cycle, with the frames that hold the
    client's bytes: 30 refused pictures of 9 MB took 270 MB until the next garbage collection.
    """
    try:
        return json_response(work())
    except Problem as problem:
        return problem_response(problem)


def check_method(request: Request, allowed: tuple[str, ...]) -> None:
    if request.method not in allowed:
        raise unexpected("method_not_allowed", f"method {request.method}", ", ".join(allowed))
