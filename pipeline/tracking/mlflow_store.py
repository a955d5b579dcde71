"""An experiment in MLflow. This module and `registry` are the only ones that import MLflow.

Every operation is idempotent: a run is looked up by its tags before it is created, and only those points of a curve
and those files are logged that the run lacks. So an interrupted caller can simply start again.
"""

import contextlib
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
from sqlalchemy.exc import SQLAlchemyError

from pipeline.core.config import EXPERIMENT
from pipeline.core.errors import TrackingError
from pipeline.tracking.relocation import relocate
from pipeline.tracking.tracking_uri import (
    artifact_folder,
    database_file,
    display_uri,
    get_tracking_uri,
    public_uri,
    without_credentials,
)

PARENT: Final = "mlflow.parentRunId"
MISSING: Final = "RESOURCE_DOES_NOT_EXIST"  # MLflow's error code
UNAUTHENTICATED: Final = ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")  # its error codes for HTTP status 401
MAX_PARAMS, MAX_METRICS = 100, 1000  # in one request; MLflow's own limits
# requests' errors are OSErrors; ImportError: the driver of a database is not installed
FAILURES: Final = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError)
REQUEST_TIMEOUT: Final = 10  # seconds; MLflow's own default is minutes


def configure_mlflow() -> None:
    """Short timeouts, no pickles, no telemetry. Environment variables that the user has set take precedence."""
    for name, value in {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(REQUEST_TIMEOUT),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }.items():
        os.environ.setdefault(name, value)
    os.environ.pop("MLFLOW_RUN_ID", None)  # every run would be logged to that run
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what they log is raised as well


@contextlib.contextmanager
def mlflow_errors(root: Path) -> Iterator[None]:
    """Convert every MLflow error to a TrackingError of one sentence; `root` as for `get_tracking_uri`."""
    try:
        yield
    except FAILURES as error:
        uri = display_uri(root)
        why = reason(error).replace("<database_uri>", uri)  # in MLflow's advice about an old schema
        raise TrackingError(f"MLflow at {uri} failed: {why}") from error


def reason(error: Exception) -> str:
    """The cause in one line, without credentials, the long URL that requests prints and the advice of SQLAlchemy."""
    message = re.sub(r"^.*\(Caused by (.*)\)", r"\1", " ".join(str(error).split()))
    message = re.sub(r"^\(raised as a result of [^)]*\) ", "", message)
    message = re.sub(r"//[^/@\s]*@", "//", message)
    return textwrap.shorten(message, 400, placeholder=" …") or type(error).__name__


def check_server(uri: str) -> None:
    """Raise TrackingError if `uri` is that of a server and no MLflow server responds there."""
    if not uri.startswith(("http://", "https://")):
        return
    shown = without_credentials(uri)
    try:
        mlflow.MlflowClient(uri).search_experiments(max_results=1)
    except (MlflowException, ValueError) as error:
        if isinstance(error, MlflowException) and error.error_code in UNAUTHENTICATED:
            raise TrackingError(
                f"MLFLOW_TRACKING_URI: {shown} requires authentication: expected MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, got none that it accepts"
            ) from error
        raise TrackingError(
            f"MLFLOW_TRACKING_URI: expected an MLflow server at {shown}, got: {reason(error)}"
        ) from error


