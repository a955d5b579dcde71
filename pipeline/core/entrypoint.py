"""The entry point of every command of the pipeline: signals, error messages, exit status."""

import io
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from pipeline.core.errors import PipelineError


def _on_sigterm(signum: int, frame: FrameType | None) -> None:
    # As an exception, so that temporary files are removed before the process exits.
    raise SystemExit(128 + signum)


def run(main: Callable[[], None]) -> NoReturn:
    """Run `main` and exit; a `PipelineError` is printed as one sentence, with status 1.

    Does not return. Any other exception is a bug and keeps its traceback.
    """
    signal.signal(signal.SIGTERM, _on_sigterm)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an ASCII-only terminal shows ? for ×
    try:
        main()
    except PipelineError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # all files are closed; unloading torch and mlflow module by module would take seconds per stage
