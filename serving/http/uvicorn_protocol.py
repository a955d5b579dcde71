"""Adds to uvicorn's HTTP protocol limits on all that is not a body, errors in the API's schema, and a lingering close.

Closing a connection while the client is still sending resets it, and the client loses the response (RFC 9112, 9.6). So
a response that is sent before the body has been read goes out at once; the rest of the body is then read and
discarded, within LINGER_BYTES, LINGER_SECONDS and LINGER_IDLE. This takes no memory and does not count as a request
in progress.
"""

import asyncio
import math
import signal
from asyncio import TimerHandle
from types import SimpleNamespace
from typing import Any, Final, NoReturn

import orjson
from starlette.types import ASGIApp
from uvicorn import Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.http import limits, metrics
from serving.http.connections import Connections, connection_limit
from serving.http.errors import Problem, unexpected
from serving.http.headers import NOSNIFF

READ: Final = bytearray(2**16)  # of all connections: what is read is copied before the next read
HEAD, BODY, READING, REST = "a request", "the body", "the response to be read", "the rest"  # waited for
NO_BODY: Final = ("GET", "HEAD")


class Protocol(HttpToolsProtocol, asyncio.BufferedProtocol):
    """One connection. As a BufferedProtocol it reads 64 kB at a time, where event loops would read 256."""

    linger_bytes = limits.LINGER_BYTES
    linger_seconds = limits.LINGER_SECONDS
    linger_idle = limits.LINGER_IDLE
    head_seconds = limits.HEAD_SECONDS
    body_seconds = limits.BODY_SECONDS
    send_seconds = limits.SEND_SECONDS
    max_connections = limits.MAX_CONNECTIONS

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.access_log = False  # uvicorn would build a line for each request, for a logger that drops it
        self.since = self.loop.time()  # when the wait for a request, or for its body, started
        self.arrival = 0  # its number, from `Connections`
        self.unread: Any = None  # the response that was not sent completely when `waits_for` last looked
        self.unread_since = 0.0
        self.problem: Problem | None = None  # found by a callback of the parser
        self.head: int | None = None  # bytes of a head that is not complete yet
        self.body_bytes = 0  # of all bodies of this connection
        self.earlier_bytes = 0  # of them, those before the last body
        self.framing = 0  # bytes of a body that is not complete yet, without the body
        self.discarded = 0  # bytes of a body whose response has been sent
        self.linger_timer: TimerHandle | None = None  # while the rest of such a body is discarded
        self.is_closing = False  # nothing is parsed any more; the connection is closed after the rest
        self.is_shutting_down = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # uvicorn writes responses to it, and closes it after a response with `Connection: close`.
        self.responses = SimpleNamespace(write=transport.write, is_closing=transport.is_closing, close=self.close)
        if not hasattr(self.server_state, "limited"):  # one for each server
            maximum = min(self.max_connections, connection_limit())
            self.server_state.limited = Connections(self.connections, maximum)  # type: ignore[attr-defined,arg-type]
        self.server_state.limited.add(self)  # type: ignore[attr-defined]

    def connection_lost(self, exc: Exception | None) -> None:
        self.stop_discarding()
        super().connection_lost(exc)
        self.responses.close = self.transport.close  # a cycle of references would stay until a garbage collection

    def data_received(self, data: bytes) -> None:
        if self.linger_timer is not None:
            self.discarded += len(data)
            if self.discarded > self.linger_bytes:
                self.transport.abort()
                return
        if self.is_closing:
            return
        body_bytes = self.body_bytes
        super().data_received(data)
        if self.head is not None:
            self.head += len(data)
            if self.head > limits.MAX_HEAD:
                self.refuse(head_too_large(self.head))
        elif self.cycle is not None and self.cycle.more_body:
            self.framing += len(data) - (self.body_bytes - body_bytes)
            if self.framing > limits.MAX_FRAMING + limits.MAX_HEAD:
                got = f"{self.framing} bytes of chunk sizes and extensions"
                self.refuse(unexpected("malformed_request", got, f"at most {limits.MAX_FRAMING}"))

    def on_message_begin(self) -> None:
        self.head = self.framing = 0
        self.since = self.loop.time()
        self._unset_keepalive_if_required()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is None:
            self.stop_parsing(
                unexpected("malformed_request", f"the trailer {name[:100].decode('latin-1')!r}", "no trailers")
            )
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        length = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if length > limits.MAX_HEAD:  # in one read with its end
            self.stop_parsing(head_too_large(length))
        if len(self.pipeline) >= limits.MAX_PIPELINED:
            got = f"over {limits.MAX_PIPELINED} requests behind one"
            self.stop_parsing(unexpected("malformed_request", got, "fewer before its response"))
        self.head = None
        self.since = self.loop.time()
        self.earlier_bytes = self.body_bytes
        super().on_headers_complete()
        if self.cycle is not None:  # an upgrade to WebSocket has none
            self.cycle.transport = self.responses  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)
        if self.scope["method"] not in NO_BODY:
            super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.linger_timer is not None:  # the rest has been discarded: the connection is kept
            self.cycle.more_body = False
            self.stop_discarding()
            super().on_response_complete()

    def on_response_complete(self) -> None:
        if self.is_closing:
            return
        self.since = self.loop.time()
        if self.cycle.more_body and not self.pipeline:  # with other requests waiting, this one has been read
            self.discard()
        else:
            super().on_response_complete()

    def shutdown(self) -> None:
        self.is_shutting_down = True
        if self.is_closing:
            self.transport.close()
        super().shutdown()

    def stop_parsing(self, problem: Problem) -> NoReturn:
        """Make the parser stop, and `send_400_response` refuse with this problem."""
        self.problem = problem
        raise problem

    def send_400_response(self, msg: str) -> None:
        self.head = None
        self.refuse(self.problem or Problem("malformed_request", msg))

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

    def waits_for(self, now: float) -> tuple[str, float] | None:
        """What the server waits for from this client, and for how many seconds; None while the service works for it."""
        if self.transport.get_write_buffer_size() == 0:
            self.unread = None
        elif self.unread is not self.cycle:
            self.unread, self.unread_since = self.cycle, now
        if self.unread is not None:
            return READING, now - self.unread_since
        if self.linger_timer is not None:
            return REST, now - self.since
        if self.cycle is None or self.cycle.response_complete:
            return HEAD, now - self.since
        # With other requests before it, the service works for those, and does not read the body.
        return (BODY, now - self.since) if self.cycle.more_body and not self.pipeline else None

    def limit_of(self, wait: str) -> float:
        """Seconds that this wait may take. `check_rest` limits that for a rest."""
        if wait == HEAD and self.timeout_keep_alive_task is not None:  # between two requests, uvicorn's own limit holds
            return math.inf
        return {HEAD: self.head_seconds, BODY: self.body_seconds, READING: self.send_seconds}.get(wait, math.inf)

    def end(self, wait: str) -> None:
        """Close the connection of a client that took too long."""
        if wait == HEAD and self.head is not None:
            self.refuse(
                unexpected("slow_head", f"{self.head} bytes of headers", f"all within {self.head_seconds:g} seconds")
            )
        elif wait == BODY:
            self.refuse(slow_body(self.body_bytes - self.earlier_bytes))
        else:
            self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    def get_buffer(self, sizehint: int) -> bytearray:
        """Where the event loop writes what it reads."""
        return READ

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the event loop after a read."""
        self.data_received(bytes(memoryview(READ)[:nbytes]))


def head_too_large(got: int) -> Problem:
    return unexpected("head_too_large", f"{got} bytes of headers", f"at most {limits.MAX_HEAD}")


def slow_body(got: int) -> Problem:
    return unexpected("slow_body", f"{got} bytes", f"the whole body within {limits.BODY_SECONDS:g} seconds")


def install(app: ASGIApp) -> None:
    """Make the uvicorn server of this process use Protocol for its connections, and `app` for their requests.

    Otherwise a request would first pass through BentoML's own middlewares. Tracing and metrics are switched off there,
    and the time limit is longer than ours; what is left, a task and a timer for each request and the comparison of its
    path with those that are not traced, takes a fifth of all time. Startup and shutdown still pass through them.

    To be called while the application starts: the server accepts its first connection after that. BentoML passes no
    `http` option to uvicorn, and no reference to the server to its application: it is found by its signal handler.
    """
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if not isinstance(server, Server):
        raise RuntimeError(f"expected a uvicorn server to handle SIGTERM, got {server!r}")
    server.config.http_protocol_class = Protocol
    server.config.loaded_app = app
