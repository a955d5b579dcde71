"""Live metrics of a running stage: lines of JSON in a file, and a process that copies them to MLflow.

The stage only writes. It does not wait for `live_follower`, and continues without that process or without disk space.
The file is not an output of the stage; the results are in artifacts/.
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

from pipeline.core.stage_inputs import StageInputs


class LiveWriter:
    """An open file of live metrics."""

    def __init__(self, path: Path) -> None:
        self._file: io.RawIOBase | None = None
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # another experiment may be writing the same curve: it keeps its own file
            self._file = path.open("ab", buffering=0)  # so that the follower reads whole lines

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._write({"end": "FINISHED" if kind is None else "FAILED"})
        if self._file is not None:
            self._file.close()

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        self._write({"step": step, "metrics": dict(metrics)})

    def _write(self, line: Mapping[str, object]) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.write(json.dumps(line).encode() + b"\n")


def start(stage: StageInputs, root: Path) -> LiveWriter:
    """Open a stage's file under `root`/.cache/progress and start `python -m pipeline.tracking.live_follower` on it."""
    path = root / ".cache" / "progress" / f"{stage.name}-{stage.inputs_key[:12]}.jsonl"
    writer = LiveWriter(path)
    command = [
        sys.executable,
        "-m",
        "pipeline.tracking.live_follower",
        str(path),
        stage.name,
        stage.inputs_key,
        str(os.getpid()),
    ]
    null = subprocess.DEVNULL
    # In a session of its own: Ctrl-C stops the stage but not the follower, which then logs the status.
    subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True)
    return writer
