"""Handwritten digits, from raw archives to a registered model: one module per DVC stage, and the leaves they share."""

from __future__ import annotations

import sys
from types import TracebackType

REMEDY = "expected the environment that `make install` makes: type `. .venv/bin/activate` first, or use `make repro`"


def _report(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """A missing package in one sentence, with the remedy; any other exception as Python reports it."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    if name is None or name.split(".")[0] == __name__:
        sys.__excepthook__(kind, error, traceback)
    else:
        print(f"error: {sys.executable} has no package {name}; {REMEDY}", file=sys.stderr)


# True while `python -m pipeline.<stage>` imports this package, and at no other time. `.venv/bin/dvc repro` starts the
# stages by the `python` of PATH, which is another one where the environment is not activated.
if sys.argv[0] == "-m":
    if sys.version_info < (3, 11):  # noqa: UP036 -- it is what we want to find out
        sys.exit(f"error: {sys.executable} is Python {sys.version.split()[0]}, expected 3.11 or newer; {REMEDY}")
    sys.excepthook = _report
