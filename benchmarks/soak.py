"""`make soak SECONDS=3600`: mixed traffic at 70 % of capacity, and whether memory, handles and latency stay the same.

Pictures, rows, batches, bad input, pages and metrics arrive at random; some clients leave during their body; and once
in each window more pictures arrive at once than the service takes. The server has one core, the load generator another.

It passes if every request got a status that it may get, and if memory, handles, threads, processor time per request and
median latency of the last quarter are not above those of the second by more than ALLOWED; the first is a warm-up.
"""

import asyncio
import math
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import uvloop

from benchmarks.hardware import hardware
from benchmarks.servers import Running, servers, started
from benchmarks.traffic import OVERLOADED, Clients, Kind, arrivals, kinds
from serving.smoke_test import free_port

WINDOWS: Final = 12
SHARE: Final = 0.7  # of capacity
CAPACITY_SECONDS: Final = 10.0
BURST: Final = 100  # pictures at once; the service takes 32 requests
# Of the second quarter of the windows to the last one: the unit, the factor and what is added to it.
ALLOWED: Final = (
    ("memory", " MB", 1, 20),
    ("handles", "", 1, 8),
    ("threads", "", 1, 2),
    ("processor", " µs", 1.3, 0),
    ("p50", " ms", 2, 0),
)
HEADS: Final = ("requests", "refused", "MB", "handles", "threads", "cpu µs", "p50 ms", "p99 ms", "picture p99")


class Window(NamedTuple):
    """What was seen in one part of the time; latencies in milliseconds."""

    requests: int
    refused: int
    memory: float  # MB, of all processes
    handles: int
    threads: int
    processor: float  # microseconds for each request that was not refused
    p50: float  # of one image as bytes
    p99: float
    p99_picture: float


async def capacity(port: int, expected: dict[str, Kind]) -> float:
    """Requests of the mix a second, from eight clients that send the next one as soon as they have a response."""
    clients, begun = Clients(port), time.perf_counter()

    async def one(seed: int) -> None:
        for _, name in arrivals(expected, 10_000, CAPACITY_SECONDS, seed):
            if time.perf_counter() > begun + CAPACITY_SECONDS:
                break
            await clients.ask(name, expected[name])

    await asyncio.gather(*map(one, range(8)))
    return sum(clients.statuses.values()) / (time.perf_counter() - begun)


async def window(clients: Clients, expected: dict[str, Kind], rate: float, seconds: float, seed: int) -> None:
    """Requests for so many seconds, and a burst in the middle; returns when all have their responses."""
    begun, burst = time.perf_counter(), seconds / 2
    async with asyncio.TaskGroup() as group:
        for due, name in arrivals(expected, rate, seconds, seed):
            await asyncio.sleep(max(0, begun + due - time.perf_counter()))
            group.create_task(clients.ask(name, expected[name]))
            if due > burst:
                burst = math.inf
                for _ in range(BURST):
                    group.create_task(clients.ask("picture", expected["picture"]))


async def soak(running: Running, port: int, seconds: float) -> tuple[list[Window], Counter[tuple[str, int]]]:
    """The windows, and the statuses that no request may get."""
    expected, wrong = kinds(), Counter[tuple[str, int]]()
    most = await capacity(port, expected)
    print(
        f"capacity: {most:.0f} requests of the mix a second; sent are {SHARE * most:.0f} for {seconds:.0f} s",
        flush=True,
    )
    print("window " + "".join(f"{name:>13}" for name in HEADS), flush=True)
    windows = []
    for seed in range(WINDOWS):
        clients, before = Clients(port), running.processor_seconds()
        await window(clients, expected, SHARE * most, seconds / WINDOWS, seed)
        await clients.close()
        windows.append(seen(running, clients, running.processor_seconds() - before))
        wrong.update(clients.wrong(expected))
        print(line(seed, windows[-1]), flush=True)
    return windows, wrong


def seen(running: Running, clients: Clients, processor: float) -> Window:
    processes = running.tree()
    p50, p99 = np.percentile(clients.latencies["image"], (50, 99)).tolist()
    requests = sum(clients.statuses.values())
    refused = sum(number for (_, status), number in clients.statuses.items() if status == OVERLOADED)
    return Window(
        requests,
        refused,
        sum(process.memory_info().rss for process in processes) / 2**20,
        sum(process.num_fds() for process in processes),
        sum(process.num_threads() for process in processes),
        processor / (requests - refused) * 1e6,
        p50,
        p99,
        float(np.percentile(clients.latencies["picture"], 99)),
    )


def line(number: int, window: Window) -> str:
    values = (f"{value:.1f}" if isinstance(value, float) else str(value) for value in window)
    return f"{number + 1:6} " + "".join(f"{value:>13}" for value in values)


def grown(windows: Sequence[Window]) -> list[str]:
    """What is higher in the last quarter than in the second, as sentences."""
    quarter = max(1, len(windows) // 4)
    early, late = windows[quarter : 2 * quarter], windows[-quarter:]
    found = []
    for field, unit, factor, margin in ALLOWED:
        first, last = (statistics.median(getattr(window, field) for window in part) for part in (early, late))
        if last > factor * first + margin:
            found.append(f"{field}: from {first:.1f} to {last:.1f}{unit}")
    return found


def main() -> None:
    seconds = float(sys.argv[1])
    os.sched_setaffinity(0, {1})
    port = free_port()
    print(hardware("bentoml", "onnxruntime", "uvicorn"))
    ours = servers(port)["ours, binary"]
    with tempfile.TemporaryDirectory() as folder, started(ours, port, Path(folder) / "log") as running:
        windows, wrong = uvloop.run(soak(running, port, seconds))
    problems = [f"{name}: {number} × status {status}" for (name, status), number in wrong.items()] + grown(windows)
    if problems:
        sys.exit(f"error: {'; '.join(problems)}")
    print(f"{sum(window.requests for window in windows)} requests: memory, handles, threads and latency did not grow")


if __name__ == "__main__":
    main()
