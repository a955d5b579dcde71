"""Progress of a running stage: lines of JSON in a file, and a follower that shows them in MLflow.

The stage writes and forgets: it neither waits for a follower nor notices when there is none, or no room to write. The
file is no output of the stage; what is worth keeping is in artifacts/.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.tracking.dvc_lock import Stage


class Progress:
    """An open progress file, and the follower started on it."""

    def __init__(self, path: Path) -> None:
        self._file: io.RawIOBase | None = None
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # another experiment may be writing the same curve: it goes on in its own
            self._file = path.open("ab", buffering=0)  # a follower reads whole lines

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._write({"end": "FINISHED" if kind is None else "FAILED"})
        if self._file is not None:
            self._file.close()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._write({"step": step, "metrics": dict(values)})

    def _write(self, line: Mapping[str, object]) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.write(json.dumps(line).encode() + b"\n")


def start(stage: Stage, root: Path) -> Progress:
    """Begin a stage's progress file under `root`/.cache and start `python -m pipeline.tracking.live_follower` on it."""
    path = root / ".cache" / "progress" / f"{stage.name}-{stage.inputs_key[:12]}.jsonl"
    progress = Progress(path)
    command = [
        sys.executable,
        "-m",
        "pipeline.tracking.live_follower",
        str(path),
        stage.name,
        stage.inputs_key,
        str(os.getpid()),
    ]
    quiet = subprocess.DEVNULL
    # A session of its own: Ctrl-C ends the training, and the follower then tells MLflow so.
    subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    return progress
