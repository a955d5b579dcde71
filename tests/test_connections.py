"""Connections have limits: what is no body is counted, no client is waited for without end, and slots are for work."""

import asyncio
import contextlib
import http.client
import logging
import math
import socket
from collections.abc import Callable, Iterator

import pytest

from serving.http.connections import RESERVED, Connection, Connections, connection_limit
from serving.http.limits import MAX_CONNECTIONS, MAX_HEAD, MAX_PIPELINED, Limits
from tests.support.attack import CHUNKED, GET, HOST, SLOW_BODY, closed
from tests.support.live_service import Live, send_until_closed
from tests.support.sample_requests import FIVE, PNG
from tests.support.waiting import wait_until

MB = 2**20
PAGE = b"/page/page.css"
START = CHUNKED + b"1\r\nx\r\n"


def received(live: Live, content: bytes) -> bytes:
    """All that the service sends to a client that sends `content`, until it closes the connection."""
    with socket.create_connection(live.address, timeout=60) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(content)
        return b"".join(iter(lambda: connection.recv(2**16), b""))


def predicted(live: Live) -> int:
    """The status of the answer to an honest request."""
    with contextlib.closing(http.client.HTTPConnection(*live.address, timeout=60)) as connection:
        connection.request("POST", "/predict", FIVE, PNG)
        return connection.getresponse().status


