"""`deploy/nginx.conf` in a real nginx, in front of the service: what reaches it, and what ends before it.

The page behind it, in a browser: `test_page_prefix.py`.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import httpx2
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from serving.http.errors import STATUS
from serving.http.limits import MAX_BODY
from serving.http.uvicorn_protocol import Protocol
from serving.model import Model
from tests.support.inprocess_service import service
from tests.support.nginx import PREFIX, running_nginx
from tests.support.synthetic_digits import pictures
from tests.support.waiting import wait_until

PNG: Final = {"content-type": "image/png"}
PICTURE: Final = sorted(pictures(11).items())[0][1]
CONNECTIONS: Final = 20  # of one address, in nginx.conf
TIMEOUT: Final = 60  # seconds; nginx gives a client 10


class Recorder:
    """An ASGI application that records the requests to the service behind it."""

    def __init__(self, model: Model) -> None:
        self.app = service(model)
        self.requests: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.requests.append(scope)
        await self.app(scope, receive, send)

    def paths(self) -> list[str]:
        return [scope["path"] for scope in self.requests]


@pytest.fixture(scope="module")
def recorder(model: Model) -> Recorder:
    return Recorder(model)


@pytest.fixture(scope="module")
def direct(recorder: Recorder) -> Iterator[str]:
    """The URL of the service itself."""
    server = uvicorn.Server(uvicorn.Config(recorder, host="127.0.0.1", port=0, log_level="warning", http=Protocol))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def url(direct: str, recorder: Recorder, tmp_path: Path) -> Iterator[str]:
    """The URL of the service behind an nginx that has counted nothing yet."""
    with running_nginx(direct, tmp_path) as url:
        recorder.requests.clear()
        yield url


@contextmanager
def sent(url: str, content: bytes) -> Iterator[socket.socket]:
    """A connection to nginx on which these bytes were sent."""
    host, _, port = url.split("/")[2].partition(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
        connection.sendall(content)
        yield connection


def head(length: int) -> bytes:
    return (
        f"POST /{PREFIX}predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def read_to_end(connection: socket.socket) -> bytes:
    received = bytearray()
    try:
        while content := connection.recv(1 << 16):
            received += content
    except ConnectionResetError:
        pass
    return bytes(received)


def test_a_page_and_a_prediction_go_through(url: str, recorder: Recorder) -> None:
    forged = {"x-forwarded-for": "10.1.2.3", "x-forwarded-proto": "gopher"}
    page = httpx2.get(url)
    answer = httpx2.post(f"{url}predict", content=PICTURE, headers=PNG | forged)

    assert page.status_code == answer.status_code == 200
    assert "frame-ancestors" in page.headers["content-security-policy"]
    assert len(answer.json()["probabilities"]) == 10
    assert recorder.paths() == ["/", "/predict"]
    headers = dict(recorder.requests[-1]["headers"])
    assert headers[b"x-forwarded-for"] == b"127.0.0.1"
    assert headers[b"x-forwarded-proto"] == b"http"
    assert headers[b"x-forwarded-prefix"] == b"/digits"


def test_the_connection_to_the_service_is_reused(url: str, recorder: Recorder) -> None:
    for _ in range(5):
        with sent(url, f"GET /{PREFIX}model HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()) as connection:
            assert read_to_end(connection).startswith(b"HTTP/1.1 200")

    assert {scope["http_version"] for scope in recorder.requests} == {"1.1"}
    assert len({scope["client"] for scope in recorder.requests}) == 1


def test_slow_heads_and_bodies_end_without_reaching_the_service(url: str, recorder: Recorder) -> None:
    slow = [head(1000)[:40], head(1000), head(1000) + b"x", head(MAX_BODY) + bytes(100_000)]
    with ExitStack() as connections:
        for connection in [connections.enter_context(sent(url, content)) for content in slow]:
            assert b" 200 " not in read_to_end(connection)

    assert recorder.paths() == []


@pytest.mark.parametrize("name", ["livez", "readyz", "metrics"])
def test_probes_and_metrics_are_not_reachable(url: str, direct: str, recorder: Recorder, name: str) -> None:
    host = url.removesuffix(PREFIX)
    hidden = [f"%{ord(name[0]):x}{name[1:]}", f"{name}/", f"./{name}", f"/{name}", f"a/../{name}", f"{name}?a=b"]
    spelled = [f"{PREFIX}{path}" for path in (name, name.upper(), *hidden)] + [name, f"/{name}"]
    assert httpx2.get(f"{direct}/{name}").status_code == 200
    recorder.requests.clear()

    for path in spelled:
        # httpx2 would normalise the path
        with sent(url, f"GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()) as connection:
            assert read_to_end(connection).startswith(b"HTTP/1.1 404"), f"{host}{path}"
    assert recorder.paths() == []


def test_an_address_with_too_many_connections_gets_429_until_it_closes_some(url: str, recorder: Recorder) -> None:
    def refused(response: httpx2.Response) -> bool:
        return response.status_code == STATUS["overloaded"]

    with ExitStack() as connections:
        for _ in range(CONNECTIONS):
            connections.enter_context(sent(url, head(1000) + b"x"))
        wait_until(lambda: refused(httpx2.get(f"{url}model")))
        response = httpx2.post(f"{url}predict", content=PICTURE, headers=PNG)
        assert refused(response)
        assert response.json()["code"] == "overloaded"
        assert response.headers["retry-after"] == "1"
        assert "/predict" not in recorder.paths()  # the slots of the service are free

    wait_until(lambda: not refused(httpx2.get(f"{url}model")))


def test_an_address_with_too_many_requests_gets_429(url: str, recorder: Recorder) -> None:
    requests = 400
    each = f"GET /{PREFIX}model HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    last = f"GET /{PREFIX}model HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()

    with sent(url, each * (requests - 1) + last) as connection:
        received = read_to_end(connection)

    answered, refused = received.count(b"HTTP/1.1 200 "), received.count(b"HTTP/1.1 429 ")
    assert answered + refused == requests
    assert answered == len(recorder.requests)
    assert answered >= 60  # the burst
    assert refused > 0


def test_what_is_too_large_ends_before_the_service(url: str, recorder: Recorder) -> None:
    body = httpx2.post(f"{url}predict", content=bytes(MAX_BODY + 1), headers=PNG)
    line = httpx2.get(f"{url}model", headers={"x-long": "x" * 40_000})

    assert body.status_code == STATUS["body_too_large"]
    assert body.json()["code"] == "body_too_large"
    assert line.status_code == 400
    assert recorder.paths() == []
