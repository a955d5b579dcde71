"""A response sent before the request has been read reaches the client; the rest of the request has limits."""

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Callable

import pytest

from serving.http.limits import Limits
from tests.support.live_service import Live, send_until_closed
from tests.support.waiting import wait_until

MB = 2**20
LARGE = bytes(9 * MB)  # more than the sockets' buffers hold, and less than the service's limit
TOO_LARGE = bytes(11 * MB)
PNG = {"content-type": "image/png"}
TEXT = {"content-type": "text/plain"}
CLOSE = {"connection": "close"}
REFUSED: dict[str, tuple[str, str, bytes, dict[str, str], int]] = {
    "a body over the limit": ("POST", "/predict", TOO_LARGE, PNG, 413),
    "a body far over the limit": ("POST", "/predict", bytes(40 * MB), PNG, 413),
    "an unsupported type": ("POST", "/predict", LARGE, TEXT | CLOSE, 415),
    "an unsupported type, connection kept": ("POST", "/predict", LARGE, TEXT, 415),
    "an unknown path": ("POST", "/guess", LARGE, PNG | CLOSE, 404),
    "another method": ("PUT", "/predict", LARGE, PNG | CLOSE, 405),
    "a wrong query": ("POST", "/predict?seen=perhaps", LARGE, PNG | CLOSE, 400),
    "a pickle": ("POST", "/predict", LARGE, {"content-type": "application/x-pickle"} | CLOSE, 415),
}
ENDLESS = b"POST /guess HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n%b\r\n"
CHUNK = b"10000\r\n" + bytes(2**16) + b"\r\n"


@pytest.fixture
def live(start: Callable[..., Live]) -> Live:
    return start()


def request(live: Live, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    """Status and code of the problem, as http.client gets them: it sends all of the body before it reads."""
    with contextlib.closing(http.client.HTTPConnection(*live.address, timeout=60)) as connection:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())["code"]


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_arrives_while_the_body_is_still_being_sent(live: Live, kind: str) -> None:
    method, path, body, headers, status = REFUSED[kind]

    assert [request(live, method, path, body, headers)[0] for _ in range(3)] == [status] * 3


def test_refusals_for_overload_and_slowness_arrive_too(start: Callable[..., Live]) -> None:
    assert request(start(Limits(requests=0)), "POST", "/predict", LARGE, PNG) == (429, "overloaded")

    live = start(body_seconds=0.0)
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(LARGE)
    with socket.create_connection(live.address, timeout=60) as slow:
        slow.sendall(head)
        wait_until(lambda: any(connection.is_closing for connection in live.connections))  # it has been refused
        slow.sendall(LARGE)
        assert slow.makefile("rb").readline().split()[1] == b"408"


@pytest.mark.parametrize(
    ("head", "rest", "status"),
    [
        (b"POST /\xff HTTP/1.1\r\nContent-Length: 9437184\r\n\r\n", LARGE, b"400"),
        (ENDLESS % b"" + b"xyz\r\n", LARGE, b"400"),
        (b"GET / HTTP/1.1\r\nX-Long: ", b"a" * MB, b"431"),
    ],
)
def test_refusals_by_the_protocol_arrive_too(live: Live, head: bytes, rest: bytes, status: bytes) -> None:
    for _ in range(3):
        with socket.create_connection(live.address, timeout=60) as connection:
            connection.sendall(head + rest)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.split()[1] == status
        assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("header", [b"", b"Connection: close\r\n"])
def test_an_endless_body_is_cut_off_at_a_number_of_bytes(start: Callable[..., Live], header: bytes) -> None:
    live = start(linger_bytes=MB)
    with socket.create_connection(live.address, timeout=60) as connection:
        connection.sendall(ENDLESS % header)

        assert send_until_closed(connection, CHUNK) < 64 * MB  # the sockets' buffers hold the difference
    wait_until(lambda: not live.connections)


@pytest.mark.parametrize("header", [b"", b"Connection: close\r\n"])
def test_an_endless_body_is_cut_off_after_a_time(start: Callable[..., Live], header: bytes) -> None:
    live = start(linger_seconds=0.5, linger_idle=0.4)
    with socket.create_connection(live.address, timeout=60) as connection:
        connection.sendall(ENDLESS % header)

        send_until_closed(connection, b"1\r\nx\r\n", pause=0.01)
    wait_until(lambda: not live.connections)


@pytest.mark.parametrize("header", [b"", b"Connection: close\r\n"])
def test_an_idle_client_is_disconnected(start: Callable[..., Live], header: bytes) -> None:
    live = start(linger_idle=0.2)
    with socket.create_connection(live.address, timeout=60) as connection:
        connection.sendall(ENDLESS % header)
        assert connection.recv(12) == b"HTTP/1.1 404"

        wait_until(lambda: not live.connections)


def test_a_discarded_rest_does_not_count_as_a_request_and_takes_no_memory(live: Live) -> None:
    with socket.create_connection(live.address, timeout=60) as connection:
        connection.sendall(ENDLESS % b"")
        assert connection.recv(12) == b"HTTP/1.1 404"
        (open_one,) = live.connections
        for _ in range(100):
            connection.sendall(CHUNK)
        wait_until(lambda: open_one.discarded >= 100 * len(CHUNK))

        assert (live.app.requests, live.app.bytes) == (0, 0)
        assert len(open_one.cycle.body) == 0


def test_a_kept_connection_answers_the_next_request_after_the_rest(live: Live) -> None:
    with contextlib.closing(http.client.HTTPConnection(*live.address, timeout=60)) as connection:
        for _ in range(3):
            connection.request("POST", "/predict", LARGE, TEXT)
            refused = connection.getresponse()
            assert (refused.status, bool(refused.read())) == (415, True)
            opened = connection.sock
            connection.request("GET", "/livez")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b'{"status":"alive"}')
            assert connection.sock is opened


def test_a_request_behind_a_refused_one_is_answered(live: Live) -> None:
    behind = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(live.address, timeout=60) as connection:
        connection.sendall(b"POST /guess HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(LARGE))
        connection.sendall(LARGE + behind)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == [b"404", b"200"]


def test_invalid_http_after_a_response_gets_no_second_response(live: Live) -> None:
    with socket.create_connection(live.address, timeout=60) as connection:
        connection.sendall(ENDLESS % b"")
        answer = connection.recv(12)
        connection.sendall(b"xyz\r\n" + LARGE)
        answer += b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.count(b"HTTP/1.1") == 1


def test_a_hanging_client_does_not_delay_the_shutdown(
    start: Callable[..., Live],
) -> None:
    live = start(linger_idle=3600.0, linger_seconds=3600.0)
    with contextlib.ExitStack() as stack:
        for head in (ENDLESS % b"", ENDLESS % b"Connection: close\r\n", b"rubbish\r\n\r\n"):
            connection = stack.enter_context(socket.create_connection(live.address, timeout=60))
            connection.sendall(head)
            assert connection.recv(9) == b"HTTP/1.1 "

        live.server.should_exit = True
        live.thread.join(60)
        assert not live.thread.is_alive()
