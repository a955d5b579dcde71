"""Copies the live metrics of a running stage to MLflow.

The stage starts this process and does not depend on it: if MLflow does not respond, only this process ends. The stage
`track` completes the run that it creates. A completed run is not changed, and none is created for a stage that has
already ended.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from sys import argv
from typing import Any, Final

from pipeline.core import entrypoint
from pipeline.tracking.mlflow_store import MlflowStore, configure_mlflow, mlflow_errors

INTERVAL: Final = 1.0  # seconds between two reads of the file


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def read_lines(path: Path, pid: int) -> Iterator[list[dict[str, Any]]]:
    """The lines of the file, then lists of those added to it, until its last line or the end of the process `pid`."""
    with path.open(encoding="utf-8") as file:
        while True:
            alive = is_alive(pid)  # before reading, so that the last lines of an ended process are read, too
            lines = [json.loads(line) for line in file]
            yield lines
            if not alive or (lines and "end" in lines[-1]):
                return
            time.sleep(INTERVAL)


def follow(store: MlflowStore, path: Path, stage: str, inputs_key: str, pid: int) -> None:
    """Log the metrics in the file until the stage, the process `pid`, has ended; then set the status of its run."""
    tags = {"dvc.stage": stage, "dvc.inputs_key": inputs_key}
    run = store.find_run(tags)
    if (run and "dvc.key" in run.data.tags) or not is_alive(pid):
        return
    run_id = (run or store.create_run(stage, tags)).info.run_id
    store.client.update_run(run_id, status="RUNNING")
    status = "KILLED"
    for lines in read_lines(path, pid):
        curves: dict[str, dict[int, float]] = {}
        for line in lines:
            status = line.get("end", status)
            for name, value in line.get("metrics", {}).items():
                curves.setdefault(name, {})[line["step"]] = value
        if curves:
            store.log_metrics(store.client.get_run(run_id), curves)
    store.client.set_terminated(run_id, status)


def main() -> None:
    path, stage, inputs_key, pid = argv[1:]
    os.nice(10)  # training has priority
    configure_mlflow()
    root = Path(os.environ.get("DVC_ROOT", "."))
    os.chdir(root)  # the folder of a temporary experiment is deleted as soon as the experiment has ended
    with mlflow_errors(Path()):
        follow(MlflowStore(Path()), Path(path), stage, inputs_key, int(pid))


if __name__ == "__main__":
    entrypoint.run(main)
