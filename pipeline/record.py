"""The record in MLflow: the only module that imports it.

Everything here is said so that it can be said twice: a run is found by its tags before it is begun, a curve gets the
points that it lacks, a model is registered once. So a caller that was interrupted just begins again.
"""

import contextlib
import hashlib
import http
import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import mlflow
import numpy as np
import onnx
from filelock import FileLock
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelStatus, Metric, Param, RunStatus
from mlflow.entities import Run as Run
from mlflow.entities.model_registry import ModelVersion as ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import Schema, TensorSpec
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import TrackingError
from pipeline.image import SIDE
from pipeline.store import store_uri, without_password

EXPERIMENT: Final = "handwritten-digits"
PARENT: Final = "mlflow.parentRunId"
MAX_BATCH: Final = 1000  # metrics in one request; MLflow's own limit
# requests' are OSErrors; ImportError: a database's driver that is not installed
FAILURES: Final = (MlflowException, SQLAlchemyError, OSError, ImportError)
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
        raise TrackingError(f"MLflow at {without_password(store_uri(root))} failed: {reason(error)}") from error


def reason(error: Exception) -> str:
    """Why it failed, in a line: requests begins with a long URL and ends with it, SQLAlchemy begins with advice."""
    told = " ".join(str(error).rpartition("Caused by ")[2].split())
    return re.sub(r"^\(raised as a result of [^)]*\) ", "", told)[:200]


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
        mlflow.set_tracking_uri(self.uri)
        self.client = mlflow.MlflowClient()
        (root / ".cache").mkdir(exist_ok=True)
        # Two processes that make the tables of a fresh SQLite file at once break each other.
        with FileLock(root / ".cache" / "mlflow.lock"):
            self.experiment_id = self._experiment(experiment, root)

    def _experiment(self, name: str, root: Path) -> str:
        existing = self.client.get_experiment_by_name(name)
        if existing:
            return str(existing.experiment_id)
        own_store = self.uri.startswith("sqlite:")
        location = (root / "mlartifacts").resolve().as_uri() if own_store else None
        return str(self.client.create_experiment(name, artifact_location=location))

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

    def files(self, run: Run, files: Iterable[Path], root: Path) -> None:
        """Upload files, named by their paths below `root`; a file that is there already is written again."""
        for path in files:
            folder = path.parent.relative_to(root).as_posix()
            self.client.log_artifact(run.info.run_id, str(path), None if folder == "." else folder)

    def data(self, run: Run, path: str, used_for: str, md5: str) -> None:
        """Say which data the run has read: its name is the path, its digest the DVC hash."""
        inputs = run.inputs.dataset_inputs if run.inputs else []
        if any(known.dataset.digest == md5 and known.dataset.name == path for known in inputs):
            return
        dataset = Dataset(name=path, digest=md5, source_type="dvc", source=json.dumps({"path": path, "md5": md5}))
        context = InputTag("mlflow.data.context", used_for)
        self.client.log_inputs(run.info.run_id, [DatasetInput(dataset, [context])])

    def model_version(self, name: str, sha256: str) -> ModelVersion | None:
        """The registered version whose file has this SHA-256."""
        versions = self.client.search_model_versions(f"name = '{name}'")
        return next((version for version in versions if version.tags.get("sha256") == sha256), None)

    def register(self, run: Run, name: str, path: Path, classes: int, tags: Mapping[str, str]) -> ModelVersion:
        """Register the ONNX file at `path`, logged to `run` unless it was, as the next version of model `name`."""
        # A filter by status would find nothing on SQLite, and end in an error on PostgreSQL.
        same = self.client.search_logged_models([self.experiment_id], f"tags.sha256 = '{tags['sha256']}'")
        ready = [model for model in same if model.status == LoggedModelStatus.READY]
        model_id = ready[0].model_id if ready else self._log_model(run, name, path, classes, tags)
        return mlflow.register_model(f"models:/{model_id}", name, tags=dict(tags))

    def _log_model(self, run: Run, name: str, path: Path, classes: int, tags: Mapping[str, str]) -> str:
        signature = ModelSignature(
            Schema([TensorSpec(np.dtype(np.uint8), (-1, SIDE, SIDE), "images")]),
            Schema([TensorSpec(np.dtype(np.float32), (-1, classes), "probabilities")]),
        )
        with mlflow.start_run(run_id=run.info.run_id):
            info = mlflow.onnx.log_model(
                onnx.load(path),
                name=name,
                signature=signature,
                input_example={"images": np.zeros((2, SIDE, SIDE), np.uint8)},
                pip_requirements=["onnxruntime", "numpy"],
                save_as_external_data=False,
                tags=dict(tags),
            )
        return str(info.model_id)

    def champion(self, name: str) -> ModelVersion | None:
        registered = self.client.get_registered_model(name)
        version = registered.aliases.get("champion")
        return self.client.get_model_version(name, str(version)) if version else None

    def decide(self, version: ModelVersion, alias: str) -> None:
        """Give the version its alias, and note on it that it had it: a later champion takes only the alias away."""
        self.client.set_registered_model_alias(version.name, alias, str(version.version))
        self.client.set_model_version_tag(version.name, str(version.version), "alias_at_registration", alias)

    def version(self, name: str, number: str | None, alias: str) -> ModelVersion:
        """The version of model `name` with this number, or else with this alias. Raises TrackingError."""
        try:
            if number:
                return self.client.get_model_version(name, number)
            return self.client.get_model_version_by_alias(name, alias)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            asked = f"version {number}" if number else f"a version with the alias {alias!r}"
            raise TrackingError(
                f"the registry of {without_password(self.uri)}: expected {asked} of model {name!r}, got none; "
                "`make repro` registers the model of params.yaml's data set, `make demo` one named digits"
            ) from error

    def origin(self, version: ModelVersion) -> str | None:
        """The git commit of the pipeline version that the model came out of."""
        commit = self.client.get_run(version.tags["parent_run"]).data.tags.get("mlflow.source.git.commit")
        return str(commit) if commit else None

    def model_file(self, version: ModelVersion) -> bytes:
        """The ONNX file of a registered version. Raises TrackingError when it is not the one that was registered."""
        uri = f"models:/{version.name}/{version.version}"
        with tempfile.TemporaryDirectory() as folder:
            content = (Path(mlflow.artifacts.download_artifacts(uri, dst_path=folder)) / "model.onnx").read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != version.tags.get("sha256"):
            expected = version.tags.get("sha256", "one that `track` has registered")
            raise TrackingError(f"{uri}: model.onnx: got SHA-256 {sha256}, expected {expected}")
        return content
