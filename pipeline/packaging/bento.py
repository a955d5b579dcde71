"""`make bento`: the registered model as a Bento, ready to be served or made into a container image.

Reads    the MLflow registry: the version that an alias names, or the one asked for; serving/ and its lock file.
Writes   BentoML's store: the model `<name>:v<version>-<first eight of its SHA-256>`, and the Bento
         `<name>-service:v<version>-<…>-<first eight of a hash over the service's files>`. .cache/bento: the tag of it.
Decides  nothing: what is in the store already is left as it is.
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
from pipeline.tracking.mlflow_store import Record, set_manners, talking_to
from pipeline.tracking.registry import ModelVersion, Registry

SERVICE: Final = "serving.service:Digits"
TRAVELS: Final = (
    "serving/**/*",
    *("pipeline/__init__.py", "pipeline/core/__init__.py", "pipeline/core/errors.py"),
    *("pipeline/data/__init__.py", "pipeline/data/image.py"),
)
UNKNOWN: Final = "unknown"  # the commit of a model that was trained outside of a git repository
TAG: Final = Path(".cache/bento")  # what `make serve` and `make container` take


class Download(config.Section):
    dataset: str
    """Name of the data set in config.yaml, and so of the model that it trains."""


def labels_of(version: ModelVersion, commit: str | None) -> dict[str, str]:
    """Where the model comes from. Every answer names the model's tag, and the tag leads to these."""
    return {
        "run": version.tags["parent_run"],
        "commit": commit or UNKNOWN,
        "data": version.tags["data.md5"],
        "test_accuracy": version.tags["test_accuracy"],
    }


def store_model(version: ModelVersion, content: bytes, labels: dict[str, str]) -> str:
    """Put the ONNX file into BentoML's store unless it is there; its tag."""
    tag = f"{version.name}:v{version.version}-{version.tags['sha256'][:8]}"
    try:
        bentoml.models.get(tag)
    except NotFound:
        with bentoml.models.create(tag, labels=labels) as model:
            Path(model.path_of("model.onnx")).write_bytes(content)
    return tag


def files_that_travel() -> list[Path]:
    found = (path for pattern in TRAVELS for path in Path().glob(pattern))
    return sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)


def code_hash() -> str:
    """SHA-256 over the names and contents of all files in the Bento but the model."""
    digest = hashlib.sha256()
    for path in files_that_travel():
        digest.update(f"{path.as_posix()}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def build(model: str, labels: dict[str, str]) -> str:
    """Build the Bento for the stored `model` unless it is there; its tag."""
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
            include=list(TRAVELS),
            args={"model": model},
        )
    return tag


def wanted() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bento", description="Build a Bento of a registered model.")
    parser.add_argument("--name", help="registered model; the data set in config.yaml if left out")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--alias", default="champion", help="the version that has this alias (champion)")
    choice.add_argument("--version", help="the version with this number")
    return parser.parse_args()


def main() -> None:
    ask = wanted()
    name = ask.name or config.load("download", Download).dataset
    root = Path(os.environ.get("DVC_ROOT", "."))
    set_manners()
    logging.getLogger("bentoml").setLevel(logging.ERROR)
    with talking_to(root):
        registry = Registry(Record(root))
        version = registry.version(name, ask.version, ask.alias)
        content = registry.model_file(version)
        labels = labels_of(version, registry.commit(version))
    try:
        model = store_model(version, content, labels)
        bento = build(model, labels)
    except (BentoMLException, OSError) as error:
        raise StorageError(f"BentoML's store: {error}") from error
    write_text(TAG, bento)
    print(f"model {model}, Bento {bento}{', of an unknown git commit' if labels['commit'] == UNKNOWN else ''}")


if __name__ == "__main__":
    entrypoint.run(main)
