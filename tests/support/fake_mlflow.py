"""HTTP servers on the loopback that fail as an MLflow server can, or that are not MLflow."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@contextmanager
def running(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """The URL of a server with this handler, which stops at the end of the block."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every request by `respond`, and logs nothing."""

    def respond(self) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        self.respond()

    def do_POST(self) -> None:
        self.respond()

    def send(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Failing(Handler):
    """Healthy according to /health, but every other request is an internal error."""

    def respond(self) -> None:
        self.send(200 if self.path == "/health" else 500, b"OK")


class Authenticating(Failing):
    """Requires authentication, whatever the credentials; then fails."""

    def respond(self) -> None:
        if self.headers.get("Authorization"):
            super().respond()
        else:
            self.send(401, b"You are not authenticated.")


class Rejecting(Handler):
    """Accepts no credentials."""

    def respond(self) -> None:
        self.send(401, b"You are not authenticated.")


class Greeting(Handler):
    """Not MLflow: a page for every path."""

    def respond(self) -> None:
        self.send(200, b"hello")


class EmptyJson(Handler):
    """Not MLflow: an empty JSON object for every path."""

    def respond(self) -> None:
        self.send(200, b"{}")


@dataclass
class Gate:
    """The events of a server that responds late."""

    requested: threading.Event = field(default_factory=threading.Event)
    open: threading.Event = field(default_factory=threading.Event)
    timed_out: threading.Event = field(default_factory=threading.Event)


def blocking(gate: Gate) -> type[Handler]:
    """A handler that is healthy according to /health, but answers nothing else before the gate is open."""

    class Blocking(Failing):
        def respond(self) -> None:
            if self.path != "/health":
                gate.requested.set()
                if not gate.open.wait(timeout=300):
                    gate.timed_out.set()
            super().respond()

    return Blocking
