"""Drift on real data: clothes that are sent to the service of digits raise the alert, digits do not; by `make drift`
and by /metrics alike."""

import io
import os
import re
import time
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from pipeline.data import mnist_archives
from pipeline.monitoring.__main__ import DRIFTED
from serving.smoke_test import free_port, running_command, serve_command
from tests.support.project_clone import Clone

PNG, RAW = {"content-type": "image/png"}, {"content-type": "application/octet-stream"}
IMAGES = 400  # as many as pictures; the window holds 1,000


def picture(image: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def drifted_features(client: httpx2.Client) -> set[str]:
    text = client.get("/metrics").text
    assert f"digits_window_images {IMAGES}.0" in text
    return set(re.findall(r'^digits_drift{feature="(\w+)"} 1\.0$', text, re.MULTILINE))


@pytest.mark.parametrize(
    ("dataset", "is_drift"), [("mnist", False), ("fashion_mnist", True)], ids=["digits", "clothes"]
)
def test_clothes_raise_the_alert_and_digits_do_not(
    dataset: str, is_drift: bool, bento: str, mnist: Clone, tmp_path: Path
) -> None:
    _, _, test = mnist_archives.load(dataset, tmp_path / "archives", os.environ.get("DATASET_MIRROR"))
    images = test.images[np.random.default_rng(5).permutation(len(test))[:IMAGES]]
    port, log = free_port(), tmp_path / "predictions.jsonl"

    settings = os.environ | {"PREDICTION_LOG": str(log)}
    with (
        running_command(serve_command(bento, port), port, tmp_path / "output", settings) as url,
        httpx2.Client(base_url=url) as client,
    ):
        for image in images[: IMAGES // 2]:
            client.post("/predict", content=picture(image), headers=PNG).raise_for_status()
        for image in images[IMAGES // 2 :]:
            client.post("/predict_batch?shape=1,28,28", content=image.tobytes(), headers=RAW).raise_for_status()
        deadline = time.monotonic() + 30
        while len(log.read_text().splitlines()) < IMAGES and time.monotonic() < deadline:
            time.sleep(0.1)
        live = drifted_features(client)
    done = mnist.run("python", "-m", "pipeline.monitoring", str(log))

    assert bool(live) == is_drift
    assert done.returncode == (DRIFTED if is_drift else 0), done.stdout + done.stderr
    assert all(f"\n{feature} " in done.stdout for feature in live)


def test_a_log_that_cannot_be_written_keeps_the_service_from_starting(bento: str, tmp_path: Path) -> None:
    port = free_port()
    settings = os.environ | {"PREDICTION_LOG": str(tmp_path / "missing" / "log.jsonl")}

    with (
        pytest.raises(RuntimeError, match=r"error: prediction log: .*missing"),
        running_command(serve_command(bento, port), port, tmp_path / "output", settings),
    ):
        pass
