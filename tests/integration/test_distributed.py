"""Two processes that share a training under torchrun, and what is left if one of them is killed."""

import os
import re
import signal
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from safetensors.numpy import load_file

from pipeline.core.files import read_json
from tests.support.project_clone import NO_MLFLOW, Clone
from tests.support.torchrun import TORCHRUN, TRAIN, untrained
from tests.support.waiting import wait_until


@pytest.fixture
def clone(computed: Clone, tmp_path: Path) -> Clone:
    return untrained(computed, tmp_path / "clone")


def weights(clone: Clone) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return load_file(clone.folder / "artifacts/train/model/weights.safetensors")


def checkpoints(clone: Clone) -> list[Path]:
    return list((clone.folder / ".cache/checkpoints").glob("train-*"))


def test_two_processes_train_the_same_network_as_one_up_to_rounding(clone: Clone) -> None:
    clone.check_output("python", *TRAIN, **NO_MLFLOW)
    of_one, steps = weights(clone), pd.read_csv(clone.folder / "artifacts/train/steps.csv")

    printed = clone.check_output(*TORCHRUN, *TRAIN, **NO_MLFLOW)

    assert "2 processes" in printed
    assert len(re.findall(r"^epoch 3:", printed, re.MULTILINE)) == 1
    assert checkpoints(clone) == []
    assert all(np.abs(of_one[name] - tensor).max() < 1e-4 for name, tensor in weights(clone).items())
    executions = [read_json(path) for path in (clone.folder / ".cache/executions").glob("train-*.json")]
    assert sorted(execution["processes"] for execution in executions) == [1, 2]  # the 1 is of the fixture's training
    again = pd.read_csv(clone.folder / "artifacts/train/steps.csv")
    assert again["loss"].to_numpy() == pytest.approx(steps["loss"].to_numpy(), rel=1e-3)


def test_a_batch_size_that_the_processes_cannot_share_is_an_error(clone: Clone) -> None:
    clone.set("train", batch=52)  # and 19 made images

    done = clone.run(*TORCHRUN, *TRAIN, **NO_MLFLOW)

    assert done.returncode == 1
    assert "train.batch: got 52, expected at most" in done.stderr
    assert "a multiple of 2, the number of processes" in done.stderr


def test_a_killed_process_ends_the_job_and_the_next_one_resumes(clone: Clone) -> None:
    clone.set("train", epochs=100, checkpoint_steps=5)
    with subprocess.Popen(
        [*TORCHRUN, *TRAIN],
        cwd=clone.folder,
        env=clone.environment | NO_MLFLOW,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as job:
        wait_until(lambda: checkpoints(clone), job)
        (victim,) = [child for child in psutil.Process(job.pid).children() if child.environ().get("RANK") == "1"]
        os.kill(victim.pid, signal.SIGKILL)
        printed, errors = job.communicate(timeout=300)

    assert job.returncode != 0
    assert "error: rank 0 of 2: " in errors, errors
    assert "lost another process" in errors, errors
    assert "epoch 100" not in printed
    assert clone.outputs("train").keys() <= {"history.csv"}  # of the epochs that were complete
    assert len(checkpoints(clone)) == 1

    clone.check_output(*TORCHRUN, *TRAIN, **NO_MLFLOW)
    assert checkpoints(clone) == []
    resumed = clone.outputs("train")
    clone.check_output(*TORCHRUN, *TRAIN, **NO_MLFLOW)
    assert clone.outputs("train") == resumed
