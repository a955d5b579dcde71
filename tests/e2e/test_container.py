"""The image of the service, run with the restrictions that `make container` prints.

Needs docker, podman or buildah. CONTAINER_OPTIONS are further options for `bentoml containerize`, CONTAINER_RUN is the
command that runs an image in place of `<engine> run`.
"""

import json
import os
import re
import shlex
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import httpx2
import numpy as np
import pytest

from pipeline.data.limits import MAX_PIXELS, MAX_WEBP_PIXELS
from pipeline.packaging.container import HEALTH_COMMAND, RUN_OPTIONS, find_engine
from serving.http.limits import MAX_JSON
from serving.smoke_test import GRACE, free_port
from tests.support.handwriting_answers import TOLERANCE, answered_pictures, scored_pictures
from tests.support.pictures import encoded
from tests.support.project_clone import Clone
from tests.support.waiting import wait_until

# Scripts for the Python in the container.
INSPECT = """
import importlib.util, json, os, pathlib, psutil, shutil
status = dict(line.split(":\\t", 1) for line in pathlib.Path("/proc/1/status").read_text().splitlines())
print(json.dumps({
    "user": os.getuid(),
    "present": [m for m in ("torch", "mlflow", "dvc", "matplotlib", "pandas") if importlib.util.find_spec(m)],
    "tools": [t for t in ("gcc", "cc", "git", "uv", "make") if shutil.which(t)],
    "capabilities": int(status["CapEff"], 16),
    "new_privileges": status["NoNewPrivs"] == "0",
    "connections": [c.raddr.ip for c in psutil.net_connections() if c.pid and c.raddr and c.raddr.ip != "127.0.0.1"],
    "writable": [d for d in ("/", "/home/bentoml", "/home/bentoml/bento", "/app") if os.access(d, os.W_OK)],
}))
"""

WORKERS = """
import psutil
for process in psutil.process_iter(["cmdline"]):
    if "_bentoml_impl.worker.service" in (process.info["cmdline"] or []):
        print(process.pid)
"""
KILL = f"{WORKERS}        process.kill()\n"


class Container(NamedTuple):
    url: str
    engine: str
    name: str

    def run(self, *command: str) -> str:
        """What a command in the container prints."""
        command = (self.engine, "exec", self.name, *command)
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def inspect(self, template: str) -> str:
        """What the engine records of the container."""
        return subprocess.check_output([self.engine, "inspect", self.name, "--format", template], text=True).strip()


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@contextmanager
def started(image: str, name: str) -> Iterator[Container]:
    """A container of the service, ready, until the block ends."""
    runner = "podman" if find_engine() == "buildah" else find_engine()
    port = free_port()
    command = shlex.split(os.environ.get("CONTAINER_RUN", f"{runner} run -p 127.0.0.1:{port}:{port}"))
    command += ["--detach", "--name", name, "-e", f"BENTOML_PORT={port}", *shlex.split(RUN_OPTIONS)]
    subprocess.run([runner, "rm", "--force", name], capture_output=True)
    subprocess.run([*command, image, "--timeout-graceful-shutdown", str(GRACE)], check=True, capture_output=True)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: ready(url))
        yield Container(url, runner, name)
    finally:
        subprocess.run([runner, "rm", "--force", name], capture_output=True)


@pytest.fixture(scope="module")
def image(mnist: Clone, bento: str) -> str:
    settings = {name: os.environ[name] for name in ("CONTAINER_OPTIONS",) if name in os.environ}
    printed = mnist.check_output("python", "-m", "pipeline.packaging.container", **settings)
    expected = r"^image \S+, \d+ MB, built by \w+ on \S+@sha256:[0-9a-f]{64}; to run it:\n"
    assert re.search(expected, printed, re.MULTILINE), printed
    return (mnist.folder / ".cache/image").read_text()


@pytest.fixture(scope="module")
def container(image: str) -> Iterator[Container]:
    with started(image, "handwritten-digits-test") as container:
        yield container


def test_the_container_answers_the_probabilities_that_score_wrote(mnist: Clone, container: Container) -> None:
    scored = scored_pictures(mnist)

    answered = answered_pictures(container.url, mnist, list(scored))

    assert np.abs(np.array(answered) - np.array(list(scored.values()))).max() < TOLERANCE


def test_the_image_holds_and_permits_no_more_than_the_service_needs(container: Container) -> None:
    found = json.loads(container.run("python", "-c", INSPECT))

    assert found == {
        "user": 1034,
        "present": [],
        "tools": [],
        "capabilities": 0,
        "new_privileges": False,
        "connections": [],
        "writable": [],
    }
    limits = container.inspect("{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}}")
    assert limits == f"{512 * 2**20} {512 * 2**20} 128"
    assert container.run("sh", "-c", "df --output=size --block-size=1M /tmp | tail -1").strip() == "64"


def test_a_large_photograph_fits_into_its_memory(container: Container) -> None:
    for pixels, kind in ((MAX_PIXELS, "PNG"), (MAX_WEBP_PIXELS, "WEBP")):
        side = int(pixels**0.5)
        paper = np.full((side, side, 4), 255, np.uint8)
        paper[side // 4 : side * 3 // 4, side * 10 // 21 : side * 11 // 21, :3] = 0
        answer = httpx2.post(f"{container.url}/predict", files={"picture": encoded(paper, kind)}, timeout=60)
        assert answer.status_code == 200
        assert answer.json()["digit"] == 1
    assert ready(container.url)


def test_the_worst_lists_fit_into_its_memory(container: Container) -> None:
    room = MAX_JSON - 20
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
    killed = container.run("python", "-c", KILL).split()

    assert killed
    wait_until(lambda: set(container.run("python", "-c", WORKERS).split()) - {*killed})
    wait_until(lambda: ready(container.url))


def test_a_stopped_container_exits_by_itself(image: str) -> None:
    """Long before the engine kills it, which would give status 137."""
    with started(image, "handwritten-digits-stop-test") as container:
        subprocess.run([container.engine, "stop", "--time", "60", container.name], check=True, capture_output=True)

        assert container.inspect("{{.State.ExitCode}}") == "0"