@contextlib.contextmanager
def many(live: Live, number: int, content: bytes, receive_buffer: int = 2**16) -> Iterator[list[socket.socket]]:
    """Connections that have sent `content` and read nothing."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.socket()) for _ in range(number)]
        for connection in opened:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connection.settimeout(60)
            connection.connect(live.address)
            connection.sendall(content)
        yield opened


@pytest.mark.parametrize(
    ("start_of_it", "part"),
    [
        (START + b"0\r\n", b"X-More: 7\r\n" * 1000),
        (START + b"0\r\nX-Long: ", b"a" * MB),
        (START + b"0\r\nX-More: 7\r\n\r\n", b"a" * MB),
        (CHUNKED + b"1;", b"name=value;" * 1000),
        (CHUNKED, b"0" * MB),
        (CHUNKED, b"1\r\nx\r\n" * 1000),
    ],
    ids=["trailers", "a long trailer", "a single trailer", "chunk extensions", "a long chunk size", "tiny chunks"],
)
def test_what_is_neither_head_nor_body_is_refused(start: Callable[..., Live], start_of_it: bytes, part: bytes) -> None:
    live = start(linger_bytes=MB)
    with socket.create_connection(live.address, timeout=60) as connection:
        connection.sendall(start_of_it)
        assert send_until_closed(connection, part) < 64 * MB  # the sockets' buffers hold the difference

    assert predicted(live) == 200


def test_a_refused_trailer_is_named(start: Callable[..., Live]) -> None:
    assert b"got the trailer 'X-More', expected no trailers" in received(start(), START + b"0\r\nX-More: 7\r\n\r\n")


def test_a_body_in_ordinary_chunks_is_read(start: Callable[..., Live]) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(FIVE[i : i + 50]), FIVE[i : i + 50]) for i in range(0, len(FIVE), 50))
    answer = received(start(), CHUNKED.replace(b"Host", b"Connection: close\r\nHost") + chunks + b"0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200")


def test_bodies_of_one_connection_are_counted_each_by_itself(start: Callable[..., Live]) -> None:
    with contextlib.closing(http.client.HTTPConnection(*start().address, timeout=60)) as connection:
        for _ in range(3):
            connection.request("POST", "/predict", bytes(3 * MB), PNG)
            response = connection.getresponse()
            assert (response.status, b"not_a_picture" in response.read()) == (422, True)


def test_a_head_over_the_limit_in_one_write_is_refused(start: Callable[..., Live]) -> None:
    head = b"GET /livez" + HOST + (b"X-Long: " + b"a" * 1000 + b"\r\n") * (MAX_HEAD // 1000) + b"\r\n"

    assert received(start(), head).startswith(b"HTTP/1.1 431")


def test_requests_without_responses_wait_in_bounded_number(start: Callable[..., Live]) -> None:
    live = start()
    last = b"GET /livez" + HOST + b"Connection: close\r\n\r\n"

    assert received(live, GET % b"/livez" * MAX_PIPELINED + last).count(b"HTTP/1.1 200") == MAX_PIPELINED + 1
    assert received(live, GET % b"/livez" * 1000).startswith(b"HTTP/1.1 400")


def test_a_head_that_does_not_arrive_is_refused_and_logged(
    start: Callable[..., Live], caplog: pytest.LogCaptureFixture
) -> None:
    live = start(head_seconds=0.1)
    with caplog.at_level(logging.WARNING, "serving"):
        assert received(live, b"GET /livez" + HOST).startswith(b"HTTP/1.1 408")
        assert received(live, b"") == b""
        assert received(live, b"\r\n") == b""

    wait_until(lambda: "waited too long for a request" in caplog.text)


def test_a_body_that_does_not_arrive_is_refused_and_the_time_starts_after_the_head(start: Callable[..., Live]) -> None:
    live = start(body_seconds=0.1)
    head = b"POST /predict" + HOST + b"Content-Type: image/png\r\nContent-Length: 100\r\n\r\n"

    answer = received(live, b"GET /livez" + HOST + b"\r\n" + head + b"1234567")

    assert answer.count(b"HTTP/1.1 200") == 1
    assert answer.partition(b"HTTP/1.1 408")[2].endswith(
        b'"got":"7 bytes","expected":"the whole body within 5 seconds"}'
    )


def test_between_two_requests_a_connection_is_kept_as_long_as_uvicorn_keeps_it(start: Callable[..., Live]) -> None:
    live = start()
    with contextlib.closing(http.client.HTTPConnection(*live.address, timeout=60)) as connection:
        connection.request("GET", "/livez")
        assert connection.getresponse().read()
        (kept,) = live.connections

        wait_until(lambda: kept.limit_of("a request") == math.inf)


def test_a_client_that_does_not_read_is_disconnected(start: Callable[..., Live]) -> None:
    live = start(send_seconds=0.1)
    with many(live, 3, GET % PAGE * MAX_PIPELINED, 2048):
        wait_until(lambda: not live.connections)


def test_slots_are_for_requests_with_a_whole_body_and_no_answer(start: Callable[..., Live]) -> None:
    live = start(Limits(requests=1))
    with many(live, 8, SLOW_BODY), many(live, 8, GET % PAGE * MAX_PIPELINED, 2048):
        wait_until(lambda: len(live.connections) == 16)

        assert [predicted(live) for _ in range(5)] == [200] * 5


def test_the_body_of_a_request_that_takes_none_is_not_kept(start: Callable[..., Live]) -> None:
    live = start()
    head = GET % PAGE * MAX_PIPELINED + b"GET " + PAGE + HOST + b"Content-Length: 1000000\r\n\r\n"
    with many(live, 1, head + bytes(500_000), 2048):
        wait_until(lambda: any(connection.body_bytes for connection in live.connections))

        assert [len(connection.cycle.body) for connection in live.connections] == [0]


@pytest.mark.parametrize("content", [b"", b"GET /livez" + HOST, SLOW_BODY], ids=["silent", "a head", "a body"])
def test_at_the_limit_of_connections_those_that_waited_longest_are_closed(
    start: Callable[..., Live], content: bytes
) -> None:
    live = start(max_connections=8)
    with many(live, 20, content) as opened:
        assert [predicted(live) for _ in range(5)] == [200] * 5

        wait_until(lambda: closed(opened[0]))
        assert len(live.connections) <= 8


class Waiting:
    """A connection that has waited as long as all others."""

    arrival = 0
    is_aborted = False

    def waits_for(self, now: float) -> tuple[str, float]:
        return "a request", 1.0

    def limit_of(self, wait: str) -> float:
        return math.inf

    def end(self, wait: str) -> None:
        self.abort()

    def abort(self) -> None:
        self.is_aborted = True


def test_of_connections_that_waited_equally_long_the_first_are_closed() -> None:
    async def arrive() -> list[bool]:
        opened = set[Connection]()
        connections, arrived = Connections(opened, 8), [Waiting() for _ in range(9)]
        for connection in arrived:
            opened.add(connection)
            connections.add(connection)
        return [connection.is_aborted for connection in arrived]

    assert asyncio.run(arrive()) == [True] * 3 + [False] * 6


def test_as_many_connections_are_accepted_as_the_process_may_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (RESERVED + 1000, RESERVED + 1000))
    assert connection_limit() == MAX_CONNECTIONS
    monkeypatch.setattr("resource.getrlimit", lambda which: (RESERVED + 100, RESERVED + 100))
    assert 0 < connection_limit() < 100
