"""The review as a page on this machine: an HTTP server of the standard library, for one reviewer.

It answers its own page only: another site in the reviewer's browser can neither read (the host has to be this one, so
that no other name may point here) nor decide (the body has to be JSON, which browsers send elsewhere only if allowed).
"""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from PIL import Image

from pipeline.core.errors import DataError, PipelineError
from pipeline.core.files import parse_json
from pipeline.data.corrections import LABELS, NONE, Pixels
from pipeline.review import decisions
from pipeline.review.inbox import NAME, Item, picture_pixels, read_inbox, read_item

HOST: Final = "127.0.0.1"
PAGE: Final = Path(__file__).with_name("page")
FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/review.css": ("review.css", "text/css"),
    "/review.js": ("review.js", "text/javascript"),
}
MAX_BODY: Final = 1_000_000  # bytes of decisions
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class ReviewServer(ThreadingHTTPServer):
    """Serves the corrections in `inbox` for review on a loopback port, 0 for any that is free; decisions change `data`
    of the repository in the current folder."""

    daemon_threads = True

    def __init__(self, inbox: Path, port: int) -> None:
        super().__init__((HOST, port), ReviewHandler)
        self.inbox = inbox
        self.lock = threading.Lock()
        self.hosts = tuple(f"{name}:{self.server_address[1]}" for name in (HOST, "localhost"))


class ReviewHandler(BaseHTTPRequestHandler):
    server: ReviewServer
    timeout = 10  # seconds for a request to arrive

    def do_GET(self) -> None:
        if not self._is_allowed():
            return
        if self.path in FILES:
            name, kind = FILES[self.path]
            self._send(200, (PAGE / name).read_bytes(), kind)
        elif self.path == "/corrections.json":
            self._send_json(lambda: listing(self.server.inbox))
        else:
            self._picture(*self.path.strip("/").split("/"))

    def do_POST(self) -> None:
        if not self._is_allowed():
            return
        length = self.headers.get("Content-Length", "")
        if self.path != "/decisions" or self.headers.get_content_type() != "application/json":
            self._send(404, b"expected JSON at /decisions\n")
        elif not (length.isdigit() and len(length) < 10 and int(length) <= MAX_BODY):
            self._send(413, f"expected at most {MAX_BODY} bytes\n".encode())
        else:
            self._send_json(lambda: decide(self.server, self.rfile.read(int(length))))

    def _is_allowed(self) -> bool:
        """Whether the request is for this host and from its page; otherwise it is answered here."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if host in self.server.hosts and origin in (None, f"http://{host}"):
            return True
        self._send(403, b"expected a request of the review's own page\n")
        return False

    def _picture(self, *parts: str) -> None:
        """`/<name>/picture.png` or `/<name>/seen.png`, encoded again: nothing but pixels reaches the browser."""
        if len(parts) != 2 or not NAME.fullmatch(parts[0]) or parts[1] not in ("picture.png", "seen.png"):
            self._send(404, b"no such path\n")
            return
        folder = self.server.inbox / parts[0]
        try:
            image = read_item(folder).image
            pixels = image if parts[1] == "seen.png" else picture_pixels(folder)
        except DataError as error:
            self._send(404, f"{error}\n".encode())
            return
        self._send(200, to_png(pixels), "image/png")

    def _send_json(self, answer: Any) -> None:
        try:
            content, status = answer(), 200
        except PipelineError as error:
            content, status = {"message": str(error)}, 422
        self._send(status, json.dumps(content).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """No line for each request."""


def listing(inbox: Path) -> dict[str, Any]:
    """What waits, for the page."""
    items, problems = read_inbox(inbox)
    return {"items": [described(item) for item in items], "problems": problems, "labels": LABELS, "none": NONE}


def described(item: Item) -> dict[str, Any]:
    kept = [path.parent.name for path in decisions.kept_files(decisions.KEPT, item)]
    shown = {key: value for key, value in item._asdict().items() if key not in ("image", "earlier")}
    return shown | {"kept": kept[0] if kept else None}


def decide(server: ReviewServer, body: bytes) -> dict[str, Any]:
    """Apply decisions, and return how many of each kind. Raises PipelineError."""
    try:
        value = parse_json(body)
    except ValueError as error:
        raise DataError(f"decisions: expected JSON, got: {error}") from error
    with server.lock:
        applied = decisions.apply(server.inbox, decisions.parse_decisions(value))
        if applied.kept:
            decisions.update_data_file()
    return applied._asdict()


def to_png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
