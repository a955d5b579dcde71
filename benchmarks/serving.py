"""`make bench-serving`: our service compared with others that serve the same weights, in turn on one machine.

The server has one core, the load generator another. Prints medians over rounds in which the servers take turns. The
processor time per request, of all processes of a server, ranks them on a busy machine, too. Run `make repro` and
`make bento` first.
"""

import argparse
import math
import os
import statistics
import tempfile
import timeit
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import load
from benchmarks.hardware import hardware
from benchmarks.servers import BATCH, MODEL, Server, images, servers, started
from serving.model import Model
from serving.smoke_test import free_port

PACKAGES: Final = ("bentoml", "onnxruntime", "fastapi", "mlflow", "litserve", "torch", "uvicorn")
SLOWEST: Final = "FastAPI, torch eager, JSON"  # 70 % of what saturates it is the load that is offered to all
BARE: Final = "FastAPI and onnxruntime, "  # binary or JSON: what the others are compared with
COLUMNS: Final = (
    *("first s", "req/s", "cpu µs", "cpu ×", "p50 ms", "p99 ms"),
    *("images/s", "p50", "p99", "p50 offered", "p99 offered"),
)
DIGITS: Final = (1, 0, 0, 2, 2, 2, 0, 1, 1, 2, 2)


class Figures(NamedTuple):
    first: float  # seconds
    rate: float  # requests a second
    processor: float  # microseconds a request
    p50: float  # milliseconds
    p99: float
    images: float  # a second, in batches
    p50_batch: float  # milliseconds, for a batch
    p99_batch: float
    p50_offered: float  # milliseconds, at the same offered load for all
    p99_offered: float


def measure(server: Server, port: int, log: Path, offered: float | None) -> Figures:
    with started(server, port, log) as running:
        load.saturate(port, server.one, seconds=1)  # warm
        before = running.processor_seconds()
        one = load.saturate(port, server.one)
        processor = running.processor_seconds() - before
        many = load.saturate(port, server.many, connections=2, seconds=3)
        open_loop = load.offer(port, server.one, offered or 0.7 * one.rate)
    return Figures(
        running.first,
        one.rate,
        processor / len(one.latencies) * 1e6,
        one.percentile(50),
        one.percentile(99),
        many.rate * server.batch,
        many.percentile(50),
        many.percentile(99),
        open_loop.percentile(50),
        open_loop.percentile(99),
    )


def model_alone() -> str:
    """The speed of the model itself, in this process: an upper bound for any service."""
    model, one, many = Model(MODEL, "mnist:v1-test"), images(1), images(BATCH)
    ones = timeit.repeat(lambda: model.classify(one), number=1000, repeat=9)
    fours = timeit.repeat(lambda: model.classify(many[:4]), number=250, repeat=9)
    manies = timeit.repeat(lambda: model.classify(many), number=1, repeat=9)
    one_us, four_us = statistics.median(ones) * 1e3, statistics.median(fours) * 1e3
    rate = BATCH / statistics.median(manies)
    return f"the model alone: {one_us:.0f} µs for one image, {four_us:.0f} for each of four; {rate:.0f} images/s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="only servers with this in their names, e.g. 'binary'")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {1})
    port = free_port()
    found: dict[str, list[Figures]] = {}
    with tempfile.TemporaryDirectory() as folder:
        log, offered = Path(folder) / "log", None
        for _ in range(arguments.rounds):
            chosen = [(name, server) for name, server in servers(port).items() if arguments.only in name]
            for name, server in sorted(chosen, key=lambda item: item[0] != SLOWEST):
                found.setdefault(name, []).append(measure(server, port, log, offered))
                offered = offered or 0.7 * found[name][0].rate
    medians = {name: Figures(*map(statistics.median, zip(*found[name], strict=True))) for name, _ in chosen}
    print(f"{hardware(*PACKAGES)}; a core for each server, {arguments.rounds} rounds")
    print("\n".join(table(medians)))
    print("cpu: processor time per request; × that of FastAPI and onnxruntime with the same kind of body")
    print(f"images/s with p50 and p99: in batches, of {BATCH} images as bytes and of 64 in JSON")
    print(f"offered: at {offered:.0f} requests a second, 70 % of what saturates {next(iter(found))}")
    print(model_alone())


def table(medians: dict[str, Figures]) -> Sequence[str]:
    lines = [" " * 32 + "".join(f"{name:>12}" for name in COLUMNS)]
    for name, row in medians.items():
        bare = medians.get(BARE + ("JSON" if name.endswith("JSON") else "binary"))
        values = (*row[:3], row.processor / bare.processor if bare else math.nan, *row[3:])
        cells = (f"{value:12.{digits}f}" for value, digits in zip(values, DIGITS, strict=True))
        lines.append(f"{name:32}" + "".join(cells))
    return lines


if __name__ == "__main__":
    main()
