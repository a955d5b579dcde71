"""Two processes that share a training under torchrun, and what is left if one of them is killed."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from safetensors.numpy import load_file

from tests.support.project_clone import Clone, moved

TRAIN = ("-m", "pipeline.train")
SHARED = ("torchrun", "--standalone", "--nproc-per-node", "2")
NO_MLFLOW = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
SLOW = {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.0}


@pytest.fixture
def place(computed: Clone, tmp_path: Path) -> Clone:
    return untrained(computed, tmp_path / "clone")


def untrained(computed: Clone, folder: Path) -> Clone:
    """A clone in which nothing has been trained yet, with a network without batch normalization."""
    made = moved(computed, folder)
    shutil.rmtree(made.folder / "artifacts/train")
    made.set("train", model="mlp", epochs=3, optimizer=SLOW, precision="float32")
    made.set("train", mlp={"hidden": [32], "activation": "relu", "dropout": 0.0})
    return made


def trained(place: Clone) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return load_file(place.folder / "artifacts/train/model/weights.safetensors")


def results(place: Clone) -> dict[str, bytes]:
    folder = place.folder / "artifacts/train"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def checkpoints(place: Clone) -> list[Path]:
    return list((place.folder / ".cache/checkpoints").glob("train-*"))


def test_two_processes_train_the_same_network_as_one_up_to_rounding(place: Clone) -> None:
    place.must("python", *TRAIN, **NO_MLFLOW)
    alone, steps = trained(place), pd.read_csv(place.folder / "artifacts/train/steps.csv")

    printed = place.must(*SHARED, *TRAIN, **NO_MLFLOW)

    assert "2 processes" in printed
    assert len(re.findall(r"^epoch 3:", printed, re.MULTILINE)) == 1
    assert checkpoints(place) == []
    assert all(np.abs(alone[name] - tensor).max() < 1e-4 for name, tensor in trained(place).items())
    again = pd.read_csv(place.folder / "artifacts/train/steps.csv")
    assert again["loss"].to_numpy() == pytest.approx(steps["loss"].to_numpy(), rel=1e-3)


def test_a_batch_size_that_the_processes_cannot_share_is_an_error(place: Clone) -> None:
    place.set("train", batch=51)
    done = place.run(*SHARED, *TRAIN, **NO_MLFLOW)

    assert done.returncode == 1
    assert "train.batch: got 51, expected at most" in done.stderr
    assert "a multiple of 2, the number of processes" in done.stderr


def test_a_killed_process_ends_the_job_and_the_next_one_resumes(place: Clone) -> None:
    place.set("train", epochs=100, checkpoint_steps=5)
    with subprocess.Popen(
        [*SHARED, *TRAIN],
        cwd=place.folder,
        env=place.environment | NO_MLFLOW,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as job:
        deadline = time.monotonic() + 300
        while not checkpoints(place):
            assert job.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        (victim,) = [child for child in psutil.Process(job.pid).children() if child.environ().get("RANK") == "1"]
        os.kill(victim.pid, signal.SIGKILL)
        printed, errors = job.communicate(timeout=300)

    assert job.returncode != 0
    assert "error: rank 0 of 2: " in errors, errors
    assert "lost another process" in errors, errors
    assert "epoch 100" not in printed
    assert results(place) == {}
    assert len(checkpoints(place)) == 1

    place.must(*SHARED, *TRAIN, **NO_MLFLOW)
    assert checkpoints(place) == []
    resumed = results(place)
    place.must(*SHARED, *TRAIN, **NO_MLFLOW)
    assert results(place) == resumed
