"""`make bench-serving`: our service compared with two baselines with the same weights, in turn on one machine.

The server has one core, the load generator another. Prints medians over rounds in which the servers take turns. Run
`make repro` and `make bento` first.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from benchmarks import load
from benchmarks.hardware import hardware
from serving.model import Model
from serving.smoke_test import free_port, serve_command, wait_until_ready

ROUNDS: Final = 3
BATCH: Final = 1024
BENTO: Final = Path(".cache/bento")
MODEL: Final = Path("artifacts/export/model.onnx")
JSON: Final = "application/json"
RAW: Final = "application/octet-stream"


class Server(NamedTuple):
    """Its command, the path that responds once it is ready, and two requests: one image, and `batch` images."""

    command: list[str]
    ready: str
    one: bytes
    many: bytes
    batch: int


def images(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.load("artifacts/download/test_images.npy")[:count]  # type: ignore[no-any-return]


def as_json(count: int) -> bytes:
    return json.dumps({"images": images(count).tolist()}).encode()


def servers(port: int) -> dict[str, Server]:
    ours = serve_command(BENTO.read_text(), port)
    address = ["--host", "127.0.0.1", "--port", str(port)]
    shape = "/predict_batch?shape={},28,28"
    raw_one = load.request(shape.format(1), RAW, images(1).tobytes())
    raw_many = load.request(shape.format(BATCH), RAW, images(BATCH).tobytes())
    json_one, json_many = (load.request("/predict_batch", JSON, as_json(count)) for count in (1, 64))
    plain_one, plain_many = (load.request("/predict", JSON, as_json(count)) for count in (1, 64))
    uvicorn = [sys.executable, "-m", "uvicorn", "--log-level", "warning", *address]
    fastapi, empty = [*uvicorn, "benchmarks.fastapi_baseline:app"], [*uvicorn, "benchmarks.empty_baseline:app"]
    alone = [sys.executable, "-m", "tests.support.inprocess_service", str(MODEL), str(port)]
    bentoml = ["bentoml", "serve", "benchmarks.bentoml_baseline:Baseline", *address]
    empty_bento = ["bentoml", "serve", "benchmarks.empty_bento:Empty", *address]
    bare = [*uvicorn, "benchmarks.fastapi_onnx_baseline:app"]
    return {
        "FastAPI and onnxruntime, binary": Server(bare, "/openapi.json", raw_one, raw_many, BATCH),
        "FastAPI and onnxruntime, JSON": Server(bare, "/openapi.json", json_one, json_many, 64),
        "ours, binary": Server(ours, "/readyz", raw_one, raw_many, BATCH),
        "ours, JSON": Server(ours, "/readyz", json_one, json_many, 64),
        "ours without BentoML, binary": Server(alone, "/readyz", raw_one, raw_many, BATCH),
        "BentoML and no model": Server(empty_bento, "/", raw_one, raw_many, BATCH),
        "uvicorn and no model": Server(empty, "/", raw_one, raw_many, BATCH),
        "FastAPI, torch eager, JSON": Server(fastapi, "/openapi.json", plain_one, plain_many, 64),
        "BentoML's example, JSON": Server(bentoml, "/readyz", plain_one, plain_many, 64),
    }


@contextmanager
def started(server: Server, port: int, log: Path) -> Iterator[float]:
    """Run the server on core 0; yields the seconds until its first response."""
    begun = time.perf_counter()
    with log.open("w") as output:
        arguments = ["taskset", "-c", "0", *server.command]
        process = subprocess.Popen(arguments, stdout=output, stderr=output, start_new_session=True)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, log, server.ready)
        load.saturate(port, server.one, connections=1, seconds=0.1)
        yield time.perf_counter() - begun
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=20)


def model_alone() -> str:
    """The speed of the model itself, in this process: an upper bound for any service."""
    model, one, many = Model(MODEL, "mnist:v1-test"), images(1), images(BATCH)
    ones = timeit.repeat(lambda: model.classify(one), number=1000, repeat=9)
    manies = timeit.repeat(lambda: model.classify(many), number=1, repeat=9)
    microseconds, rate = statistics.median(ones) * 1000, BATCH / statistics.median(manies)
    return f"the model alone, in process: {microseconds:.0f} µs for one image, {rate:.0f} images/s in batches"


class Figures(NamedTuple):
    first: float  # seconds
    rate: float  # requests a second
    p50: float  # milliseconds
    p99: float
    images: float  # a second, in batches
    p50_batch: float  # milliseconds, for a batch
    p99_batch: float
    p50_offered: float  # milliseconds, at the same offered load for all
    p99_offered: float


def measure(server: Server, port: int, log: Path, offered: float | None) -> Figures:
    with started(server, port, log) as first:
        load.saturate(port, server.one, seconds=1)  # warm
        one = load.saturate(port, server.one)
        many = load.saturate(port, server.many, connections=2, seconds=3)
        open_loop = load.offer(port, server.one, offered or 0.7 * one.rate)
    return Figures(
        first,
        one.rate,
        one.percentile(50),
        one.percentile(99),
        many.rate * server.batch,
        many.percentile(50),
        many.percentile(99),
        open_loop.percentile(50),
        open_loop.percentile(99),
    )


def main() -> None:
    os.sched_setaffinity(0, {1})
    port = free_port()
    baseline = "FastAPI, torch eager, JSON"
    found: dict[str, list[Figures]] = {}
    with tempfile.TemporaryDirectory() as folder:
        log, offered = Path(folder) / "log", None
        for _ in range(ROUNDS):
            for name, server in sorted(servers(port).items(), key=lambda item: item[0] != baseline):
                found.setdefault(name, []).append(measure(server, port, log, offered))
                offered = offered or 0.7 * found[baseline][0].rate
    print_table(
        {name: Figures(*map(statistics.median, zip(*rows, strict=True))) for name, rows in found.items()}, baseline
    )
    print(f"images/s with p50 and p99: in batches, of {BATCH} images as bytes and of 64 in JSON")
    print(f"offered: at {offered:.0f} requests a second, 70 % of what saturates the FastAPI baseline")
    print(model_alone())


def print_table(medians: dict[str, Figures], baseline: str) -> None:
    about = hardware("bentoml", "onnxruntime", "fastapi", "torch", "uvicorn")
    print(f"{about}; a core for each server, {ROUNDS} rounds")
    columns = ("first s", "req/s", "×", "p50 ms", "p99 ms", "images/s", "p50", "p99", "p50 offered", "p99 offered")
    print(" " * 28 + "".join(f"{name:>12}" for name in columns))
    for name, row in medians.items():
        ratio = row.rate / medians[baseline].rate
        values = (row.first, row.rate, ratio, *row[2:])
        digits = (1, 0, 2, 2, 2, 0, 1, 1, 2, 2)
        cells = (f"{value:12.{places}f}" for value, places in zip(values, digits, strict=True))
        print(f"{name:28}" + "".join(cells))


if __name__ == "__main__":
    main()
