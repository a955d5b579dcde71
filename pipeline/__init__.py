"""Handwritten digits, from raw archives to a registered model: one module per DVC stage, and shared packages."""

from __future__ import annotations

import sys
from types import TracebackType

REMEDY = "expected the environment that `make install` creates: run `. .venv/bin/activate` first, or use `make repro`"


def _report(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Print a missing package as one sentence with the remedy, any other exception as Python does."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    if name is None or name.split(".")[0] == __name__:
        sys.__excepthook__(kind, error, traceback)
    else:
        print(f"error: {sys.executable} has no package {name}; {REMEDY}", file=sys.stderr)


# True only while `python -m pipeline.<stage>` imports this package. `.venv/bin/dvc repro` starts the stages with the
# `python` on PATH, which is a different one if the environment is not activated.
if sys.argv[0] == "-m":
    if sys.version_info < (3, 11):  # noqa: UP036 -- the check is the point
        sys.exit(f"error: {sys.executable} is Python {sys.version.split()[0]}, expected 3.11 or newer; {REMEDY}")
    sys.excepthook = _report
