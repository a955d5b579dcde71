"""One request to a Bento started for it: `python -m serving.smoke_test BENTO PICTURE`. Also how a test starts one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READY_SECONDS = 180  # for the service to get ready: many times the usual 3, for machines with other work
GRACE = 8  # seconds that accepted requests have to be answered, once the service is told to end


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(bento: str, port: int) -> list[str]:
    grace = ["--timeout-graceful-shutdown", str(GRACE)]
    return ["bentoml", "serve", bento, "--host", "127.0.0.1", "--port", str(port), *grace]


@contextmanager
def running(bento: str, log: Path) -> Iterator[str]:
    """Serve `bento` on a free port of the loopback; the URL, once it is ready. Raises RuntimeError when it never is."""
    port = free_port()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command(bento, port), stdout=output, stderr=output, start_new_session=True)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, log)
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
            raise RuntimeError(f"the service ended with status {process.returncode}:\n{text_of(log)}")
        try:
            with urllib.request.urlopen(f"{url}{path}", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise RuntimeError(f"the service was not ready after {READY_SECONDS} s:\n{text_of(log)}")


def text_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("error: expected a Bento and a picture to ask it about: is data/ empty?")
    bento, picture = sys.argv[1], Path(sys.argv[2])
    log = Path(".cache/service.log")
    with running(bento, log) as url:
        request = urllib.request.Request(
            f"{url}/predict", picture.read_bytes(), {"Content-Type": "application/octet-stream"}
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            answer = json.load(response)
    print(f"POST /predict {picture}: digit {answer['digit']}, confidence {answer['confidence']:.3f}, {answer['model']}")


if __name__ == "__main__":
    main()
