"""Several workers behind one port, whose metrics are added up; and one, which answers while it decodes a picture."""

import io
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image

from serving.model import Model
from serving.smoke_test import free_port, running_command
from serving.workers import METRICS_FOLDER, WORKERS
from tests.support.bentoml_store import serve_command, store
from tests.support.sample_requests import BLANK, FIVE, PNG, RAW

TWO = 2
ASKED = 24


@pytest.fixture(scope="module")
def url(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service with two workers."""
    folder = tmp_path_factory.mktemp("workers")
    environment, port = store(model, folder) | {WORKERS: str(TWO)}, free_port()
    with running_command(serve_command(folder, port), port, folder / "log", environment) as url:
        yield url


def metrics(url: str) -> dict[str, float]:
    """The values in /metrics, from whichever worker answers."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as response:
        lines = response.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_the_metrics_of_all_workers_are_added_up_whichever_of_them_answers(url: str) -> None:
    before = metrics(url)
    for content in (FIVE, BLANK):
        for _ in range(ASKED):  # each on a connection of its own: some worker accepts it
            assert httpx2.post(f"{url}/predict", content=content, headers=PNG).status_code == 200

    for after in (metrics(url) for _ in range(8)):
        changed = {name: after[name] - before.get(name, 0) for name in after}
        assert changed['digits_requests_total{path="/predict",status="200"}'] == 2 * ASKED
        assert changed['digits_none_total{reason="blank_page"}'] == ASKED
        assert changed['digits_request_seconds_count{path="/predict"}'] == 2 * ASKED
        assert [value for name, value in after.items() if name.startswith("digits_model{")] == [1]


@pytest.mark.parametrize("value", ["0", "two", "1000", "-1"])
def test_a_number_of_workers_that_is_none_is_refused(model: Model, tmp_path: Path, value: str) -> None:
    environment = store(model, tmp_path) | {WORKERS: value}
    done = subprocess.run(
        serve_command(tmp_path, free_port()), env=environment, capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode != 0
    assert f"error: got {WORKERS}={value}, expected a whole number from 1 to 64" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_of_metrics_that_was_inherited_is_not_used_by_one_worker() -> None:
    script = (
        "import os; from serving import workers\n"
        f"os.environ['{METRICS_FOLDER}'] = 'elsewhere'; workers.share_metrics(1); workers.use_shared_metrics()\n"
        f"print('{METRICS_FOLDER}' in os.environ, workers.PROMETHEUS in os.environ)"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).split() == ["False", "False"]


@pytest.fixture(scope="module")
def photo() -> bytes:
    """A photo of 12 megapixels of a stroke on grained paper."""
    pixels = np.clip(np.random.default_rng(1).normal(200, 20, (3000, 4000)), 0, 255).astype(np.uint8)
    pixels[800:2200, 1900:2100] = 20
    file = io.BytesIO()
    Image.fromarray(pixels).convert("RGB").save(file, "JPEG", quality=90)
    return file.getvalue()


def test_a_large_picture_that_is_being_decoded_delays_no_small_request_of_the_same_worker(
    model: Model, photo: bytes, tmp_path: Path
) -> None:
    """If the event loop decoded it, one small request would wait for all of the time that the picture takes."""
    port = free_port()
    command = [sys.executable, "-m", "tests.support.inprocess_service", str(model.path), str(port)]
    with (
        running_command(command, port, tmp_path / "log") as url,
        ThreadPoolExecutor(1) as pool,
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        for _ in range(3):
            started = time.perf_counter()
            picture: Future[httpx2.Response] = pool.submit(
                httpx2.post, f"{url}/predict", content=photo, headers={"content-type": "image/jpeg"}, timeout=60
            )
            waits = []
            while not picture.done():
                sent = time.perf_counter()
                answer = client.post("/predict_batch?shape=1,28,28", content=bytes(784), headers=RAW)
                assert answer.status_code == 200
                waits.append(time.perf_counter() - sent)
            whole = time.perf_counter() - started
            assert picture.result().status_code == 200
            assert len(waits) >= 10
            assert max(waits) < whole / 2
