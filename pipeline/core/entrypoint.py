"""How the command of a stage, or any other of the pipeline's, runs and ends."""

import io
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from pipeline.core.errors import PipelineError


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
