"""An experiment in MLflow. This module and `registry` are the only ones that import MLflow.

Every operation is idempotent: a run is looked up by its tags before it is created, and only those points of a curve
and those files are logged that the run lacks. So an interrupted caller can simply start again. `changes` lists what was
done or, in a dry run, what would be.
"""

import atexit
import contextlib
import getpass
import hashlib
import json
import logging
import os
import re
import shutil
import sqlite3
import tempfile
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import mlflow
from filelock import FileLock
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelOutput,
    Metric,
    Param,
    RunData,
    RunInfo,
    RunStatus,
)
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

NEW: Final = "new"  # the id of what a dry run would create
PARENT: Final = "mlflow.parentRunId"
MISSING: Final = "RESOURCE_DOES_NOT_EXIST"  # MLflow's error code
UNAUTHENTICATED: Final = ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")  # its error codes for HTTP status 401
MAX_PARAMS, MAX_METRICS = 100, 1000  # in one request; MLflow's own limits
MAX_PARAM_LENGTH, MAX_TAG_LENGTH, MAX_NAME_LENGTH = 6000, 8000, 250  # characters; likewise
# requests' errors are OSErrors; ImportError: the driver of a database is not installed
FAILURES: Final = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError)
MAX_DIGEST_LENGTH: Final = 36
SOURCES: Final = {"s3": "s3", "gs": "gs", "http": "http", "https": "http"}  # MLflow's source types by scheme
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
    for name in ("mlflow", "alembic", "aiohttp_retry"):
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


class DataSet(NamedTuple):
    """A data set with its hash, where it is (a path or URL), and in which context a run has it."""

    name: str
    hash: str
    address: str
    context: str

    @property
    def digest(self) -> str:
        return self.hash[:MAX_DIGEST_LENGTH]

    def input(self) -> DatasetInput:
        scheme = urlsplit(self.address).scheme
        kind = SOURCES.get(scheme, "local")  # of those that `mlflow.data.get_source` knows
        source = json.dumps({"url" if kind == "http" else "uri": self.address})
        dataset = Dataset(self.name, self.digest, kind, source)
        return DatasetInput(dataset, [InputTag("mlflow.data.context", self.context)])


