"""The service on a real socket, in a thread, with limits of its own."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import uvicorn

from serving.http.limits_middleware import LimitsMiddleware
from serving.http.uvicorn_protocol import Protocol
from tests.support.waiting import wait_until


class Live(NamedTuple):
    app: LimitsMiddleware
    server: uvicorn.Server
    thread: threading.Thread
    address: tuple[str, int]

    @property
    def connections(self) -> set[Protocol]:
        return self.server.server_state.connections  # type: ignore[return-value]


@contextlib.contextmanager
def running(app: LimitsMiddleware, loop: Any, protocol: type[Protocol]) -> Iterator[Live]:
    """The service on a real socket, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, http=protocol, loop=loop, log_level="error"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        wait_until(lambda: server.started)
        try:
            yield Live(app, server, thread, listener.getsockname())
        finally:
            server.should_exit = True
            thread.join()


def send_until_closed(connection: socket.socket, part: bytes, pause: float = 0.0) -> int:
    """How many bytes were sent before the server closed the connection; AssertionError if it does not."""
    sent, deadline = 0, time.monotonic() + 60
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < deadline and sent < 2**30:
            connection.sendall(part)
            sent += len(part)
            time.sleep(pause)
        raise AssertionError(f"not closed after {sent} bytes")
    return sent
