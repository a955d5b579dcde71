"""The servers that `make bench-serving` compares: all serve the same weights, and `make soak` takes ours of them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import psutil

from benchmarks import load
from serving.smoke_test import serve_command, wait_until_ready

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


def images(count: int) -> npt.NDArray[np.uint8]:
    return np.load("artifacts/download/test_images.npy")[:count]  # type: ignore[no-any-return]


def json_request(path: str, count: int, outer: str | None = None) -> bytes:
    """The first test images as `images` in an object, which is `outer` in another one if that is given."""
    content = {"images": images(count).tolist()}
    return load.request(path, JSON, json.dumps({outer: content} if outer else content).encode())


def raw_request(count: int) -> bytes:
    return load.request(f"/predict_batch?shape={count},28,28", RAW, images(count).tobytes())


def servers(port: int) -> dict[str, Server]:
    """By name, in the order of the table."""
    address = ["--host", "127.0.0.1", "--port", str(port)]
    python = [sys.executable, "-m"]
    uvicorn = [*python, "uvicorn", "--log-level", "warning", *address]
    ours = serve_command(BENTO.read_text(encoding="utf-8"), port)
    alone = [*python, "tests.support.inprocess_service", str(MODEL), str(port)]
    bare = [*uvicorn, "benchmarks.fastapi_onnx_baseline:app"]
    raw = (raw_request(1), raw_request(BATCH), BATCH)
    listed = (json_request("/predict_batch", 1), json_request("/predict_batch", 64), 64)
    plain = (json_request("/predict", 1), json_request("/predict", 64), 64)
    nested = (json_request("/invocations", 1, "inputs"), json_request("/invocations", 64, "inputs"), 64)
    mlflow, litserve = ([*python, f"benchmarks.{name}_baseline", str(port)] for name in ("mlflow", "litserve"))
    return {
        "ours, binary": Server(ours, "/readyz", *raw),
        "FastAPI and onnxruntime, binary": Server(bare, "/openapi.json", *raw),
        "ours, JSON": Server(ours, "/readyz", *listed),
        "FastAPI and onnxruntime, JSON": Server(bare, "/openapi.json", *listed),
        "mlflow models serve, JSON": Server(mlflow, "/ping", *nested),
        "LitServe, JSON": Server(litserve, "/health", *plain),
        "FastAPI, torch eager, JSON": Server([*uvicorn, "benchmarks.fastapi_baseline:app"], "/openapi.json", *plain),
        "BentoML's example, JSON": Server(
            ["bentoml", "serve", "benchmarks.bentoml_baseline:Baseline", *address], "/readyz", *plain
        ),
        "ours without BentoML, binary": Server(alone, "/readyz", *raw),
        "BentoML and no model": Server(["bentoml", "serve", "benchmarks.empty_bento:Empty", *address], "/", *raw),
        "uvicorn and no model": Server([*uvicorn, "benchmarks.empty_baseline:app"], "/", *raw),
    }


class Running(NamedTuple):
    first: float
    """Seconds until its first response."""
    process: psutil.Process

    def tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def processor_seconds(self) -> float:
        """Of its processes, so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self.tree())


@contextmanager
def started(server: Server, port: int, log: Path) -> Iterator[Running]:
    """Run the server on core 0."""
    begun = time.perf_counter()
    with log.open("w", encoding="utf-8") as output:
        arguments = ["taskset", "-c", "0", *server.command]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(arguments, stdout=output, stderr=output, start_new_session=True, env=environment)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, log, server.ready)
        load.saturate(port, server.one, connections=1, seconds=0.1)
        yield Running(time.perf_counter() - begun, psutil.Process(process.pid))
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=20)
