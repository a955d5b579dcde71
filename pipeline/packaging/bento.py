"""`make bento`: packages a registered model as a Bento, to be served or made into a container image.

Reads    the MLflow registry: the version with the given alias or number; serving/ and its lock file.
Writes   BentoML's store: the model `<name>:v<version>-<first eight digits of its SHA-256>`, and the Bento
         `<name>-service:v<version>-<…>-<first eight digits of a hash of the service's files>`. .cache/bento: its tag.
Decides  nothing: models and Bentos that are already in the store are not changed.
"""

import argparse
import hashlib
import logging
import os
from pathlib import Path
from typing import Final

import bentoml
from bentoml.exceptions import BentoMLException, NotFound

from pipeline.core import config, entrypoint
from pipeline.core.errors import StorageError
from pipeline.core.files import write_text
from pipeline.tracking.mlflow_store import MlflowStore, configure_mlflow, mlflow_errors
from pipeline.tracking.registry import ModelVersion, Registry

SERVICE: Final = "serving.service:Digits"
BUNDLED_FILES: Final = (
    "serving/**/*",
    *("pipeline/__init__.py", "pipeline/core/__init__.py", "pipeline/core/errors.py"),
    "pipeline/data/__init__.py",
    *("pipeline/data/image.py", "pipeline/data/limits.py", "pipeline/data/picture_file.py"),
)
UNKNOWN_COMMIT: Final = "unknown"  # of a model that was trained outside of a git repository
TAG_FILE: Final = Path(".cache/bento")  # read by `make serve` and `make container`


class Download(config.Section):
    dataset: str
    """Name of the data set in params.yaml, and so of the model trained on it."""


def model_labels(version: ModelVersion, commit: str | None) -> dict[str, str]:
    """The origin of the model. Every response of the service contains the model's tag, which leads to these labels."""
    return {
        "run": version.tags["parent_run"],
        "commit": commit or UNKNOWN_COMMIT,
        "data": version.tags["data.md5"],
        "test_accuracy": version.tags["test_accuracy"],
    }


def store_model(version: ModelVersion, content: bytes, labels: dict[str, str]) -> str:
    """Save the ONNX file to BentoML's store unless it is already there; return its tag."""
    tag = f"{version.name}:v{version.version}-{version.tags['sha256'][:8]}"
    try:
        bentoml.models.get(tag)
    except NotFound:
        with bentoml.models.create(tag, labels=labels) as model:
            Path(model.path_of("model.onnx")).write_bytes(content)
    return tag


def bundled_files() -> list[Path]:
    matches = (path for pattern in BUNDLED_FILES for path in Path().glob(pattern))
    return sorted(path for path in matches if path.is_file() and "__pycache__" not in path.parts)


def code_hash() -> str:
    """SHA-256 of the names and contents of all files in the Bento except the model."""
    digest = hashlib.sha256()
    for path in bundled_files():
        digest.update(f"{path.as_posix()}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def build(model: str, labels: dict[str, str]) -> str:
    """Build the Bento for the stored `model` unless it exists; return its tag."""
    name, version = model.split(":")
    tag = f"{name}-service:{version}-{code_hash()[:8]}"
    try:
        bentoml.bentos.get(tag)
    except NotFound:
        name, version = tag.split(":")
        bentoml.bentos.build(
            SERVICE,
            name=name,
            version=version,
            labels=labels,
            include=list(BUNDLED_FILES),
            args={"model": model},
        )
    return tag


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bento", description="Build a Bento of a registered model.")
    parser.add_argument("--name", help="registered model; the data set in params.yaml if left out")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--alias", default="champion", help="the version that has this alias (champion)")
    choice.add_argument("--version", help="the version with this number")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    name = arguments.name or config.load("download", Download).dataset
    root = Path(os.environ.get("DVC_ROOT", "."))
    configure_mlflow()
    logging.getLogger("bentoml").setLevel(logging.ERROR)
    with mlflow_errors(root):
        registry = Registry(MlflowStore(root))
        version = registry.get_version(name, arguments.version, arguments.alias)
        content = registry.read_model(version)
        labels = model_labels(version, registry.commit(version))
    try:
        model = store_model(version, content, labels)
        bento = build(model, labels)
    except (BentoMLException, OSError) as error:
        raise StorageError(f"BentoML's store: {error}") from error
    write_text(TAG_FILE, bento)
    unknown = ", of an unknown git commit" if labels["commit"] == UNKNOWN_COMMIT else ""
    print(f"model {model}, Bento {bento}{unknown}")


if __name__ == "__main__":
    entrypoint.run(main)
