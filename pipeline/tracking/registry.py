"""The models registered in MLflow: one version for each SHA-256, whose file is uploaded again if it was lost.

As in `mlflow_store`, every operation is idempotent.
"""

import hashlib
import importlib.metadata
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

import mlflow
import numpy as np
import onnx
from mlflow.entities import LoggedModel, LoggedModelStatus, Metric
from mlflow.entities.model_registry import ModelVersion as ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import Schema, TensorSpec

from pipeline.core.errors import TrackingError
from pipeline.tracking.mlflow_store import MISSING, DataSet, MlflowStore, Run, valid_name
from pipeline.tracking.tracking_uri import without_credentials

REQUIREMENTS: Final = ("mlflow", "numpy", "onnx", "onnxruntime")
ONNX: Final = ".onnx"
FILE: Final = "model.onnx"  # in a model that `mlflow.onnx` saved
MODEL_FOLDER: Final = "model"
REQUIRED_TAGS: Final = ("sha256", "parent_run", "data.md5", "test_accuracy")
UNKNOWN: Final = "unknown"  # no git repository, or a version that was registered before this was recorded
CLAIMED_TAGS: Final = {  # with their names in the origin of a model
    "sha256": "sha256",
    "training_data.md5": "training_data",
    "data.md5": "handwriting",
    "test_accuracy": "test_accuracy",
}
LOCAL: Final = ("run", "registry")  # in the origin of a model: other words in another registry


def onnx_arguments(path: Path) -> dict[str, Any]:
    """The arguments with which `mlflow.onnx` saves the ONNX file at `path`; the signature is that of the file."""
    model = onnx.load(path)
    inputs = [_tensor_spec(value) for value in model.graph.input]
    outputs = [_tensor_spec(value) for value in model.graph.output]
    example = {spec.name: np.zeros([2 if side == -1 else side for side in spec.shape], spec.type) for spec in inputs}
    return {
        "onnx_model": model,
        "signature": ModelSignature(Schema([*inputs]), Schema([*outputs])),
        "input_example": example,
        "pip_requirements": [f"{package}=={importlib.metadata.version(package)}" for package in REQUIREMENTS],
        "save_as_external_data": False,
    }


def _tensor_spec(value: onnx.ValueInfoProto) -> TensorSpec:
    """MLflow's description of an input or output; an axis of variable length is -1."""
    tensor = value.type.tensor_type
    shape = tuple(-1 if axis.dim_param else axis.dim_value for axis in tensor.shape.dim)
    return TensorSpec(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)), shape, value.name)


