"""Adds to uvicorn's HTTP protocol a limit on the size of a head, errors in the API's schema, and a lingering close.

Closing a connection while the client is still sending resets it, and the client loses the response (RFC 9112, 9.6). So
a response that is sent before the body has been read goes out at once; the rest of the body is then read and
discarded, within LINGER_BYTES, LINGER_SECONDS and LINGER_IDLE. This takes no memory and does not count as a request
in progress.
"""

import signal
from asyncio import TimerHandle
from types import SimpleNamespace
from typing import Any, Final

import orjson
from uvicorn import Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.http import metrics
from serving.http.errors import Problem, unexpected
from serving.http.headers import NOSNIFF

MAX_HEAD: Final = 2**16  # bytes of a request before its body; browsers send a thousand
LINGER_BYTES: Final = 64 * 2**20  # discarded of a request that has been answered; six times the limit of a body
LINGER_SECONDS: Final = 30.0  # for all of them; like nginx's lingering_time
LINGER_IDLE: Final = 5.0  # without a byte; like nginx's lingering_timeout


class Protocol(HttpToolsProtocol):
    """One connection."""

    linger_bytes = LINGER_BYTES
    linger_seconds = LINGER_SECONDS
    linger_idle = LINGER_IDLE

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.head: int | None = None  # bytes of a head that is not complete yet
        self.discarded = 0  # bytes of a body whose response has been sent
        self.linger_timer: TimerHandle | None = None  # while the rest of such a body is discarded
        self.is_closing = False  # nothing is parsed any more; the connection is closed after the rest
        self.is_shutting_down = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # uvicorn writes responses to it, and closes it after a response with `Connection: close`.
        self.responses = SimpleNamespace(write=transport.write, is_closing=transport.is_closing, close=self.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self.stop_discarding()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.linger_timer is not None:
            self.discarded += len(data)
            if self.discarded > self.linger_bytes:
                self.transport.abort()
                return
        if self.is_closing:
            return
        super().data_received(data)
        if self.head is not None:
            self.head += len(data)
            if self.head > MAX_HEAD:
                self.refuse(unexpected("head_too_large", f"{self.head} bytes of headers", f"at most {MAX_HEAD}"))

    def on_message_begin(self) -> None:
        self.head = 0
        self._unset_keepalive_if_required()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.head = None
        super().on_headers_complete()
        if self.cycle is not None:  # an upgrade to WebSocket has none
            self.cycle.transport = self.responses  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.linger_timer is not None:  # the rest has been discarded: the connection is kept
            self.cycle.more_body = False
            self.stop_discarding()
            super().on_response_complete()

    def on_response_complete(self) -> None:
        if self.is_closing:
            return
        if self.cycle.more_body and not self.pipeline:  # with other requests waiting, this one has been read
            self.discard()
        else:
            super().on_response_complete()

    def shutdown(self) -> None:
        self.is_shutting_down = True
        if self.is_closing:
            self.transport.close()
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        self.head = None
        self.refuse(Problem("malformed_request", msg))

    def refuse(self, problem: Problem) -> None:
        """Send the problem, unless a response has been started, and close."""
        metrics.REJECTED.labels(problem.code).inc()
        if self.cycle is None or not (self.cycle.response_started and self.cycle.more_body):
            body = orjson.dumps(problem.content())
            head = f"HTTP/1.1 {problem.status} \r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            head += f"{NOSNIFF[0].decode()}: {NOSNIFF[1].decode()}\r\n"
            self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        if self.cycle is not None:  # do not wait for the application
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.close_after_rest()

    def close(self) -> None:
        """Close without losing the response: at once if everything has been read."""
        if self.head is not None or self.pipeline or self.cycle.more_body:
            self.close_after_rest()
        else:
            self.transport.close()

    def close_after_rest(self) -> None:
        """Send nothing more; close the connection when the client does, or at the limits."""
        if self.is_shutting_down:
            self.transport.close()
        elif not self.is_closing:
            self.is_closing = True
            self.responses.write = lambda data: None  # of an earlier request: too late
            if self.transport.can_write_eof():  # not under TLS
                self.transport.write_eof()
            self.discard()

    def discard(self) -> None:
        """Start to discard what the client sends."""
        self.stop_discarding()
        self._unset_keepalive_if_required()
        if self.cycle is not None:
            self.cycle.body.clear()
        self.flow.resume_reading()
        self.discarded = 0
        self.linger_timer = self.loop.call_later(
            self.linger_idle, self.check_rest, 0, self.loop.time() + self.linger_seconds
        )

    def stop_discarding(self) -> None:
        if self.linger_timer is not None:
            self.linger_timer.cancel()
            self.linger_timer = None

    def check_rest(self, before: int, deadline: float) -> None:
        """Abort the connection if nothing has arrived since `before` bytes, or at the deadline."""
        left = deadline - self.loop.time()
        if self.discarded == before or left <= 0:
            self.transport.abort()
        else:
            delay = min(self.linger_idle, left)
            self.linger_timer = self.loop.call_later(delay, self.check_rest, self.discarded, deadline)


def install() -> None:
    """Make the uvicorn server of this process use Protocol for its connections.

    To be called while the application starts: the server accepts its first connection after that. BentoML passes no
    `http` option to uvicorn, and no reference to the server to its application: it is found by its signal handler.
    """
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if not isinstance(server, Server):
        raise RuntimeError(f"expected a uvicorn server to handle SIGTERM, got {server!r}")
    server.config.http_protocol_class = Protocol
