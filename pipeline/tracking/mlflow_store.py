"""The experiment in MLflow. This module and `registry` are the only ones that import it.

Every operation is idempotent: a run is found by its tags before it is begun, a curve gets the points and a run the
files that it lacks. So a caller that was interrupted just begins again.
"""

import contextlib
import http
import json
import logging
import os
import re
import sqlite3
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import mlflow
from filelock import FileLock
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunStatus
from mlflow.entities import Run as Run
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy.exc import SQLAlchemyError

from pipeline.core.errors import TrackingError
from pipeline.tracking.relocation import relocate
from pipeline.tracking.store_uri import artifact_folder, database_file, shown_uri, store_uri, without_password

EXPERIMENT: Final = "handwritten-digits"
PARENT: Final = "mlflow.parentRunId"
MISSING: Final = "RESOURCE_DOES_NOT_EXIST"  # MLflow's error code
MAX_BATCH: Final = 1000  # metrics in one request; MLflow's own limit
# requests' are OSErrors; ImportError: a database's driver that is not installed
FAILURES: Final = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError)
PATIENCE: Final = 10  # seconds for one request; MLflow's own default is minutes


def set_manners() -> None:
    """Fail soon when the server is gone, read no pickles, report to nobody; a setting of the user's own wins."""
    for name, value in {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(PATIENCE),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }.items():
        os.environ.setdefault(name, value)
    os.environ.pop("MLFLOW_RUN_ID", None)  # it would turn every run into that one
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what they would print is raised, too


@contextlib.contextmanager
def talking_to(root: Path) -> Iterator[None]:
    """Turn whatever MLflow raises into a TrackingError of one sentence; `root` as for `store_uri`."""
    try:
        yield
    except FAILURES as error:
        shown = shown_uri(root)
        why = reason(error).replace("<database_uri>", shown)  # in MLflow's advice about an old schema
        raise TrackingError(f"MLflow at {shown} failed: {why}") from error


def reason(error: Exception) -> str:
    """Why it failed, in a line: requests begins with a long URL and ends with it, SQLAlchemy begins with advice."""
    message = " ".join(str(error).rpartition("Caused by ")[2].split())
    message = re.sub(r"^\(raised as a result of [^)]*\) ", "", message)
    return textwrap.shorten(message, 400, placeholder=" …") or type(error).__name__


def check_answers(uri: str) -> None:
    """Raise TrackingError when `uri` is a server's and no MLflow server answers there, asked as MLflow asks."""
    if not uri.startswith(("http://", "https://")):
        return
    shown = without_password(uri)
    try:
        creds = get_default_host_creds(uri)
        with http_request(creds, "/health", "GET", max_retries=0, timeout=PATIENCE, stream=True) as response:
            answer = next(response.iter_content(100), b"")
    except (*FAILURES, ValueError) as error:
        raise TrackingError(f"MLFLOW_TRACKING_URI: no server answers at {shown} ({reason(error)})") from error
    if response.status_code == http.HTTPStatus.UNAUTHORIZED:
        raise TrackingError(
            f"MLFLOW_TRACKING_URI: {shown} wants to know who asks: expected MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, got none that it accepts"
        )
    if response.status_code != http.HTTPStatus.OK or answer.strip() != b"OK":
        raise TrackingError(f"MLFLOW_TRACKING_URI: what answers at {shown} is no MLflow server (its /health is not OK)")


