"""Mixed traffic for `make soak`: which requests, when, and what becomes of them."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from benchmarks import load
from benchmarks.servers import JSON, RAW, json_request, raw_request
from tests.support.pictures import encoded, row

CONNECTIONS: Final = 32
OVERLOADED: Final = 429


class Kind(NamedTuple):
    weight: float
    content: bytes
    status: int


def png(path: str, content: bytes) -> bytes:
    return load.request(path, "image/png", content)


def kinds() -> dict[str, Kind]:
    """The requests of the mixed traffic, with their shares in per cent, and the statuses that they get."""
    picture = sorted(Path("data").glob("*/*.png"))[0].read_bytes()
    photo = encoded(np.random.default_rng(1).integers(160, 255, (3000, 4000), np.uint8), "JPEG")
    return {
        "image": Kind(40, raw_request(1), 200),
        "JSON": Kind(20, json_request("/predict_batch", 1), 200),
        "picture": Kind(20, png("/predict", picture), 200),
        "row": Kind(3, png("/read", encoded(255 - row("4083"))), 200),
        "batch": Kind(3, raw_request(64), 200),
        "photo": Kind(0.1, load.request("/predict", "image/jpeg", photo), 200),
        "no picture": Kind(3, png("/predict", b"hello"), 422),
        "wrong JSON": Kind(3, load.request("/predict_batch", JSON, b'{"images": [[[300]]]}'), 422),
        "wrong length": Kind(3, load.request("/predict_batch?shape=2,28,28", RAW, bytes(784)), 422),
        "page": Kind(2, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        "metrics": Kind(0.5, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        "client that leaves": Kind(2, png("/predict", picture)[:-1], 0),
    }


class Clients:
    """Connections that are kept, and replaced when the service has closed them; what they saw since the last window."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.free: list[load.Connection] = []
        self.latencies: dict[str, list[float]] = {}
        self.statuses: Counter[tuple[str, int]] = Counter()

    async def connect(self) -> load.Connection:
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(load.Connection, "127.0.0.1", self.port))[1]

    async def ask(self, name: str, kind: Kind) -> None:
        """Send the request and count its status; a connection that was closed while it was free is replaced."""
        started = time.perf_counter()
        if not kind.status:
            connection = await self.connect()
            connection.transport.write(kind.content)
            await asyncio.sleep(0.01)
            connection.transport.abort()
            return
        while True:
            is_new = not self.free
            connection = await self.connect() if is_new else self.free.pop()
            try:
                status = await connection.send(kind.content)
                break
            except ConnectionError:
                if is_new:
                    raise
        self.latencies.setdefault(name, []).append((time.perf_counter() - started) * 1000)
        self.statuses[name, status] += 1
        if connection.transport.is_closing() or len(self.free) >= CONNECTIONS:
            connection.transport.close()
        else:
            self.free.append(connection)

    async def close(self) -> None:
        for connection in self.free:
            connection.transport.close()
        await asyncio.sleep(1)  # until the service has closed them, too

    def wrong(self, expected: dict[str, Kind]) -> dict[tuple[str, int], int]:
        """Statuses that a request may not get, with their number."""
        return {
            (name, status): number
            for (name, status), number in self.statuses.items()
            if status not in (expected[name].status, OVERLOADED)
        }


def arrivals(expected: dict[str, Kind], rate: float, seconds: float, seed: int) -> Iterator[tuple[float, str]]:
    """Times and kinds of requests that arrive at random, `rate` a second on average."""
    rng = np.random.default_rng(seed)
    shares = np.array([kind.weight for kind in expected.values()])
    due = np.cumsum(rng.exponential(1 / rate, int(rate * seconds)))
    names = rng.choice(list(expected), len(due), p=shares / shares.sum())
    return zip(due.tolist(), names.tolist(), strict=True)
