"""Shows a running stage's curves in MLflow while it runs.

Started by the stage, and no concern of it: where MLflow does not answer, this process ends and nobody waits for it.
The run that it begins is the one that stage `track` later completes; a run that was completed before is left alone,
and for a stage that is over by then none is begun.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from sys import argv
from typing import Any, Final

from pipeline.core import entrypoint
from pipeline.tracking.mlflow_store import Record, set_manners, talking_to

INTERVAL: Final = 1.0  # seconds between two looks at the file


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def batches(path: Path, pid: int) -> Iterator[list[dict[str, Any]]]:
    """What the file holds, then what is added to it, a list at a time, until its end or that of the process `pid`."""
    with path.open(encoding="utf-8") as file:
        while True:
            alive = is_alive(pid)  # asked first: what was written before the end is still read
            lines = [json.loads(line) for line in file]
            yield lines
            if not alive or (lines and "end" in lines[-1]):
                return
            time.sleep(INTERVAL)


def follow(record: Record, path: Path, stage: str, inputs_key: str, pid: int) -> None:
    found = record.find(dvc_stage=stage, dvc_inputs_key=inputs_key)
    if (found and "dvc.key" in found.data.tags) or not is_alive(pid):
        return
    run = found or record.begin(stage, {"dvc.stage": stage, "dvc.inputs_key": inputs_key})
    run_id = run.info.run_id
    record.client.update_run(run_id, status="RUNNING")
    status = "KILLED"
    for lines in batches(path, pid):
        curves: dict[str, dict[int, float]] = {}
        for line in lines:
            status = line.get("end", status)
            for name, value in line.get("metrics", {}).items():
                curves.setdefault(name, {})[line["step"]] = value
        if curves:
            record.metrics(record.client.get_run(run_id), curves)
    record.client.set_terminated(run_id, status)


def main() -> None:
    path, stage, inputs_key, pid = argv[1:]
    os.nice(10)  # training comes first
    set_manners()
    root = Path(os.environ.get("DVC_ROOT", "."))
    os.chdir(root)  # the folder of a temporary experiment is deleted as soon as the experiment is over
    with talking_to(Path()):
        follow(Record(Path()), Path(path), stage, inputs_key, int(pid))


if __name__ == "__main__":
    entrypoint.run(main)
