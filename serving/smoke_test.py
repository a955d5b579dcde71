"""A smoke test of a Bento: `python -m serving.smoke_test BENTO PICTURE` serves it and sends a picture of a digit, which
must get one, and an empty picture, which must get none. `/readyz` has checked the golden pictures before.

Tests, benchmarks and the screenshots start services in the same way.
"""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

READY_SECONDS = 180  # for the service to become ready: usually 3, many more on a busy machine
GRACE = 8  # seconds for accepted requests to be answered after SIGTERM


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve_command(bento: str, port: int) -> list[str]:
    grace = ["--timeout-graceful-shutdown", str(GRACE)]
    return ["bentoml", "serve", bento, "--host", "127.0.0.1", "--port", str(port), *grace]


@contextmanager
def running(bento: str, log: Path) -> Iterator[str]:
    """Serve `bento` on a free loopback port; yields the URL. Raises RuntimeError if it does not become ready."""
    port = free_port()
    with running_command(serve_command(bento, port), port, log) as url:
        yield url


@contextmanager
def running_command(
    command: Sequence[str],
    port: int,
    log: Path,
    environment: Mapping[str, str] | None = None,
    path: str = "/readyz",
) -> Iterator[str]:
    """Like `running`, for any command that serves on `port` and answers `path` when it is ready."""
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, env=environment)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, log, path)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=2 * GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path, path: str = "/readyz") -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the service exited with status {process.returncode}:\n{read_log(log)}")
        try:
            with urllib.request.urlopen(f"{url}{path}", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise RuntimeError(f"the service was not ready after {READY_SECONDS} s:\n{read_log(log)}")


def read_log(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def predict(url: str, picture: bytes) -> dict[str, Any]:
    """The answer of `/predict`. Raises URLError."""
    request = urllib.request.Request(f"{url}/predict", picture, {"Content-Type": "application/octet-stream"})
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def empty_picture() -> bytes:
    """A PNG of white paper."""
    buffer = io.BytesIO()
    Image.new("L", (64, 64), 255).save(buffer, "PNG")
    return buffer.getvalue()


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("error: expected a Bento and a picture to send to it: is data/ empty?")
    bento, picture = sys.argv[1], Path(sys.argv[2])
    log = Path(".cache/service.log")
    with running(bento, log) as url:
        answer, blank = predict(url, picture.read_bytes()), predict(url, empty_picture())
    if blank["reason"] != "blank_page":
        sys.exit(f"error: POST /predict of an empty picture: got {blank}, expected the reason blank_page")
    if answer["reason"]:
        sys.exit(f"error: POST /predict {picture}: got {answer}, expected a digit")
    print(f"POST /predict {picture}: digit {answer['digit']}, confidence {answer['confidence']:.3f}, {answer['model']}")


if __name__ == "__main__":
    main()
