"""Servers on loopback that say that they are MLflow's, and are not well."""

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def answering(kind: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server of this kind, which ends with the block."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class Broken(http.server.BaseHTTPRequestHandler):
    """Says that it is well, as an MLflow server does, and fails at all else."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 500)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"OK")

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


class Hanging(Broken):
    """Says that it is well, and nothing else."""

    def do_GET(self) -> None:
        if self.path != "/health":
            time.sleep(8)
        super().do_GET()


class Holding(Broken):
    """Says that it is well, and leaves all else without an answer until it is told to let go."""

    LONGEST = 300  # seconds
    asked, let_go, gave_up = threading.Event(), threading.Event(), threading.Event()

    def do_GET(self) -> None:
        if self.path != "/health":
            self.asked.set()
            if not self.let_go.wait(self.LONGEST):
                self.gave_up.set()
        super().do_GET()

    do_POST = do_GET


class Guarded(Broken):
    """Answers nobody but who says who it is; then as a server that fails."""

    def do_GET(self) -> None:
        if self.headers.get("Authorization"):
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

    do_POST = do_GET


class Stranger(Broken):
    """Answers everything, as a server of something else does."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")