class MlflowStore:
    """One experiment in one MLflow store. Every method may raise what `mlflow_errors` turns into a TrackingError."""

    def __init__(self, root: Path, experiment: str | None = None, *, dry_run: bool = False) -> None:
        """MLFLOW_EXPERIMENT_NAME, if set, takes the place of `experiment`. A dry run writes nothing."""
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or experiment or EXPERIMENT
        self.uri, self.public_uri = get_tracking_uri(root), public_uri(root)
        self.dry_run, self.changes, self.experiment = dry_run, list[str](), experiment
        check_server(self.uri)
        database, self._artifact_folder = database_file(root), artifact_folder(root)
        if dry_run and database and not database.is_file():
            folder = tempfile.mkdtemp(prefix="dry-run-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            database = Path(folder) / database.name
            self.uri = f"sqlite:///{database}"
        with FileLock(lock_file(self.uri)):
            # MLflow creates the tables of a fresh store at the first request: two processes that do so at once fail.
            if database and self._artifact_folder and not dry_run:
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
            if not self.changed(f"experiment {name}: create"):
                return NEW
            return str(self.client.create_experiment(name, artifact_location=location))
        if existing.lifecycle_stage == "deleted" and self.changed(f"experiment {name}: restore"):
            self.client.restore_experiment(existing.experiment_id)  # no other experiment can have its name
        return str(existing.experiment_id)

    def changed(self, change: str) -> bool:
        """Note a change that is about to be made; False if it must not be, in a dry run."""
        self.changes.append(change)
        return not self.dry_run

    def set_experiment_tags(self, tags: Mapping[str, str], *, keep: bool = False) -> None:
        """Set the experiment's tags; with `keep`, only those that it lacks."""
        existing = {} if self.experiment_id == NEW else self.client.get_experiment(self.experiment_id).tags
        for name, value in tags.items():
            is_set = name in existing if keep else existing.get(name) == value
            if not is_set and self.changed(f"experiment {self.experiment}: tag {name}"):
                self.client.set_experiment_tag(self.experiment_id, name, value)

    def find_run(self, tags: Mapping[str, str], *, delete_others: bool = False) -> Run | None:
        """The run with these tags, the oldest if there are several: two machines may have synced at the same time."""
        if self.experiment_id == NEW:
            return None
        query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        runs = self.client.search_runs([self.experiment_id], query, max_results=10, order_by=["start_time ASC"])
        for other in runs[1:] if delete_others else ():
            if self.changed(f"run {other.info.run_name}: delete the second one"):
                self.client.delete_run(other.info.run_id)
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

    def create_run(self, name: str, tags: Mapping[str, str], start: int | None = None) -> Run:
        """A run that started at `start`, in milliseconds since the epoch; now, if left out."""
        if self.changed(f"run {name}: create"):
            return self.client.create_run(self.experiment_id, start, dict(tags), name)
        info = RunInfo(NEW, self.experiment_id, "", "RUNNING", start or 0, None, "active", run_name=name)
        return Run(info, RunData())

    def end_run(self, run: Run, end: int | None = None) -> None:
        """Set the status FINISHED, and the end in milliseconds since the epoch; now, if left out."""
        if RunStatus.from_string("FINISHED") != RunStatus.from_string(run.info.status) and not self.dry_run:
            self.client.set_terminated(run.info.run_id, "FINISHED", end)

    def log_params(self, run: Run, params: Mapping[str, object]) -> None:
        missing = [
            Param(valid_name(name), str(value)[:MAX_PARAM_LENGTH])
            for name, value in params.items()
            if valid_name(name) not in run.data.params
        ]
        if missing and self.changed(f"run {run.info.run_name}: {len(missing)} parameters"):
            for start in range(0, len(missing), MAX_PARAMS):
                self.client.log_batch(run.info.run_id, params=missing[start : start + MAX_PARAMS])

    def set_tags(self, run: Run, tags: Mapping[str, str]) -> None:
        for name, value in tags.items():
            name, value = valid_name(name), value[:MAX_TAG_LENGTH]
            if run.data.tags.get(name) != value and self.changed(f"run {run.info.run_name}: tag {name}"):
                self.client.set_tag(run.info.run_id, name, value)

    def delete_tag(self, run: Run, name: str) -> None:
        if name in run.data.tags and self.changed(f"run {run.info.run_name}: remove tag {name}"):
            self.client.delete_tag(run.info.run_id, name)

    def log_metrics(self, run: Run, curves: Mapping[str, Mapping[int, float]], time_ms: int | None = None) -> None:
        """Log the points (value by step) that the run's curves lack."""
        when = time_ms or int(time.time() * 1000)
        missing = []
        for name, points in curves.items():
            logged = set()
            if valid_name(name) in run.data.metrics:
                history = self.client.get_metric_history(run.info.run_id, valid_name(name))
                logged = {point.step for point in history}
            missing += [
                Metric(valid_name(name), value, when, step) for step, value in points.items() if step not in logged
            ]
        if missing and self.changed(f"run {run.info.run_name}: {len(missing)} points of metrics"):
            self._log_points(run, missing)

    def set_metrics(self, run: Run, values: Mapping[str, float]) -> None:
        """Log numbers without a curve, of which those of an earlier time may differ: the latest ones count."""
        now = int(time.time() * 1000)
        changed = [
            Metric(valid_name(name), value, now, 0)
            for name, value in values.items()
            if run.data.metrics.get(valid_name(name)) != value
        ]
        if changed and self.changed(f"run {run.info.run_name}: {len(changed)} metrics"):
            self._log_points(run, changed)

    def _log_points(self, run: Run, points: Sequence[Metric]) -> None:
        for start in range(0, len(points), MAX_METRICS):
            self.client.log_batch(run.info.run_id, metrics=points[start : start + MAX_METRICS])

    def log_artifacts(
        self, run: Run, files: Mapping[str, Path], folder: str = "", *, compare_sizes: bool = True
    ) -> None:
        """Upload the files, by their names below `folder`, that the run lacks or has in another size."""
        run_id, logged = run.info.run_id, dict[str, int | None]()
        targets = {name: PurePosixPath(name).relative_to(folder) if folder else PurePosixPath(name) for name in files}
        parents = {_folder(target) for target in targets.values()}
        for parent in parents if run_id != NEW else ():
            logged |= {file.path: file.file_size for file in self.client.list_artifacts(run_id, parent)}
        for name, path in files.items():
            target = targets[name].as_posix()
            is_logged = target in logged and (not compare_sizes or logged[target] == path.stat().st_size)
            if not is_logged and self.changed(f"run {run.info.run_name}: artifact {target}"):
                self.client.log_artifact(run_id, str(path), _folder(targets[name]))

    def log_inputs(self, run: Run, data: Iterable[DataSet]) -> None:
        """Log the data sets that the run lacks."""
        inputs = run.inputs.dataset_inputs if run.inputs else []
        logged = {(each.dataset.name, each.dataset.digest) for each in inputs}
        missing = {(each.name, each.digest): each for each in data}
        new = [each.input() for identity, each in missing.items() if identity not in logged]
        if new and self.changed(f"run {run.info.run_name}: {len(new)} data sets"):
            self.client.log_inputs(run.info.run_id, new)

    def log_model_output(self, run: Run, model_id: str) -> None:
        """Name the logged model in the run's row."""
        outputs = run.outputs.model_outputs if run.outputs else []
        if all(output.model_id != model_id for output in outputs) and self.changed(
            f"run {run.info.run_name}: its model"
        ):
            self.client.log_outputs(run.info.run_id, [LoggedModelOutput(model_id, step=0)])


def valid_name(name: str) -> str:
    """The name of a parameter, metric or tag with the characters that MLflow allows."""
    return re.sub(r"[^/\w.\- :]", "_", name)[:MAX_NAME_LENGTH]


def lock_file(uri: str) -> Path:
    """The file whose lock the processes of this user hold that change the store at `uri`."""
    name = hashlib.sha256(uri.encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"mlflow-locks-{os.getuid() if hasattr(os, 'getuid') else getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{name}.lock"


def _folder(path: PurePosixPath) -> str | None:
    """The folder of a file in a run's artifacts; None for the top level."""
    folder = path.parent.as_posix()
    return None if folder == "." else folder
