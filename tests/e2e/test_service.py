"""The Bento of the champion, served by BentoML as `make serve` does it, on the loopback."""

import concurrent.futures
import contextlib
import csv
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2
import numpy as np
import psutil
import pytest

from pipeline.core.files import read_json
from serving.http import limits
from serving.http.limits import DEFAULT_LIMITS
from serving.smoke_test import free_port, running, serve_command, wait_until_ready
from tests.support.bad_requests import KINDS
from tests.support.fuzz import fuzz
from tests.support.handwriting_answers import TOLERANCE, answered_pictures, scored_pictures
from tests.support.project_clone import ROOT, Clone

PNG = {"content-type": "image/png"}


class Live(NamedTuple):
    process: subprocess.Popen[bytes]
    url: str

    def worker(self) -> psutil.Process:
        """The worker process; its parent supervises it."""
        (worker,) = [
            child for child in psutil.Process(self.process.pid).children() if "worker" in " ".join(child.cmdline())
        ]
        return worker


@pytest.fixture
def live(bento: str, tmp_path: Path) -> Iterator[Live]:
    """A service for one test alone, which may break it."""
    port, log = free_port(), tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(serve_command(bento, port), stdout=output, stderr=output, start_new_session=True)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, log)
        yield Live(process, f"http://127.0.0.1:{port}")
    finally:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
        process.wait()


def test_the_same_registered_model_gives_the_same_bento_and_builds_nothing_twice(mnist: Clone, bento: str) -> None:
    store = Path(mnist.environment["BENTOML_HOME"])
    before = sorted((path, path.stat().st_mtime_ns) for path in (store / "bentos").rglob("*.yaml"))

    printed = mnist.check_output("python", "-m", "pipeline.packaging.bento", "--version", "1")

    assert bento in printed
    assert sorted((path, path.stat().st_mtime_ns) for path in (store / "bentos").rglob("*.yaml")) == before


def test_the_bento_holds_the_service_the_preprocessing_and_the_model_only(mnist: Clone, bento: str) -> None:
    name, version = bento.split(":")
    folder = Path(mnist.environment["BENTOML_HOME"]) / "bentos" / name / version / "src"

    modules = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}

    assert {path for path in modules if not path.startswith("serving/")} == {
        "pipeline/__init__.py", "pipeline/core/__init__.py", "pipeline/core/errors.py", "pipeline/data/__init__.py",
        "pipeline/data/components.py", "pipeline/data/image.py", "pipeline/data/ink.py", "pipeline/data/limits.py",
        "pipeline/data/lines.py", "pipeline/data/marks.py", "pipeline/data/objects.py", "pipeline/data/picture.py",
        "pipeline/data/picture_file.py", "pipeline/monitoring/__init__.py", "pipeline/monitoring/drift.py",
        "pipeline/monitoring/reference.py",
    }  # fmt: skip
    assert not [path for path in folder.rglob("*") if path.suffix in (".png", ".npy", ".csv", ".db")]


def test_a_model_that_is_not_registered_is_reported_in_a_sentence(mnist: Clone) -> None:
    for choice in (["--name", "letters"], ["--version", "99"], ["--alias", "hero"]):
        done = mnist.run("python", "-m", "pipeline.packaging.bento", *choice)
        assert done.returncode == 1
        assert "the registry of" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_drawn_digits_get_over_http_what_score_has_written(mnist: Clone, service_url: str) -> None:
    scored = scored_pictures(mnist)

    answered = answered_pictures(service_url, mnist, list(scored))

    assert len(scored) >= 100
    assert np.abs(np.array(answered) - np.array(list(scored.values()))).max() < TOLERANCE


