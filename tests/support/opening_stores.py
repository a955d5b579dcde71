"""Processes that open a fresh MLflow store at the same time."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from pipeline.tracking.mlflow_store import MlflowStore

PROCESSES = 8


def open_store(folder: Path) -> str:
    """Open the store of a clone; return the id of the experiment, found or created."""
    return MlflowStore(folder).experiment_id


def start_together(folder: Path, starts: int) -> None:
    """Assert that processes which open a fresh store at the same time get the same experiment, `starts` times."""
    context = get_context("forkserver")
    # Importing MLflow takes seconds: it is imported once, not in each process.
    context.set_forkserver_preload(["pipeline.tracking.mlflow_store"])
    with ProcessPoolExecutor(PROCESSES, context) as pool:
        for start in range(starts):
            found = list(pool.map(open_store, [folder / str(start)] * PROCESSES))
            assert len(set(found)) == 1
