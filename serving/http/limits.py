"""What every request passes before it is looked at: limits on bytes, time and number of requests, and a stopwatch."""

import asyncio
import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http import metrics
from serving.http.errors import Problem, got_instead, refused
from serving.http.headers import NOSNIFF
from serving.http.parsing import MAX_BODY

MAX_ACTIVE: Final = 32  # requests being read or answered; more would only wait for the one processor core
MAX_BYTES: Final = 3 * MAX_BODY  # of the bodies of all of them: with a large picture in work they fill 512 MB
LOOK_EVERY: Final = 1.0  # seconds
BODY_SECONDS: Final = 5.0  # for a body to come in; a service that is told to end waits for it
PROBES: Final = ("/livez", "/readyz", "/metrics")  # answered however busy the service is
TIMED: Final = ("/predict", "/predict_batch", "/read", *PROBES)


class Door:
    """ASGI middleware that BentoML puts before its own routes. It hands each request to `api`, all but the life-cycle
    messages, which are BentoML's. Nobody gets to BentoML's own pages: its index loads a tracker from outside."""

    def __init__(self, app: ASGIApp, api: ASGIApp) -> None:
        self.bentoml = app
        self.api = api
        self.active = 0
        self.bytes = 0
        self.patience = Patience()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.bentoml(scope, receive, send)
        visit = Visit(self, scope, receive, send)
        self.active += 1
        try:
            await visit.answer()
        finally:
            self.active -= 1
            self.bytes -= visit.taken
            visit.note()


class Patience:
    """Waits for clients, but not for ever: looks now and then who is late, which is cheaper than a timer for each."""

    def __init__(self) -> None:
        self.waiting: dict[asyncio.Task[object], float] = {}
        self.looking = False

    async def wait(self, receive: Receive, deadline: float) -> Message | None:
        """The next message, or None where none has come by `deadline` of `time.perf_counter()`."""
        task = asyncio.current_task()
        assert task is not None
        self.waiting[task] = deadline
        if not self.looking:
            self._look()
        try:
            return await receive()
        except asyncio.CancelledError:
            if time.perf_counter() < deadline:
                raise  # the service ends
            task.uncancel()
            return None
        finally:
            del self.waiting[task]

    def _look(self) -> None:
        now = time.perf_counter()
        for task, deadline in self.waiting.items():
            if now >= deadline:
                task.cancel()
        self.looking = bool(self.waiting)
        if self.looking:
            asyncio.get_running_loop().call_later(LOOK_EVERY, self._look)


class Visit:
    """One request on its way through the door."""

    def __init__(self, door: Door, scope: Scope, receive: Receive, send: Send) -> None:
        self.door, self.scope, self._receive, self._send = door, scope, receive, send
        self.started = time.perf_counter()
        self.path: str = scope["path"]
        self.taken = 0  # bytes of the body
        self.complete = False
        self.status = 0

    async def answer(self) -> None:
        try:
            self.check(dict(self.scope["headers"]))
        except Problem as problem:
            await refused(problem)(self.scope, self._receive, self.send)
        else:
            await self.door.api(self.scope, self.receive, self.send)

    def check(self, headers: dict[bytes, bytes]) -> None:
        """Raise Problem for a request that need not be read."""
        if b"pickle" in headers.get(b"content-type", b"").lower():
            raise got_instead("unsupported_media_type", "a pickle", "anything that cannot run code")
        if self.path not in PROBES and self.door.active > MAX_ACTIVE:
            raise Problem("overloaded", f"{MAX_ACTIVE} requests are being answered; try again in a second")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > MAX_BODY:
            raise got_instead("body_too_large", f"a body of {int(length[:20])} bytes", f"at most {MAX_BODY} bytes")

    async def receive(self) -> Message:
        """The client's next message, its bytes counted. Raises Problem when they are too many or too slow."""
        if self.complete:
            return await self._receive()  # it says when the client leaves
        message = await self.door.patience.wait(self._receive, self.started + BODY_SECONDS)
        if message is None:
            expected = f"the whole body within {BODY_SECONDS:g} seconds"
            raise got_instead("slow_body", f"{self.taken} bytes", expected)
        length = len(message.get("body", b""))
        self.taken += length
        self.door.bytes += length
        self.complete = not message.get("more_body", False)
        if self.taken > MAX_BODY:
            raise got_instead("body_too_large", f"more than {MAX_BODY} bytes", f"at most {MAX_BODY} bytes")
        if self.door.bytes > MAX_BYTES:
            raise Problem("overloaded", f"{MAX_BYTES} bytes are being read; try again in a second")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"].append(NOSNIFF)
        await self._send(message)

    def note(self) -> None:
        path = self.path if self.path in TIMED else "other"
        metrics.requests(path, self.status).inc()
        metrics.latency(path).observe(time.perf_counter() - self.started)