def test_the_test_images_get_over_http_what_score_has_written(mnist: Clone, service_url: str) -> None:
    images = np.load(mnist.folder / "artifacts/download/test_images.npy")
    with (mnist.folder / "artifacts/score/predictions.csv").open(newline="") as file:
        digits = [int(row["digit"]) for row in csv.DictReader(file)]
    refused = 0

    with httpx2.Client(base_url=service_url, timeout=60) as client:
        for start in range(0, len(images), 2000):
            part = images[start : start + 2000]
            headers = {"content-type": "application/octet-stream"}
            answer = client.post(
                f"/predict_batch?shape={len(part)},28,28", content=part.tobytes(), headers=headers
            ).json()
            expected = zip(answer["digits"], answer["reasons"], digits[start : start + 2000], strict=True)
            assert all(digit == (None if reason else scored) for digit, reason, scored in expected)
            refused += 2000 - answer["reasons"].count(None)
    scores = read_json(mnist.folder / "artifacts/score/metrics.json")["test"]
    assert refused == pytest.approx(scores["refused"] * len(images), abs=1)


def test_the_service_returns_its_models_tag_and_origin(mnist: Clone, service_url: str) -> None:
    about = httpx2.get(f"{service_url}/model").json()
    (version,) = [v for v in mnist.versions("mnist") if "champion" in v.aliases]

    origin = {"sha256": "sha256", "handwriting": "data.md5", "training_data": "training_data.md5", "run": "parent_run"}
    assert about["model"].startswith(f"mnist:v{version.version}-")
    assert {name: about["labels"][name] for name in origin} == {name: version.tags[tag] for name, tag in origin.items()}
    assert (about["labels"]["dirty"], about["labels"]["registry"]) == ("false", "sqlite:///mlflow.db")
    assert f'digits_model{{tag="{about["model"]}"}} 1.0' in httpx2.get(f"{service_url}/metrics").text


def test_the_readmes_calls_work_as_they_stand(service_url: str) -> None:
    readme = (ROOT / "README.md").read_text().replace("http://127.0.0.1:3000", service_url)
    clients = "".join(re.findall(r"```python\n(.*?)```", readme, re.DOTALL))
    (curls,) = [block for block in re.findall(r"```console\n(.*?)```", readme, re.DOTALL) if "curl" in block]

    printed = subprocess.check_output([sys.executable, "-c", clients], cwd=ROOT, text=True)
    script = re.sub(r"^\$ ", "", curls, flags=re.MULTILINE)
    answered = subprocess.check_output(["bash", "-ec", script], cwd=ROOT, text=True)

    assert printed.split() == ["7", "7", "[None,", "None]", "[None,", "None]"]
    assert answered.count('"model":"mnist:v1-') == 4


def test_an_overloaded_service_refuses_some_answers_others_and_answers_its_probes(mnist: Clone, live: Live) -> None:
    picture = (mnist.folder / "data" / next(iter(scored_pictures(mnist)))).read_bytes()
    many = httpx2.Limits(max_connections=None)

    with (
        httpx2.Client(base_url=live.url, headers=PNG, timeout=60, limits=many) as client,
        concurrent.futures.ThreadPoolExecutor(4 * DEFAULT_LIMITS.requests) as pool,
    ):
        asked = [pool.submit(client.post, "/predict", content=picture) for _ in range(20 * DEFAULT_LIMITS.requests)]
        probes = [httpx2.get(f"{live.url}/{probe}", timeout=10).status_code for probe in ("livez", "readyz") * 5]
        found = [future.result() for future in asked]

    assert probes == [200] * 10
    assert {response.status_code for response in found} == {200, 429}
    assert sum(response.status_code == 200 for response in found) > DEFAULT_LIMITS.requests
    assert all(int(response.headers["retry-after"]) > 0 for response in found if response.status_code == 429)


