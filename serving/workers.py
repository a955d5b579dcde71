"""How many workers answer, and where several of them count.

One worker keeps its metrics in memory. Several write them to files in a folder that they share (prometheus_client's
multiprocess mode), so that `/metrics` shows the sums whichever of them answers.
"""

import atexit
import os
import shutil
import sys
import tempfile
from typing import Final

WORKERS: Final = "DIGITS_WORKERS"  # set by `make serve WORKERS=…`, in compose.yaml and in the manifests
MAX_WORKERS: Final = 64
METRICS_FOLDER: Final = "DIGITS_METRICS_FOLDER"  # set by the supervisor for its workers
PROMETHEUS: Final = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client reads it when it is imported


def worker_count() -> int:
    """The setting, 1 if there is none. Exits with a sentence if it is no number of workers."""
    value = os.environ.get(WORKERS) or "1"
    if not (value.isascii() and value.isdigit() and len(value) <= 3 and 1 <= int(value) <= MAX_WORKERS):
        sys.exit(f"error: got {WORKERS}={value[:50]}, expected a whole number from 1 to {MAX_WORKERS}")
    return int(value)


def share_metrics(workers: int) -> None:
    """Called in the supervisor before it starts its workers, which inherit its environment."""
    os.environ.pop(METRICS_FOLDER, None)
    if workers > 1:
        os.environ[METRICS_FOLDER] = tempfile.mkdtemp(prefix="digits-metrics-")
        atexit.register(shutil.rmtree, os.environ[METRICS_FOLDER], ignore_errors=True)


def use_shared_metrics() -> None:
    """Called in a worker before it imports prometheus_client.

    BentoML names a folder, too, but the same one for all services of a machine, and each start empties it.
    """
    os.environ.pop(PROMETHEUS, None)
    if METRICS_FOLDER in os.environ:
        os.environ[PROMETHEUS] = os.environ[METRICS_FOLDER]
