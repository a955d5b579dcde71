"""Errors that a person can mend, and the frame in which a stage reports them.

PipelineError
├── ParamsError      params.yaml holds something that a stage cannot use
├── FetchError       an archive could not be fetched, or is not the published one
├── DataError        a file in artifacts/ or data/ is not what its reader expects
├── PictureError     a picture cannot be brought to 28×28
├── DeviceError      the device asked for is not there
├── TrainingError    training came to nothing, e.g. a loss that is no longer finite
├── StorageError     a file could not be written
├── ExportError      the exported model does not agree with the trained one
├── RepositoryError  this is no git repository in which DVC can work
└── TrackingError    MLflow cannot be brought into agreement with dvc.lock
"""

import io
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn


class PipelineError(Exception):
    """One sentence: what was got, what was expected, and where."""


class ParamsError(PipelineError):
    pass


class FetchError(PipelineError):
    pass


class DataError(PipelineError):
    pass


class PictureError(PipelineError):
    """`code` tells a program what the sentence tells a person: not_a_picture, damaged_picture, animated_picture,
    picture_size or blank_page."""

    def __init__(self, code: str, got: str, expected: str) -> None:
        super().__init__(f"got {got}, expected {expected}")
        self.code = code
        self.got = got
        self.expected = expected


class DeviceError(PipelineError):
    pass


class TrainingError(PipelineError):
    pass


class StorageError(PipelineError):
    pass


class ExportError(PipelineError):
    pass


class RepositoryError(PipelineError):
    pass


class TrackingError(PipelineError):
    pass


def _on_sigterm(signum: int, frame: FrameType | None) -> None:
    # An exception, not a silent death: temporary files are removed on the way out.
    raise SystemExit(128 + signum)


def run(main: Callable[[], None]) -> NoReturn:
    """Run a stage; end the process with one sentence and status 1 where a `PipelineError` says what is wrong.

    Does not return. Any other exception is a bug of ours and keeps its traceback.
    """
    signal.signal(signal.SIGTERM, _on_sigterm)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows ASCII only shows ? where we print ×
    try:
        main()
    except PipelineError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # every file is closed; taking torch and mlflow apart module by module would take seconds a stage
