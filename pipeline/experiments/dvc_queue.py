"""DVC's queue of experiments: what `dvc exp run --queue` and `dvc queue` do, for the experiments of a sweep."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import IO, Final

from dvc.repo import Repo

from pipeline.core import git
from pipeline.core.errors import RepositoryError

TARGET: Final = "score"  # the last stage that a comparison needs
PENDING: Final = ("Running", "Queued")


def _dvc(*arguments: str) -> str:
    """What the command prints. Raises RepositoryError with its last line if it fails."""
    # DVC starts its workers and the stages with the `dvc` and `python` on PATH.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = git.with_identity(os.environ) | {"PATH": path}
    command = [sys.executable, "-m", "dvc", *arguments]
    # Files, not pipes: a worker inherits them, and a pipe would be open until the worker ends.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        status = subprocess.run(command, env=environment, stdout=output, stderr=errors).returncode
        printed, said = (_text(file) for file in (output, errors))
    if status != 0:
        lines = (said or printed).strip().splitlines()
        shown = f"dvc {' '.join(arguments[:4])} …"
        raise RepositoryError(f"`{shown}` exited with status {status}: {lines[-1] if lines else 'no message'}")
    return printed


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def put(name: str, settings: Iterable[str]) -> None:
    """Queue an experiment: the pipeline to the stage `score`, with these settings."""
    _dvc("exp", "run", "--queue", "--name", name, *(f"--set-param={setting}" for setting in settings), TARGET)


def start(workers: int) -> None:
    """Start worker processes, which end when the queue is empty, until there are `workers` of them."""
    _dvc("queue", "start", "--jobs", str(workers))


def stop() -> None:
    """End the workers and their experiments, as Ctrl-C would."""
    with contextlib.suppress(RepositoryError):  # an experiment that has just ended
        _dvc("queue", "stop", "--kill")


def remove(names: Collection[str]) -> None:
    """Remove the tasks of these experiments from the queue, done or not; of a running one, whose worker is lost."""
    if names:
        with contextlib.suppress(RepositoryError):
            _dvc("queue", "kill", "--force", *names)
        _dvc("queue", "remove", *names)


def log(name: str) -> str:
    """What the experiment has printed."""
    try:
        return _dvc("queue", "logs", name)
    except RepositoryError as error:
        return str(error)


def statuses() -> dict[str, str]:
    """The status of each experiment in the queue by name: Running, Queued, Success or Failed.

    Of one that was queued again, that of the last time.
    """
    with contextlib.closing(Repo()) as repo:
        rows = repo.experiments.celery_queue.status()
    rows.sort(key=lambda row: (row["status"] in PENDING, row["timestamp"]))
    return {row["name"]: row["status"] for row in rows if row["name"]}


def has_workers() -> bool:
    with contextlib.closing(Repo()) as repo:
        return bool(repo.experiments.celery_queue.worker_status())