def exchange(url: str, *parts: bytes) -> tuple[int, dict[str, str]]:
    """Status and problem of a raw request, after which the service closes the connection."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        with contextlib.suppress(ConnectionError):  # it need not read to the end
            for part in parts:
                connection.sendall(part)
        head, _, content = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    assert b"x-content-type-options: nosniff" in head
    return int(head.split()[1]), json.loads(content)


@pytest.mark.parametrize(
    "head",
    [
        b"FOO / HTTP/1.1\r\n",
        b"GET /\xff HTTP/1.1\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: 99999999999999999999999999\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Type: image/png\r\n\r\nxyz\r\n",
    ],
)
def test_invalid_http_is_refused_in_the_same_schema(service_url: str, head: bytes) -> None:
    status, problem = exchange(service_url, head + b"Host: x\r\n\r\n")

    assert (status, problem["code"]) == (400, "malformed_request")


@pytest.mark.parametrize("part", [b"X-More: %b\r\n" % (b"a" * 1000), b"a" * 1000])
def test_endless_headers_are_refused(service_url: str, part: bytes) -> None:
    begun = b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: "
    status, problem = exchange(service_url, begun, *[part] * (limits.MAX_HEAD // len(part) + 1))

    assert (status, problem["code"]) == (431, "head_too_large")
    assert httpx2.get(f"{service_url}/livez").status_code == 200


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
def test_a_refusal_arrives_while_the_body_is_still_being_sent(service_url: str, connection: str) -> None:
    headers = PNG | {"connection": connection}
    for path, megabytes, status in (("/predict", 11, 413), ("/guess", 9, 404), ("/predict?seen=perhaps", 9, 400)):
        for _ in range(3):
            client = http.client.HTTPConnection(service_url.removeprefix("http://"), timeout=60)
            client.request("POST", path, bytes(megabytes * 2**20), headers)  # it sends all before it reads
            assert client.getresponse().status == status
            client.close()


def test_bentomls_settings_of_cors_are_honoured(bento: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (setting,) = re.findall(r"BENTOML_CONFIG_OVERRIDES='(.*?)'", (ROOT / "README.md").read_text(), re.DOTALL)
    monkeypatch.setenv("BENTOML_CONFIG_OVERRIDES", setting)
    origin = {"origin": "https://example.org"}

    with running(bento, tmp_path / "log") as url, httpx2.Client(base_url=url, headers=origin) as client:
        preflight = client.options("/predict_batch", headers={"access-control-request-method": "POST"})
        refused = client.post("/predict", content=bytes(11 * 2**20), headers=PNG)

    assert (preflight.status_code, refused.status_code) == (200, 413)
    assert {answer.headers["access-control-allow-origin"] for answer in (preflight, refused)} == {origin["origin"]}


def test_bad_requests_of_every_kind_get_their_status(live: Live) -> None:
    assert fuzz(live.url, examples=12, report=lambda line: None) > 12 * len(KINDS) / 2


def test_a_worker_that_dies_is_replaced(live: Live) -> None:
    old = live.worker()

    old.kill()

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx2.get(f"{live.url}/readyz", timeout=2).status_code == 200:
                break
        except httpx2.TransportError:
            time.sleep(0.2)
    assert live.worker().pid != old.pid
    assert httpx2.get(f"{live.url}/readyz", timeout=5).status_code == 200


def test_on_sigterm_it_answers_what_it_has_accepted_and_exits_though_a_client_hangs(mnist: Clone, live: Live) -> None:
    picture = (mnist.folder / "data" / next(iter(scored_pictures(mnist)))).read_bytes()
    host, port = live.url.removeprefix("http://").split(":")
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(picture)}\r\n"

    with contextlib.ExitStack() as stack:
        hanging, accepted, idle = (
            stack.enter_context(socket.create_connection((host, int(port)), timeout=60)) for _ in range(3)
        )
        idle.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        for connection in (hanging, accepted):
            connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
            assert connection.recv(65536).startswith(b"HTTP/1.1 100")  # the service reads the body
        live.process.send_signal(signal.SIGTERM)
        while idle.recv(65536):  # an idle connection is closed as soon as the service shuts down
            pass
        accepted.sendall(picture)
        answer = b"".join(iter(lambda: accepted.recv(65536), b"")).decode()
        live.process.wait(timeout=60)

    assert answer.startswith("HTTP/1.1 200")
    assert json.loads(answer.partition("\r\n\r\n")[2])["reason"] != "blank_page"


def test_make_serve_prints_the_urls() -> None:
    printed = subprocess.run(["make", "-n", "serve"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    for address in ("http://127.0.0.1:3000/ ", "http://127.0.0.1:3000/docs", "http://127.0.0.1:3000/metrics"):
        assert address in printed


def test_a_bento_is_served_where_the_store_is(bento: str, tmp_path: Path) -> None:
    with running(bento, tmp_path / "log") as url:
        assert httpx2.get(f"{url}/readyz").status_code == 200
