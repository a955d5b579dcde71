"""A training that is killed repeatedly, with all its processes, and restarted by `dvc repro`."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.support.project_clone import Clone, moved

INTERVAL = 7  # steps between two checkpoints
REPRO = ("dvc", "repro", "--single-item", "train")
NO_MLFLOW = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}


def slow_training(computed: Clone, folder: Path) -> Clone:
    """A clone whose training takes some seconds and writes a checkpoint every few steps, rarely at an epoch's end."""
    made = moved(computed, folder)
    shutil.rmtree(made.folder / "artifacts/train")
    shutil.rmtree(made.folder / ".cache/progress")
    made.set("train", epochs=150, checkpoint_steps=INTERVAL, averaging=0.9)
    return made


def results(place: Clone) -> dict[str, bytes]:
    folder = place.folder / "artifacts/train"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def last_checkpoint(place: Clone) -> int:
    """When the last one was written, in nanoseconds; 0: never."""
    found = (place.folder / ".cache/checkpoints").glob("train-*")
    return max((path.stat().st_mtime_ns for path in found), default=0)


def last_step(place: Clone) -> int:
    """The last step in the progress file; 0: none."""
    lines = [line for path in (place.folder / ".cache/progress").glob("*") for line in path.read_text().splitlines()]
    rows = [json.loads(line) for line in lines]
    return max((row["step"] for row in rows if "learning_rate" in row.get("metrics", {})), default=0)


def resumed_after(printed: str) -> int | None:
    """The step of the checkpoint from which a training resumed; None if it started from nothing or not at all."""
    found = re.findall(r"resuming after step (\d+)", printed)
    return int(found[0]) if found else None


def kill(place: Clone, seconds: float, after_checkpoint: bool) -> str:
    """Start `dvc repro`, kill it and its children `seconds` later, or `seconds` after its next checkpoint.

    Returns what it printed.
    """
    before, path = last_checkpoint(place), place.folder / "killed.log"
    with (
        path.open("w") as log,
        subprocess.Popen(
            REPRO, cwd=place.folder, env=place.environment | NO_MLFLOW, stdout=log, stderr=log, start_new_session=True
        ) as repro,
    ):
        deadline = time.monotonic() + 300
        while after_checkpoint and last_checkpoint(place) == before:
            assert repro.poll() is None, path.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(seconds)
        assert repro.poll() is None, "it ended before it was killed"
        os.killpg(repro.pid, signal.SIGKILL)
    return path.read_text()


def check_kills(place: Clone, kills: int) -> None:
    """Assert that a training that is killed so many times at random moments ends with the same bytes."""
    place.must("python", "-m", "pipeline.train", **NO_MLFLOW)
    uninterrupted = results(place)
    shutil.rmtree(place.folder / "artifacts/train")
    shutil.rmtree(place.folder / ".cache/progress")
    moments, seen = random.Random(7), 0

    for number in range(kills):
        in_training = number % 2 == 1
        printed = kill(place, moments.uniform(0, 0.3 if in_training else 1.5), in_training)
        resumed = resumed_after(printed)
        assert resumed is None or resumed >= seen - INTERVAL
        assert results(place) == {}
        seen = last_step(place)

    printed = place.must(*REPRO, **NO_MLFLOW)
    step = resumed_after(printed)
    assert step is not None
    assert step >= max(seen - INTERVAL, INTERVAL * (kills // 2))
    assert step % INTERVAL == 0
    assert results(place) == uninterrupted
    assert list((place.folder / ".cache/checkpoints").iterdir()) == []


def test_a_training_killed_at_random_moments_ends_with_the_same_bytes(computed: Clone, tmp_path: Path) -> None:
    check_kills(slow_training(computed, tmp_path / "clone"), kills=2)
