"""A load generator for one server on the loopback: requests over keep-alive connections, closed or open loop."""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import uvloop


@dataclass(frozen=True)
class Load:
    """The result: responses per second, and the latency of each in seconds, from the time at which it was due."""

    rate: float
    latencies: Sequence[float]

    def percentile(self, percent: float) -> float:
        """Milliseconds within which this percentage of the responses arrived."""
        return float(np.percentile(self.latencies, percent)) * 1000


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.waiting: asyncio.Future[int] | None = None
        self.buffer = bytearray()

    def send(self, request: bytes) -> asyncio.Future[int]:
        """The status of the response. Raises ConnectionError if the server closes the connection instead."""
        if self.transport.is_closing():
            raise ConnectionResetError("the server closed the connection")
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.waiting

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0 or self.waiting is None:
            return
        header = bytes(self.buffer[:head]).lower()
        length = int(header.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(self.buffer) < head + 4 + length:
            return
        waiting, self.waiting = self.waiting, None
        self.buffer.clear()
        waiting.set_result(int(header.split(b" ", 2)[1]))

    def connection_lost(self, error: Exception | None) -> None:
        if self.waiting is not None:
            self.waiting.set_exception(error or ConnectionResetError("the server closed the connection"))


def check(status: int) -> None:
    if status != 200:
        raise RuntimeError(f"got status {status}, expected 200")


def request(path: str, media_type: str, body: bytes) -> bytes:
    lines = f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {media_type}", f"Content-Length: {len(body)}"
    return "\r\n".join((*lines, "", "")).encode() + body


async def _connected(port: int, count: int) -> list[Connection]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in range(count)]


async def _closed(port: int, content: bytes, connections: int, seconds: float) -> Load:
    latencies: list[float] = []
    started = time.perf_counter()

    async def one(connection: Connection) -> None:
        while (now := time.perf_counter()) < started + seconds:
            check(await connection.send(content))
            latencies.append(time.perf_counter() - now)
        connection.transport.close()

    await asyncio.gather(*map(one, await _connected(port, connections)))
    return Load(len(latencies) / (time.perf_counter() - started), latencies)


async def _open(port: int, content: bytes, connections: int, seconds: float, rate: float, seed: int) -> Load:
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds))
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in await _connected(port, connections):
        free.put_nowait(connection)
    latencies: list[float] = []

    async def one(due: float) -> None:
        connection = await free.get()
        check(await connection.send(content))
        latencies.append(time.perf_counter() - due)
        free.put_nowait(connection)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for due in started + np.cumsum(gaps):
            await asyncio.sleep(max(0, due - time.perf_counter()))
            group.create_task(one(due))
    rate = len(latencies) / (time.perf_counter() - started)
    while not free.empty():
        free.get_nowait().transport.close()
    return Load(rate, latencies)


def _run(main: Coroutine[Any, Any, Load]) -> Load:
    return uvloop.run(main)


def saturate(port: int, content: bytes, connections: int = 4, seconds: float = 5) -> Load:
    """Closed loop: each connection sends the request `content` again as soon as it has the response."""
    return _run(_closed(port, content, connections, seconds))


def offer(port: int, content: bytes, rate: float, connections: int = 32, seconds: float = 5, seed: int = 1) -> Load:
    """Open loop: requests arrive at random, `rate` per second on average, whether or not earlier ones are answered."""
    return _run(_open(port, content, connections, seconds, rate, seed))