class Registry:
    """The registry of one MLflow store. Every method may raise what `mlflow_errors` turns into a TrackingError."""

    def __init__(self, store: MlflowStore) -> None:
        self.store = store
        self.client = store.client

    def find_version(self, name: str, sha256: str) -> ModelVersion | None:
        """The version whose file has this SHA-256, with its aliases; the newest if there are several."""
        versions = self.client.search_model_versions(f"name = '{name}'")
        same = [version for version in versions if version.tags.get("sha256") == sha256]
        newest = max(same, key=lambda version: int(version.version), default=None)
        return self.client.get_model_version(name, str(newest.version)) if newest else None

    def sync(
        self,
        run: Run,
        name: str,
        path: Path,
        tags: Mapping[str, str],
        description: str | None,
        summary: str | None,
    ) -> ModelVersion | None:
        """The version of model `name` with the file at `path`, which `run` wrote: found, completed or registered.

        `description` is that of the version, `summary` that of the model. Tags and texts that they have are kept,
        unless the run of the version was deleted. None in a dry run that would register it.
        """
        version = self.find_version(name, tags["sha256"])
        shown = f"model {name}"
        if version is None:
            if not self.store.changed(f"{shown}: register a version"):
                return None
            version = self.register(run, name, path, tags)
        elif not self.is_intact(version) and self.store.changed(
            f"{shown} version {version.version}: upload {path.name}"
        ):
            version = self.repair(version, run, path, tags["parent_run"])
        # A person, or an earlier sync, may have registered it with fewer tags.
        missing = {tag: value for tag, value in tags.items() if tag not in version.tags}
        if "parent_run" in version.tags and not self.store.is_active(version.tags["parent_run"]):
            missing["parent_run"] = tags["parent_run"]
        if missing and self.store.changed(f"{shown} version {version.version}: tags {', '.join(missing)}"):
            self.set_tags(version, missing)
        if description and not version.description and self.store.changed(f"{shown} version {version.version}: text"):
            self.client.update_model_version(name, str(version.version), description)
        if summary and not self.client.get_registered_model(name).description and self.store.changed(f"{shown}: text"):
            self.client.update_registered_model(name, summary)
        return self.client.get_model_version(name, str(version.version))  # with its tags and aliases of now

    def register(self, run: Run, name: str, path: Path, tags: Mapping[str, str]) -> ModelVersion:
        """Register the file at `path` as the next version of model `name`; an ONNX file is a logged model of `run`,
        unless one has this file already, any other an artifact of it."""
        if path.suffix != ONNX:
            self.client.log_artifact(run.info.run_id, str(path), MODEL_FOLDER)
            source = f"{self.client.get_run(run.info.run_id).info.artifact_uri}/{MODEL_FOLDER}"
            self._create_registered_model(name)
            return self.client.create_model_version(name, source, run.info.run_id, tags=dict(tags))
        # A filter by status finds nothing on SQLite, and is an error on PostgreSQL.
        same = self.client.search_logged_models([self.store.experiment_id], f"tags.sha256 = '{tags['sha256']}'")
        usable = [
            model for model in same if model.status == LoggedModelStatus.READY and _find_file(model.artifact_location)
        ]
        model_id = usable[0].model_id if usable else self._log_model(run, name, path, tags)
        return mlflow.register_model(f"models:/{model_id}", name, tags=dict(tags))

    def _create_registered_model(self, name: str) -> None:
        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _log_model(self, run: Run, name: str, path: Path, tags: Mapping[str, str]) -> str:
        """Log the ONNX file that `run` wrote as a model of its pipeline version, whose row in the UI then names it.

        Returns the model's id. Status and times of the runs stay as they are.
        """
        model = self.client.create_logged_model(
            self.store.experiment_id, name, tags["parent_run"], dict(tags), model_type="onnx"
        )
        self._upload(model, path)
        self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        self.store.log_model_output(run, model.model_id)
        return str(model.model_id)

    def _upload(self, model: LoggedModel, path: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            saved = Path(folder) / "model"
            configuration = Model(model.artifact_location, run_id=model.source_run_id, model_id=model.model_id)
            mlflow.onnx.save_model(path=str(saved), mlflow_model=configuration, **onnx_arguments(path))
            self.client.log_model_artifacts(model.model_id, str(saved))

    def complete(
        self,
        version: ModelVersion,
        parent: Run,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        data: Mapping[str, DataSet],
    ) -> None:
        """Give the logged model of a version the parameters and metrics of its pipeline version, whose run is `parent`.

        A metric belongs to the data set whose key in `data` begins its name. Without a logged model nothing is done.
        """
        model = self._logged_model(version)
        if model is None:
            return
        shown = f"model {version.name} version {version.version}"
        lacking = {
            valid_name(name): str(value) for name, value in params.items() if valid_name(name) not in model.params
        }
        if lacking and self.store.changed(f"{shown}: {len(lacking)} parameters"):
            self.client.log_model_params(model.model_id, lacking)
        logged = {metric.key for metric in model.metrics or ()}
        points = []
        for name, value in metrics.items():
            key = next((key for key in data if name.startswith(f"{key}_")), None)
            if valid_name(name) not in logged:
                points.append(
                    Metric(
                        valid_name(name),
                        value,
                        parent.info.start_time,
                        0,
                        model.model_id,
                        data[key].name if key else None,
                        data[key].digest if key else None,
                        parent.info.run_id,
                    )
                )
        if points and self.store.changed(f"{shown}: {len(points)} metrics"):
            self.client.log_batch(parent.info.run_id, metrics=points)
        self.store.log_inputs(parent, data.values())
        self.store.log_model_output(parent, str(model.model_id))

    def is_intact(self, version: ModelVersion) -> bool:
        """Whether the version's file exists and is the one that was registered."""
        content = self._read_file(version)
        return content is not None and hashlib.sha256(content).hexdigest() == version.tags.get("sha256")

    def _read_file(self, version: ModelVersion) -> bytes | None:
        """The version's model file; None if it was lost."""
        location = self.client.get_model_version_download_uri(version.name, str(version.version))
        name = _find_file(location)
        if name is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            return (Path(mlflow.artifacts.download_artifacts(location, dst_path=folder)) / name).read_bytes()

    def repair(self, version: ModelVersion, run: Run, path: Path, parent: str) -> ModelVersion:
        """Upload the lost file of a version again; return the version.

        If its logged model was deleted as well, the file is registered as a new version, which takes over the aliases.
        """
        model = self._logged_model(version)
        if model is None:
            new = self.register(run, version.name, path, {**version.tags, "parent_run": parent})
            for alias in version.aliases:
                self.set_alias(new, alias)
            return new
        self._upload(model, path)
        return version

    def _logged_model(self, version: ModelVersion) -> LoggedModel | None:
        """The logged model that was registered as this version; None if it was deleted, or never was one."""
        scheme, _, model_id = str(version.source).partition("models:/")
        if scheme or not model_id:
            return None
        try:
            return self.client.get_logged_model(model_id)
        except MlflowException as error:
            if error.error_code != MISSING:
                raise
            return None

    def set_alias(self, version: ModelVersion, alias: str) -> None:
        self.client.set_registered_model_alias(version.name, alias, str(version.version))

    def set_tags(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        for name, value in tags.items():
            if version.tags.get(name) != value:
                self.client.set_model_version_tag(version.name, str(version.version), name, value)

    def get_version(self, name: str, number: str | None, alias: str) -> ModelVersion:
        """The version of model `name` with this number or, without a number, this alias. Raises TrackingError."""
        try:
            if number:
                return self.client.get_model_version(name, number)
            return self.client.get_model_version_by_alias(name, alias)
        except MlflowException as error:
            if error.error_code not in (MISSING, "INVALID_PARAMETER_VALUE"):
                raise
            expected = f"version {number}" if number else f"a version with the alias {alias!r}"
            raise TrackingError(
                f"the registry of {without_credentials(self.store.uri)}: expected {expected} of model {name!r}, "
                f"got {self._list_versions(name)}"
            ) from error

    def _list_versions(self, name: str) -> str:
        """The versions of a model, or the other models if it has none, and what to do."""
        numbers = [str(version.version) for version in self.client.search_model_versions(f"name = '{name}'")]
        if not numbers:
            others = ", ".join(model.name for model in self.client.search_registered_models())
            return (
                f"none; other models: {others or 'none'}; `make repro` registers the model of params.yaml's data set, "
                "`make track` again the one that dvc.lock names"
            )
        versions = (self.client.get_model_version(name, number) for number in sorted(numbers, key=int))
        listed = ", ".join(f"{version.version} ({', '.join(version.aliases) or 'no alias'})" for version in versions)
        return f"versions {listed}; name one (VERSION=…, ALIAS=…); `make promote` gives `champion` to the candidate"

    def origin(self, version: ModelVersion) -> dict[str, str]:
        """Where the model comes from, by the registry's tags: its file's SHA-256, its run, the commit and whether the
        tree differed from it, the DVC experiment, the hashes of the data, its accuracy and the registry's address.

        Raises TrackingError if the version lacks tags, or its run was deleted.
        """
        if missing := [name for name in REQUIRED_TAGS if name not in version.tags]:
            raise TrackingError(
                f"models:/{version.name}/{version.version}: expected the tags {', '.join(REQUIRED_TAGS)}, got no "
                f"{', '.join(missing)}: it was not registered by `make track`, which adds them to the model that "
                "dvc.lock names"
            )
        tags = self._run_tags(version)
        return {
            **{name: version.tags.get(tag, UNKNOWN) for tag, name in CLAIMED_TAGS.items()},
            "run": version.tags["parent_run"],
            "commit": tags.get("mlflow.source.git.commit", UNKNOWN),
            "dirty": tags.get("git.dirty", UNKNOWN),
            "experiment": tags.get("dvc.experiment", "none"),
            "registry": self.store.public_uri,
        }

    def _run_tags(self, version: ModelVersion) -> dict[str, str]:
        """The tags of the pipeline version that produced the model. Raises TrackingError."""
        run_id = version.tags["parent_run"]
        try:
            return dict(self.client.get_run(run_id).data.tags)
        except MlflowException as error:
            if error.error_code not in (MISSING, "INVALID_PARAMETER_VALUE"):
                raise
            raise TrackingError(
                f"models:/{version.name}/{version.version}: expected the run {run_id!r} of its pipeline version, got "
                "none: it was deleted. `make track` creates it again for the model that dvc.lock names"
            ) from error

    def claims(self, version: ModelVersion) -> dict[str, str]:
        """What a signature covers: the model's name and its origin, without ids and addresses of this registry."""
        origin = self.origin(version)
        return {"name": str(version.name)} | {key: value for key, value in origin.items() if key not in LOCAL}

    def read_model(self, version: ModelVersion) -> bytes:
        """The ONNX file of a registered version. Raises TrackingError if it is not the one that was registered."""
        content = self._read_file(version)
        got = "no file" if content is None else f"SHA-256 {hashlib.sha256(content).hexdigest()}"
        expected = version.tags.get("sha256", "as `track` logs it")
        if content is None or not got.endswith(expected):
            raise TrackingError(
                f"models:/{version.name}/{version.version}: {FILE}: got {got}, expected SHA-256 {expected}; "
                "`make track` uploads it again if it is the model that dvc.lock names"
            )
        return content

    def find_alias(self, name: str, alias: str) -> ModelVersion | None:
        """The version of the registered model `name` that has this alias."""
        number = self.client.get_registered_model(name).aliases.get(alias)
        return self.client.get_model_version(name, str(number)) if number else None

    def delete_tag(self, version: ModelVersion, tag: str) -> None:
        if tag in version.tags:
            self.client.delete_model_version_tag(version.name, str(version.version), tag)

    def log_text(self, version: ModelVersion, text: str, path: str) -> None:
        """Write an artifact of the run of the version's pipeline version, in place of an earlier one."""
        self.client.log_text(version.tags["parent_run"], text, path)


def _find_file(location: str) -> str | None:
    """The model's file in this artifact location: FILE of a model in MLflow's format, else the only file there."""
    names = [PurePosixPath(file.path).name for file in mlflow.artifacts.list_artifacts(artifact_uri=location)]
    return FILE if FILE in names else names[0] if len(names) == 1 else None
