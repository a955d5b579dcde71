"""A training that is killed with all that belongs to it, again and again, and started again by `dvc repro`."""

import os
import random
import re
import shutil
import signal
import subprocess
import time

import pytest

from tests import workplace
from tests.workplace import Workplace

KILLS = 8
REPRO = ("dvc", "repro", "--single-item", "train")
NO_MLFLOW = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A clone whose training takes some seconds and leaves a checkpoint every 7 steps, seldom at an epoch's end."""
    made = workplace.make(tmp_path_factory.mktemp("killed"))
    made.set("train", epochs=120, checkpoint_steps=7, averaging=0.9)
    made.must("dvc", "repro", "normalise")
    return made


def results(place: Workplace) -> dict[str, bytes]:
    folder = place.folder / "artifacts/train"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def last_checkpoint(place: Workplace) -> int:
    """When it was written; 0: never."""
    return max((path.stat().st_mtime_ns for path in (place.folder / ".cache/checkpoints").glob("*")), default=0)


def kill_after(place: Workplace, seconds: float) -> None:
    """Start `dvc repro`; kill it, and all that it has started, some seconds after it has written a checkpoint."""
    before = last_checkpoint(place)
    with (
        (place.folder / "killed.log").open("w") as log,
        subprocess.Popen(
            REPRO, cwd=place.folder, env=place.environment | NO_MLFLOW, stdout=log, stderr=log, start_new_session=True
        ) as repro,
    ):
        deadline = time.monotonic() + 60
        while last_checkpoint(place) == before:
            assert repro.poll() is None, (place.folder / "killed.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(seconds)
        os.killpg(repro.pid, signal.SIGKILL)


def test_a_training_killed_at_random_moments_ends_with_the_same_bytes(place: Workplace) -> None:
    place.must("python", "-m", "pipeline.train", **NO_MLFLOW)
    whole = results(place)
    shutil.rmtree(place.folder / "artifacts/train")
    moments = random.Random(7)

    for _ in range(KILLS):
        kill_after(place, moments.uniform(0, 0.3))
        assert results(place) == {}

    printed = place.must(*REPRO, **NO_MLFLOW)
    (step,) = re.findall(r"going on after step (\d+)", printed)
    assert int(step) >= KILLS * 7
    assert int(step) % 7 == 0
    assert results(place) == whole
    assert last_checkpoint(place) == 0
