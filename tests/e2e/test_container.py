"""The image of the service, run as tightly as it is meant to be run.

Needs docker, podman or buildah. CONTAINER_OPTIONS are more options for `bentoml containerize`, CONTAINER_RUN is what
runs an image in place of `<engine> run`.
"""

import io
import json
import os
import re
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

import httpx2
import numpy as np
import pytest
from PIL import Image

from pipeline.packaging.container import HEALTH_COMMAND, RUN_OPTIONS, find_engine
from serving.http import parsing
from serving.smoke_test import free_port
from tests.e2e.test_service import TOLERANCE, answers_of, drawn
from tests.support.project_clone import Clone

NAME = "handwritten-digits-test"
LOOK = """
import importlib.util, json, os, pathlib, psutil, shutil
status = dict(line.split(":\\t", 1) for line in pathlib.Path("/proc/1/status").read_text().splitlines())
print(json.dumps({
    "user": os.getuid(),
    "present": [m for m in ("torch", "mlflow", "dvc", "matplotlib", "pandas") if importlib.util.find_spec(m)],
    "tools": [t for t in ("gcc", "cc", "git", "uv", "make") if shutil.which(t)],
    "capabilities": int(status["CapEff"], 16),
    "new_privileges": status["NoNewPrivs"] == "0",
    "talks_to": [c.raddr.ip for c in psutil.net_connections() if c.pid and c.raddr and c.raddr.ip != "127.0.0.1"],
    "writable": [d for d in ("/", "/home/bentoml", "/home/bentoml/bento", "/app") if os.access(d, os.W_OK)],
}))
"""

KILL = """
import psutil
for process in psutil.process_iter(["cmdline"]):
    if "_bentoml_impl.worker.service" in (process.info["cmdline"] or []):
        process.kill()
"""


class Container(NamedTuple):
    url: str
    engine: str

    def run(self, *command: str) -> str:
        """What a command in the container prints."""
        return subprocess.run([self.engine, "exec", NAME, *command], capture_output=True, text=True, check=True).stdout


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@pytest.fixture(scope="module")
def container(mnist: Clone, bento: str) -> Iterator[Container]:
    """The service in a container of its own, ready."""
    settings = {name: os.environ[name] for name in ("CONTAINER_OPTIONS",) if name in os.environ}
    printed = mnist.must("python", "-m", "pipeline.packaging.container", **settings)
    assert re.search(r"^image \S+, \d+ MB, built by \w+; to run it:\n", printed, re.MULTILINE), printed
    image = (mnist.folder / ".cache/image").read_text()
    runner = "podman" if find_engine() == "buildah" else find_engine()
    port = free_port()
    start = shlex.split(os.environ.get("CONTAINER_RUN", f"{runner} run -p 127.0.0.1:{port}:{port}"))
    options = ["--detach", "--name", NAME, "-e", f"BENTOML_PORT={port}", *shlex.split(RUN_OPTIONS)]
    subprocess.run([runner, "rm", "--force", NAME], capture_output=True)
    subprocess.run([*start, *options, image, "--timeout-graceful-shutdown", "8"], check=True, capture_output=True)
    try:
        deadline = time.monotonic() + 90
        while not ready(f"http://127.0.0.1:{port}") and time.monotonic() < deadline:
            time.sleep(0.2)
        yield Container(f"http://127.0.0.1:{port}", runner)
    finally:
        subprocess.run([runner, "rm", "--force", NAME], capture_output=True)


def test_the_drawn_digits_get_in_the_container_what_score_has_written(mnist: Clone, container: Container) -> None:
    scored = drawn(mnist)

    answered = answers_of(container.url, mnist, list(scored))

    assert np.abs(np.array(answered) - np.array(list(scored.values()))).max() < TOLERANCE


def test_nothing_is_in_the_image_that_it_does_not_need(container: Container) -> None:
    seen = json.loads(container.run("python", "-c", LOOK))

    assert seen == {
        "user": 1034,
        "present": [],
        "tools": [],
        "capabilities": 0,
        "new_privileges": False,
        "talks_to": [],
        "writable": [],
    }
    inspect = [container.engine, "inspect", NAME, "--format", "{{.HostConfig.Memory}}"]
    assert int(subprocess.check_output(inspect)) == 512 * 2**20


def test_a_large_photograph_fits_into_its_memory(container: Container) -> None:
    paper = np.full((3500, 3570, 4), 255, np.uint8)
    paper[1000:2500, 1700:1900, :3] = 0
    for kind in ("PNG", "WEBP"):
        buffer = io.BytesIO()
        Image.fromarray(paper).save(buffer, kind)
        answer = httpx2.post(f"{container.url}/predict", files={"picture": buffer.getvalue()}, timeout=60)
        assert answer.status_code == 200
        assert answer.json()["digit"] == 1
    assert ready(container.url)


def test_the_worst_lists_fit_into_its_memory(container: Container) -> None:
    room = parsing.MAX_JSON - 20
    for part in (b"[],", b"0,", b'{"":0},', b'"",'):
        content = b'{"images":[' + (part * (room // len(part))).rstrip(b",") + b"]}"
        headers = {"content-type": "application/json"}
        assert httpx2.post(f"{container.url}/predict_batch", content=content, headers=headers).status_code == 422
    assert ready(container.url)


def test_the_health_check_that_the_command_names_succeeds_while_it_is_ready(container: Container) -> None:
    port = container.url.rpartition(":")[2]

    container.run("sh", "-c", HEALTH_COMMAND.replace("3000", port))
    with pytest.raises(subprocess.CalledProcessError):
        container.run("sh", "-c", HEALTH_COMMAND.replace("3000", "1"))


def test_a_worker_that_dies_in_the_container_is_replaced(container: Container) -> None:
    container.run("python", "-c", KILL)

    deadline = time.monotonic() + 60
    time.sleep(1)
    while not ready(container.url) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert ready(container.url)


def test_it_ends_within_ten_seconds_when_told_to(container: Container) -> None:
    started = time.monotonic()
    subprocess.run([container.engine, "stop", "--time", "20", NAME], check=True, capture_output=True)

    status = subprocess.check_output([container.engine, "inspect", NAME, "--format", "{{.State.ExitCode}}"], text=True)
    assert time.monotonic() - started < 10
    assert status.strip() == "0"
