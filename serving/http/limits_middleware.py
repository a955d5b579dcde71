"""The middleware that enforces the limits on requests; it counts and times every request,
and has those for predictions monitored."""

import time
from collections.abc import Callable
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http import metrics
from serving.http.errors import Problem, unexpected
from serving.http.headers import NOSNIFF
from serving.http.limits import DEFAULT_LIMITS, Limits
from serving.http.responses import problem_response
from serving.monitoring.monitor import Entry, Monitor, Sample, sample_of

PREDICTIONS: Final = ("/predict", "/predict_batch", "/read")
WORK: Final = (*PREDICTIONS, "/corrections")  # the rest is answered however busy the service is
PROBES: Final = ("/livez", "/readyz", "/metrics")
TIMED_PATHS: Final = (*WORK, *PROBES)

GetMonitor = Callable[[], Monitor | None]


class LimitsMiddleware:
    """ASGI middleware: refuses what exceeds the limits, and passes everything else on to the wrapped application. The
    `monitor`, if there is one, gets what the handlers observed."""

    def __init__(self, app: ASGIApp, limits: Limits = DEFAULT_LIMITS, monitor: GetMonitor = lambda: None) -> None:
        self.app = app
        self.limits = limits
        self.monitor = monitor
        self.requests = 0  # with a whole body and no answer yet
        self.bytes = 0  # of bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request = LimitedRequest(self, scope, receive, send)
        try:
            try:
                request.check()
            except Problem as problem:
                await problem_response(problem)(scope, receive, request.send)
            else:
                await self.app(scope, request.receive, request.send)
        finally:
            request.release()
            request.record()


class LimitedRequest:
    """One request: its `receive` and `send`, as the wrapped application gets them."""

    def __init__(self, middleware: LimitsMiddleware, scope: Scope, receive: Receive, send: Send) -> None:
        self.middleware, self.limits = middleware, middleware.limits
        self.scope, self._receive, self._send = scope, receive, send
        self.path: str = scope["path"]
        self.started = time.perf_counter()
        self.bytes = 0  # of the body, received so far
        self.complete = False
        self.has_slot = False
        self.status = 0
        self.sample: Sample | None = None
        self.monitor = middleware.monitor() if self.path in PREDICTIONS else None
        if self.monitor:
            scope["observe"] = self.observe

    def observe(self, *observed: Any) -> None:
        """Keep a sample of what the handlers pass to `handlers.Observe`."""
        self.sample = sample_of(*observed)

    def check(self) -> None:
        """Raise Problem for a request that need not be read."""
        headers = dict(self.scope["headers"])
        if b"pickle" in headers.get(b"content-type", b"").lower():
            raise unexpected("unsupported_media_type", "a pickle", "anything that cannot run code")
        self._check_load()
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self.limits.body:
            raise self._too_large(f"a body of {int(length[:20])} bytes")

    def _check_load(self) -> None:
        if self.path in WORK and self.middleware.requests >= self.limits.requests:
            raise Problem("overloaded", f"{self.limits.requests} requests are being answered; try again in a second")

    def _too_large(self, got: str) -> Problem:
        return unexpected("body_too_large", got, f"at most {self.limits.body} bytes")

    async def receive(self) -> Message:
        """The client's next message, its bytes counted. Raises Problem for too many bytes."""
        message = await self._receive()
        if self.complete:
            return message  # it reports when the client disconnects
        length = len(message.get("body", b""))
        self.bytes += length
        self.middleware.bytes += length
        self.complete = not message.get("more_body", False)
        if self.bytes > self.limits.body:
            raise self._too_large(f"more than {self.limits.body} bytes")
        if self.middleware.bytes > self.limits.bodies:
            raise Problem("overloaded", f"{self.limits.bodies} bytes are being read; try again in a second")
        if self.complete and self.path in WORK:
            self._check_load()
            self.middleware.requests += 1
            self.has_slot = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"].append(NOSNIFF)
            self.release()  # a client may be slow to read the response
        await self._send(message)

    def release(self) -> None:
        """Count the request and its bytes no longer: it has its answer."""
        self.middleware.requests -= self.has_slot
        self.middleware.bytes -= self.bytes
        self.has_slot, self.bytes = False, 0

    def record(self) -> None:
        """Count and time the request in the metrics."""
        path = self.path if self.path in TIMED_PATHS else "other"
        seconds = time.perf_counter() - self.started
        metrics.requests(path, self.status).inc()
        metrics.latency(path).observe(seconds)
        if self.monitor:
            self.monitor.add(Entry(time.time(), self.path, self.status, seconds, self.sample))