class MlflowStore:
    """One experiment in one MLflow store. Every method may raise what `mlflow_errors` turns into a TrackingError."""

    def __init__(self, root: Path, experiment: str = EXPERIMENT) -> None:
        self.uri, self.public_uri = get_tracking_uri(root), public_uri(root)
        check_server(self.uri)
        database, self._artifact_folder = database_file(root), artifact_folder(root)
        lock = database.with_name(f"{database.name}.lock") if database else root / ".cache" / "mlflow.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        # MLflow creates the tables of a fresh store at the first request: two processes that do so at once fail.
        with FileLock(lock):
            if database and self._artifact_folder:
                relocate(database, self._artifact_folder, experiment)
            mlflow.set_tracking_uri(self.uri)
            self.client = mlflow.MlflowClient()
            self.client.search_registered_models(max_results=1)  # creates the registry's tables, too
            self.experiment_id = self._get_or_create_experiment(experiment)
        if not self.experiment_id:  # MLflow's client accepts any JSON object, even {}, as a response
            raise TrackingError(
                f"MLFLOW_TRACKING_URI: expected an MLflow server at {without_credentials(self.uri)}, got responses "
                f"without the experiment {experiment!r}"
            )

    def _get_or_create_experiment(self, name: str) -> str:
        existing = self.client.get_experiment_by_name(name)
        if existing is None:
            location = self._artifact_folder.as_uri() if self._artifact_folder else None
            return str(self.client.create_experiment(name, artifact_location=location))
        if existing.lifecycle_stage == "deleted":  # no other experiment can have its name
            self.client.restore_experiment(existing.experiment_id)
        return str(existing.experiment_id)

    def find_run(self, tags: Mapping[str, str]) -> Run | None:
        """The run with these tags, the oldest if there are several."""
        query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        runs = self.client.search_runs([self.experiment_id], query, max_results=1, order_by=["start_time ASC"])
        return runs[0] if runs else None

    def is_active(self, run_id: str) -> bool:
        """Whether the run exists and is not deleted."""
        try:
            return bool(self.client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code == MISSING:
                return False
            raise

    def wait_until_finished(self, run: Run) -> Run:
        """The run once its status is no longer RUNNING, or as it is after REQUEST_TIMEOUT seconds."""
        deadline = time.monotonic() + REQUEST_TIMEOUT
        while run.info.status == "RUNNING" and time.monotonic() < deadline:
            time.sleep(0.5)
            run = self.client.get_run(run.info.run_id)
        return run

    def create_run(self, name: str, tags: Mapping[str, str]) -> Run:
        return self.client.create_run(self.experiment_id, tags=dict(tags), run_name=name)

    def end_run(self, run: Run, status: str = "FINISHED") -> None:
        if RunStatus.from_string(status) != RunStatus.from_string(run.info.status):
            self.client.set_terminated(run.info.run_id, status)

    def log_params(self, run: Run, params: Mapping[str, object]) -> None:
        missing = [Param(name, str(value)) for name, value in params.items() if name not in run.data.params]
        for start in range(0, len(missing), MAX_PARAMS):
            self.client.log_batch(run.info.run_id, params=missing[start : start + MAX_PARAMS])

    def set_tags(self, run: Run, tags: Mapping[str, str]) -> None:
        for name, value in tags.items():
            if run.data.tags.get(name) != value:
                self.client.set_tag(run.info.run_id, name, value)

    def log_metrics(self, run: Run, curves: Mapping[str, Mapping[int, float]]) -> None:
        """Log the points (value by step) that the run's curves lack."""
        now = int(time.time() * 1000)
        missing = []
        for name, points in curves.items():
            logged = set()
            if name in run.data.metrics:
                logged = {point.step for point in self.client.get_metric_history(run.info.run_id, name)}
            missing += [Metric(name, value, now, step) for step, value in points.items() if step not in logged]
        for start in range(0, len(missing), MAX_METRICS):
            self.client.log_batch(run.info.run_id, metrics=missing[start : start + MAX_METRICS])

    def set_metrics(self, run: Run, values: Mapping[str, float]) -> None:
        """Log numbers without a curve, of which those of an earlier time may differ: the latest ones count."""
        now = int(time.time() * 1000)
        changed = [Metric(name, value, now, 0) for name, value in values.items() if run.data.metrics.get(name) != value]
        for start in range(0, len(changed), MAX_METRICS):
            self.client.log_batch(run.info.run_id, metrics=changed[start : start + MAX_METRICS])

    def log_artifacts(self, run: Run, files: Iterable[Path], root: Path, *, compare_sizes: bool = True) -> None:
        """Upload the files, named by their paths below `root`, that the run lacks or has in another size."""
        run_id, logged = run.info.run_id, dict[str, int | None]()
        folders = {path: _folder(path, root) for path in files}
        for folder in set(folders.values()):
            logged |= {file.path: file.file_size for file in self.client.list_artifacts(run_id, folder)}
        for path, folder in folders.items():
            name = path.relative_to(root).as_posix()
            if name not in logged or (compare_sizes and logged[name] != path.stat().st_size):
                self.client.log_artifact(run_id, str(path), folder)

    def log_input(self, run: Run, path: str, context: str, md5: str) -> None:
        """Log a data set that the run has read, and its context; its name is the path, its digest the DVC hash."""
        inputs = run.inputs.dataset_inputs if run.inputs else []
        if any(logged.dataset.digest == md5 and logged.dataset.name == path for logged in inputs):
            return
        dataset = Dataset(name=path, digest=md5, source_type="dvc", source=json.dumps({"path": path, "md5": md5}))
        self.client.log_inputs(run.info.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])


def _folder(path: Path, root: Path) -> str | None:
    """The folder of a file in a run's artifacts; None for the top level."""
    folder = path.parent.relative_to(root).as_posix()
    return None if folder == "." else folder
