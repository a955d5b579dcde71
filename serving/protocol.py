"""What uvicorn's reading of HTTP lacks: a limit on a request's head, and refusals in our one schema."""

from typing import Any, Final

import orjson
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving import metrics
from serving.problems import Problem, got_instead

MAX_HEAD: Final = 2**16  # bytes of a request before its body; browsers send a thousand


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.head: int | None = None  # bytes of a head that has not ended yet

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.head is not None:
            self.head += len(data)
            if self.head > MAX_HEAD:
                self.refuse(got_instead("head_too_large", f"{self.head} bytes of headers", f"at most {MAX_HEAD}"))

    def on_message_begin(self) -> None:
        self.head = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.head = None
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self.head = None
        self.refuse(Problem("malformed_request", msg))

    def refuse(self, problem: Problem) -> None:
        """Answer and hang up."""
        metrics.REJECTED.labels(problem.code).inc()
        body = orjson.dumps(problem.content())
        head = f"HTTP/1.1 {problem.status} \r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()


def install() -> None:
    """Have uvicorn take it where it is told to choose by itself, as BentoML tells it. Before the server is set up."""
    auto.AutoHTTPProtocol = Protocol
