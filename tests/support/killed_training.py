"""A training run that is killed repeatedly, with all its processes, and restarted by `dvc repro`."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.support.project_clone import NO_MLFLOW, Clone, duplicate
from tests.support.waiting import wait_until

INTERVAL = 7  # steps between two checkpoints
REPRO = ("dvc", "repro", "--single-item", "train")


def slow_training(computed: Clone, folder: Path) -> Clone:
    """A clone whose training takes some seconds and writes a checkpoint every few steps, rarely at an epoch's end."""
    clone = duplicate(computed, folder)
    shutil.rmtree(clone.folder / "artifacts/train")
    shutil.rmtree(clone.folder / ".cache/progress")
    clone.set("train", epochs=150, checkpoint_steps=INTERVAL, averaging=0.9)
    return clone


def last_checkpoint(clone: Clone) -> int:
    """The time at which the last one was written, in nanoseconds; 0 if there is none."""
    found = (clone.folder / ".cache/checkpoints").glob("train-*")
    return max((path.stat().st_mtime_ns for path in found), default=0)


def last_step(clone: Clone) -> int:
    """The last step in the progress file; 0 if there is none."""
    lines = [line for path in (clone.folder / ".cache/progress").glob("*") for line in path.read_text().splitlines()]
    rows = [json.loads(line) for line in lines]
    return max((row["step"] for row in rows if "learning_rate" in row.get("metrics", {})), default=0)


def resumed_after(printed: str) -> int | None:
    """The step of the checkpoint from which training resumed; None if it started from scratch or not at all."""
    found = re.findall(r"resuming after step (\d+)", printed)
    return int(found[0]) if found else None


def kill(clone: Clone, seconds: float, after_checkpoint: bool) -> str:
    """Start `dvc repro`, kill it and its children `seconds` later, or `seconds` after its next checkpoint.

    Returns what it printed.
    """
    before, path = last_checkpoint(clone), clone.folder / "killed.log"
    with (
        path.open("w") as log,
        subprocess.Popen(
            REPRO, cwd=clone.folder, env=clone.environment | NO_MLFLOW, stdout=log, stderr=log, start_new_session=True
        ) as repro,
    ):
        if after_checkpoint:
            wait_until(lambda: last_checkpoint(clone) != before, repro, path)
        time.sleep(seconds)  # a random moment, which is the test
        assert repro.poll() is None, "it ended before it was killed"
        os.killpg(repro.pid, signal.SIGKILL)
    # DVC writes these files in place: killed in that moment it leaves one that it cannot read, whatever the stage does.
    for lock in (clone.folder / ".dvc/tmp").glob("*lock"):
        if not lock.read_bytes():
            lock.unlink()
    return path.read_text()


def check_kills(clone: Clone, kills: int) -> None:
    """Assert that training which is killed this many times, at random moments, ends with the same bytes."""
    clone.check_output("python", "-m", "pipeline.train", **NO_MLFLOW)
    uninterrupted = clone.outputs("train")
    shutil.rmtree(clone.folder / "artifacts/train")
    shutil.rmtree(clone.folder / ".cache/progress")
    moments, seen = random.Random(7), 0

    for number in range(kills):
        in_training = number % 2 == 1
        printed = kill(clone, moments.uniform(0, 0.3 if in_training else 1.5), in_training)
        resumed = resumed_after(printed)
        assert resumed is None or resumed >= seen - INTERVAL
        assert clone.outputs("train") == {}
        seen = last_step(clone)

    printed = clone.check_output(*REPRO, **NO_MLFLOW)
    step = resumed_after(printed)
    assert step is not None
    assert step >= max(seen - INTERVAL, INTERVAL * (kills // 2))
    assert step % INTERVAL == 0
    assert clone.outputs("train") == uninterrupted
    assert list((clone.folder / ".cache/checkpoints").iterdir()) == []