class Record:
    """The experiment in one MLflow store. Every method may raise what `talking_to` turns into a TrackingError."""

    def __init__(self, root: Path, experiment: str = EXPERIMENT) -> None:
        self.uri = store_uri(root)
        check_answers(self.uri)
        database, self._artifact_folder = database_file(root), artifact_folder(root)
        lock = database.with_name(f"{database.name}.lock") if database else root / ".cache" / "mlflow.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        # MLflow makes the tables of a fresh store when a client first asks: two processes that do so at once fail.
        with FileLock(lock):
            if database and self._artifact_folder:
                relocate(database, self._artifact_folder, experiment)
            mlflow.set_tracking_uri(self.uri)
            self.client = mlflow.MlflowClient()
            self.client.search_registered_models(max_results=1)  # the registry's tables, too
            self.experiment_id = self._experiment(experiment)

    def _experiment(self, name: str) -> str:
        existing = self.client.get_experiment_by_name(name)
        if existing is None:
            location = self._artifact_folder.as_uri() if self._artifact_folder else None
            return str(self.client.create_experiment(name, artifact_location=location))
        if existing.lifecycle_stage == "deleted":  # no other experiment can have its name
            self.client.restore_experiment(existing.experiment_id)
        return str(existing.experiment_id)

    def find(self, **tags: str) -> Run | None:
        """The run with these tags; of several the first that was begun."""
        wanted = " and ".join(f"tags.`{name.replace('_', '.', 1)}` = '{value}'" for name, value in tags.items())
        runs = self.client.search_runs([self.experiment_id], wanted, max_results=1, order_by=["start_time ASC"])
        return runs[0] if runs else None

    def settled(self, run: Run) -> Run:
        """The run when whoever shows it live has ended it, or as it is after PATIENCE seconds."""
        deadline = time.monotonic() + PATIENCE
        while run.info.status == "RUNNING" and time.monotonic() < deadline:
            time.sleep(0.5)
            run = self.client.get_run(run.info.run_id)
        return run

    def begin(self, name: str, tags: Mapping[str, str]) -> Run:
        return self.client.create_run(self.experiment_id, tags=dict(tags), run_name=name)

    def end(self, run: Run, status: str = "FINISHED") -> None:
        if RunStatus.from_string(status) != RunStatus.from_string(run.info.status):
            self.client.set_terminated(run.info.run_id, status)

    def params(self, run: Run, params: Mapping[str, object]) -> None:
        missing = [Param(name, str(value)) for name, value in params.items() if name not in run.data.params]
        for start in range(0, len(missing), 100):
            self.client.log_batch(run.info.run_id, params=missing[start : start + 100])

    def tags(self, run: Run, tags: Mapping[str, str]) -> None:
        for name, value in tags.items():
            if run.data.tags.get(name) != value:
                self.client.set_tag(run.info.run_id, name, value)

    def metrics(self, run: Run, curves: Mapping[str, Mapping[int, float]]) -> None:
        """Log the points, value by step, that the run's curves lack."""
        now = int(time.time() * 1000)
        missing = []
        for name, points in curves.items():
            known = set()
            if name in run.data.metrics:
                known = {point.step for point in self.client.get_metric_history(run.info.run_id, name)}
            missing += [Metric(name, value, now, step) for step, value in points.items() if step not in known]
        for start in range(0, len(missing), MAX_BATCH):
            self.client.log_batch(run.info.run_id, metrics=missing[start : start + MAX_BATCH])

    def files(self, run: Run, files: Iterable[Path], root: Path, *, compare_sizes: bool = True) -> None:
        """Upload the files, named by their paths below `root`, that the run lacks or has in another size."""
        run_id, known = run.info.run_id, dict[str, int | None]()
        folders = {path: _folder(path, root) for path in files}
        for folder in set(folders.values()):
            known |= {file.path: file.file_size for file in self.client.list_artifacts(run_id, folder)}
        for path, folder in folders.items():
            name = path.relative_to(root).as_posix()
            if name not in known or (compare_sizes and known[name] != path.stat().st_size):
                self.client.log_artifact(run_id, str(path), folder)

    def data(self, run: Run, path: str, used_for: str, md5: str) -> None:
        """Say which data the run has read: its name is the path, its digest the DVC hash."""
        inputs = run.inputs.dataset_inputs if run.inputs else []
        if any(known.dataset.digest == md5 and known.dataset.name == path for known in inputs):
            return
        dataset = Dataset(name=path, digest=md5, source_type="dvc", source=json.dumps({"path": path, "md5": md5}))
        context = InputTag("mlflow.data.context", used_for)
        self.client.log_inputs(run.info.run_id, [DatasetInput(dataset, [context])])

    def is_active(self, run_id: str) -> bool:
        """Whether there is such a run that is not deleted."""
        try:
            return bool(self.client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code == MISSING:
                return False
            raise


def _folder(path: Path, root: Path) -> str | None:
    """The folder of a run's artifacts in which a file lies; None for the topmost."""
    folder = path.parent.relative_to(root).as_posix()
    return None if folder == "." else folder
