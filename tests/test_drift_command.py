"""`make drift`: a log compared with the reference, and its exit status."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.core.files import write_json
from pipeline.data.dataset import DIGITS
from pipeline.monitoring.__main__ import DRIFTED
from pipeline.monitoring.prediction_lines import read_log
from pipeline.monitoring.reference import FEATURES, NONE, NUMBERS
from tests.support.made_answers import features, reference
from tests.support.project_clone import ROOT

NAMES = (*DIGITS, NONE)


def line(images: dict[str, Any], start: int, end: int, **other: Any) -> str:
    """What the service logs for a request with these images."""
    values = {name: images[name][start:end].tolist() for name in NUMBERS}
    values["class"] = [NAMES[label] for label in images["class"][start:end].tolist()]
    request = {"status": 200, "model": "mnist:v1-a", "reference": reference().digest, "path": "/predict"}
    return json.dumps(request | values | other) + "\n"


def write_log(path: Path, images: dict[str, Any], **other: Any) -> None:
    count = len(images["class"])
    path.write_text("".join(line(images, start, start + 10, **other) for start in range(0, count, 10)))


def drift(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    write_json(folder / "reference.json", asdict(reference()))
    command = [sys.executable, "-m", "pipeline.monitoring", str(folder / "log.jsonl"), *options]
    command += ["--reference", str(folder / "reference.json")]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_a_log_like_the_test_set_is_no_drift(tmp_path: Path) -> None:
    write_log(tmp_path / "log.jsonl", features(1000, seed=9))

    done = drift(tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert "1,000 images in 100 requests to mnist:v1-a" in done.stdout
    assert "\nno drift (PSI of 0.2 or more, and p below 0.01 / 6)" in done.stdout


def test_drift_has_an_exit_status_of_its_own_and_is_explained(tmp_path: Path) -> None:
    write_log(tmp_path / "log.jsonl", features(1000, seed=9, none=0.5))

    done = drift(tmp_path)

    assert (done.returncode, done.stderr) == (DRIFTED, "")
    assert "\ndrift of class (" in done.stdout
    assert "none: 2.0% to 5" in done.stdout


def test_too_few_images_are_an_error(tmp_path: Path) -> None:
    write_log(tmp_path / "log.jsonl", features(1000, seed=9))

    done = drift(tmp_path, "--last", "50")

    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path}/log.jsonl: got 50 images, expected at least 200 to compare\n"


def test_the_log_is_read_with_what_was_rotated_the_oldest_first(tmp_path: Path) -> None:
    images = features(60, seed=4)
    for number, name in enumerate(["log.jsonl.10", "log.jsonl.2", "log.jsonl"]):
        (tmp_path / name).write_text(line(images, 20 * number, 20 * number + 20))
    (tmp_path / "log.jsonl.lock").write_text("")

    logged = read_log(tmp_path / "log.jsonl", reference(), None)
    last = read_log(tmp_path / "log.jsonl", reference(), 25)

    assert all(np.array_equal(logged.features[name], images[name]) for name in FEATURES)
    assert np.array_equal(last.features["ink"], images["ink"][-25:])


def test_other_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    images = features(30, seed=4)
    good, cut = line(images, 0, 10), line(images, 10, 20)[:100]
    refused = json.dumps({"status": 415, "model": "mnist:v1-a", "reference": reference().digest}) + "\n"
    others = ["hello\n", "[]\n", "{}\n", "[" * 10_000 + "\n", "\0\n", line(images, 0, 5, ink=[1.0]), refused, cut]
    (tmp_path / "log.jsonl").write_text(good + "".join(others))

    logged = read_log(tmp_path / "log.jsonl", reference(), None)

    assert (logged.images, logged.requests, logged.skipped) == (10, 2, 7)


def test_answers_of_a_model_with_another_reference_are_not_compared(tmp_path: Path) -> None:
    write_log(tmp_path / "log.jsonl", features(300, seed=4), model="mnist:v2-b", reference="01234567")

    with pytest.raises(DataError, match=r"got lines of mnist:v2-b, expected .* REFERENCE=model.onnx names another"):
        read_log(tmp_path / "log.jsonl", reference(), None)


def test_without_a_log_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"log.jsonl: expected a prediction log, got No such file or directory"):
        read_log(tmp_path / "log.jsonl", reference(), None)
