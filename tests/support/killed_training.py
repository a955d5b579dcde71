"""`make kills`: a training run that is killed repeatedly, with all its processes, and restarted by `dvc repro`.

`python -m tests.support.killed_training N SEED` trains on scikit-learn's digits and kills N times. It passes if every
training ends with the bytes of an undisturbed one. What ends before it is killed is compared, and the next one starts.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.core.errors import DataError
from pipeline.tracking.dvc_lock import read_lock
from tests.support import project_clone
from tests.support.project_clone import NO_MLFLOW, Clone, duplicate
from tests.support.waiting import wait_until

SEED: Final = 7
INTERVAL: Final = 7  # steps between two checkpoints
REPRO: Final = ("dvc", "repro", "--single-item", "train")
DVC_STARTS: Final = 1.5  # seconds, about
AFTER_CHECKPOINT: Final = 0.3  # seconds; many steps and a few checkpoints


@dataclass
class Kills:
    """What was counted."""

    trainings: int = 0
    """Those that ended, each with the same bytes as an undisturbed one."""
    resumed: int = 0
    lost_steps: int = 0
    """The most that one kill cost."""
    locks: int = 0
    """How often a kill left a file of DVC's own that DVC cannot read."""


def slow_training(computed: Clone, folder: Path) -> Clone:
    """A clone whose training takes some seconds and writes a checkpoint every few steps, rarely at an epoch's end."""
    clone = duplicate(computed, folder)
    clear(clone)
    clone.set("train", epochs=150, checkpoint_steps=INTERVAL, averaging=0.9)
    return clone


def digits_training(folder: Path) -> Clone:
    """A clone with the embedded digits; its training takes a few seconds."""
    clone = project_clone.copy(folder)
    clone.set("download", dataset="digits")
    clone.set("train", **project_clone.SMALL | {"epochs": 6, "checkpoint_steps": INTERVAL, "averaging": 0.9})
    clone.commit()
    clone.check_output("dvc", "repro", "normalise", **NO_MLFLOW)
    return clone


def clear(clone: Clone) -> None:
    """Remove the results of training, also from DVC's cache of runs."""
    for name in ("artifacts/train", ".cache/progress", ".dvc/cache/runs"):
        shutil.rmtree(clone.folder / name, ignore_errors=True)


def last_checkpoint(clone: Clone) -> int:
    """The time at which the last one was written, in nanoseconds; 0 if there is none."""
    found = (clone.folder / ".cache/checkpoints").glob("train-*")
    return max((path.stat().st_mtime_ns for path in found), default=0)


def last_step(clone: Clone) -> int:
    """The last step in the progress file; 0 if there is none."""
    found = (path.read_text() for path in (clone.folder / ".cache/progress").glob("*"))
    rows = [json.loads(line) for text in found for line in text[: text.rfind("\n") + 1].splitlines()]
    return max((row["step"] for row in rows if "learning_rate" in row.get("metrics", {})), default=0)


def resumed_after(printed: str) -> int | None:
    """The step of the checkpoint from which training resumed; None if it started from scratch or not at all."""
    found = re.findall(r"resuming after step (\d+)", printed)
    return int(found[0]) if found else None


def kill(clone: Clone, seconds: float, after_checkpoint: bool) -> tuple[str, bool]:
    """Start `dvc repro`, kill it and its children `seconds` later, or `seconds` after its next checkpoint.

    Returns what it printed, and whether it was killed before it ended.
    """
    before, path = last_checkpoint(clone), clone.folder / "killed.log"
    with (
        path.open("w") as log,
        subprocess.Popen(
            REPRO, cwd=clone.folder, env=clone.environment | NO_MLFLOW, stdout=log, stderr=log, start_new_session=True
        ) as repro,
    ):
        if after_checkpoint:
            wait_until(lambda: last_checkpoint(clone) > before or repro.poll() is not None)
        time.sleep(seconds)  # a random moment, which is the test
        is_killed = repro.poll() is None
        if is_killed:
            os.killpg(repro.pid, signal.SIGKILL)
    assert is_killed or repro.returncode == 0, path.read_text()
    return path.read_text(), is_killed


def repair(clone: Clone, lock: bytes) -> bool:
    """Restore what DVC writes in place: killed in that moment it leaves a file that it cannot read.

    `lock` was in dvc.lock before. Returns whether there was such a file.
    """
    damaged = [path for path in (clone.folder / ".dvc/tmp").glob("*lock") if not is_whole(path)]
    for path in damaged:
        path.unlink()
    try:
        read_lock(clone.folder / "dvc.lock")
    except DataError:
        (clone.folder / "dvc.lock").write_bytes(lock)
        return True
    return bool(damaged)


def is_whole(lock: Path) -> bool:
    """Whether DVC can read one of its lock files. `rwlock` is JSON with a line for each process."""
    content = lock.read_bytes()
    with contextlib.suppress(ValueError):
        if lock.name == "rwlock":
            json.loads(content)
        return bool(content)
    return False


def check_kills(clone: Clone, kills: int, seed: int = SEED, report: Callable[[str], None] = lambda line: None) -> Kills:
    """Assert that training which is killed this many times, at random moments, ends with the same bytes."""
    clone.check_output("python", "-m", "pipeline.train", **NO_MLFLOW)
    undisturbed, lock = clone.outputs("train"), (clone.folder / "dvc.lock").read_bytes()
    clear(clone)
    moments, counted, seen, number = random.Random(seed), Kills(), 0, 0

    def ended() -> None:
        assert clone.outputs("train") == undisturbed
        assert list((clone.folder / ".cache/checkpoints").iterdir()) == []
        clear(clone)
        (clone.folder / "dvc.lock").write_bytes(lock)
        counted.trainings += 1

    def resumed(printed: str) -> None:
        if (step := resumed_after(printed)) is not None:
            counted.resumed += 1
            counted.lost_steps = max(counted.lost_steps, seen - step)
            assert seen - step <= INTERVAL
            assert step % INTERVAL == 0

    while number < kills:
        in_training = number % 2 == 1
        latest = AFTER_CHECKPOINT if in_training else DVC_STARTS
        printed, is_killed = kill(clone, moments.uniform(0, latest), in_training)
        resumed(printed)
        if not is_killed:
            ended()
            seen = 0
            continue
        number += 1
        counted.locks += repair(clone, lock)
        found = clone.outputs("train")
        history = found.pop("history.csv", b"")  # grows with each epoch, by a whole row
        assert undisturbed["history.csv"].startswith(history)
        assert history[-1:] in (b"", b"\n")
        assert found.items() <= undisturbed.items()  # a file is whole or missing
        seen = last_step(clone)
        if number % 10 == 0:
            report(f"{number} kills: {counted}")

    resumed(clone.check_output(*REPRO, **NO_MLFLOW))
    ended()
    return counted


def main() -> None:
    kills, seed = map(int, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        clone = digits_training(Path(folder) / "clone")
        counted = check_kills(clone, kills, seed, lambda line: print(line, flush=True))
    print(
        f"{kills} kills in {counted.trainings} trainings: all ended with the bytes of an undisturbed one; "
        f"{counted.resumed} times one resumed from a checkpoint, a kill cost at most {counted.lost_steps} steps of "
        f"{INTERVAL} between checkpoints; {counted.locks} times a file that DVC writes in place had to be restored"
    )


if __name__ == "__main__":
    main()
