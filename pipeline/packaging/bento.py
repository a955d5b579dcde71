"""`make bento`: packages a registered model as a Bento, to be served or made into a container image.

Reads    the MLflow registry: the version with the given alias or number; dvc.lock, also in git, with which it compares
         the version; serving/ and its lock file. MODEL_VERIFY_KEY: a public key with which versions have to be signed.
Writes   BentoML's store: the model `<name>:v<version>-<first eight digits of a hash of its labels>`, and the Bento
         `<name>-service:v<version>-<…>-<first eight digits of a hash of the service's files>`. .cache/bento: its tag.
Decides  whether the model is the one that git and, with a key, the signature vouch for. Models and Bentos that are
         already in the store, intact, are not changed.
"""

import argparse
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import bentoml
from bentoml.exceptions import BentoMLException, NotFound

from pipeline.core import entrypoint
from pipeline.core.errors import StorageError
from pipeline.core.files import write_text
from pipeline.core.git import differing
from pipeline.packaging import verification
from pipeline.packaging.model_name import model_name
from pipeline.tracking import signature
from pipeline.tracking.mlflow_store import MlflowStore, configure_mlflow, mlflow_errors
from pipeline.tracking.registry import ModelVersion, Registry

SERVICE: Final = "serving.service:Digits"
PREPROCESSING: Final = (  # the modules of pipeline/data/ that the service imports
    *("__init__", "components", "image", "ink", "limits", "lines", "marks", "objects", "picture", "picture_file"),
)
BUNDLED_FILES: Final = (
    "serving/**/*",
    *("pipeline/__init__.py", "pipeline/core/__init__.py", "pipeline/core/errors.py"),
    *(f"pipeline/data/{module}.py" for module in PREPROCESSING),
    *(f"pipeline/monitoring/{module}.py" for module in ("__init__", "drift", "reference")),
)
SUMS: Final = "SHA256SUMS"  # in the Bento's folder
TAG_FILE: Final = Path(".cache/bento")  # read by `make serve` and `make container`


def stored_tag(version: ModelVersion, labels: dict[str, str]) -> str:
    """The model's tag in BentoML's store. It depends on the labels, among which is the SHA-256 of the file: the same
    file from another registry, or with another commit, is another model in the store."""
    digest = hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()
    return f"{version.name}:v{version.version}-{digest[:8]}"


def store_model(tag: str, content: bytes, labels: dict[str, str]) -> None:
    """Save the ONNX file to BentoML's store unless it is already there, intact."""
    if not is_stored(tag, labels):
        with bentoml.models.create(tag, labels=labels) as model:
            Path(model.path_of("model.onnx")).write_bytes(content)


def is_stored(tag: str, labels: dict[str, str]) -> bool:
    """Whether BentoML's store has the model as it was stored. A damaged one is removed."""
    try:
        stored = bentoml.models.get(tag)
        content = Path(stored.path_of("model.onnx")).read_bytes()
    except NotFound:
        return False
    except Exception:  # of a damaged model.yaml: BentoML lets through what YAML, attrs and cattrs raise
        pass
    else:
        if dict(stored.info.labels) == labels and hashlib.sha256(content).hexdigest() == labels["sha256"]:
            return True
    bentoml.models.delete(tag)
    return False


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
    """Build the Bento for the stored `model` unless it exists, intact; return its tag. SHA256SUMS lists its files."""
    name, version = model.split(":")
    tag = f"{name}-service:{version}-{code_hash()[:8]}"
    arguments = {"model": model, "labels": labels}
    if not is_built(tag, arguments):
        name, version = tag.split(":")
        bento = bentoml.bentos.build(
            SERVICE,
            name=name,
            version=version,
            labels=labels,
            include=list(BUNDLED_FILES),
            args=arguments,
        )
        write_text(Path(bento.path) / SUMS, checksums(Path(bento.path)))
    return tag


def checksums(folder: Path) -> str:
    """The SHA-256 and the name of each file in a folder but SUMS, a line each, as sha256sum writes them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    names = {path.relative_to(folder).as_posix(): path for path in files}
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in names.items() if name != SUMS}
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items())


def is_intact(folder: Path) -> bool:
    """Whether the files in a Bento's folder have the checksums that were written when it was built."""
    return (folder / SUMS).read_text(encoding="utf-8") == checksums(folder)


def is_built(tag: str, arguments: Mapping[str, object]) -> bool:
    """Whether BentoML's store has the Bento as it was built. A damaged one is removed."""
    try:
        bento = bentoml.bentos.get(tag)
        if bento.info.args == arguments and is_intact(Path(bento.path)):
            return True
    except NotFound:
        return False
    except Exception:  # of a damaged bento.yaml, as above
        pass
    bentoml.bentos.delete(tag)
    return False


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bento", description="Build a Bento of a registered model.")
    parser.add_argument("--name", help="registered model; the data set in params.yaml if left out")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--alias", default="champion", help="the version that has this alias (champion)")
    choice.add_argument("--version", help="the version with this number")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    name = arguments.name or model_name()
    root = Path(os.environ.get("DVC_ROOT", "."))
    configure_mlflow()
    logging.getLogger("bentoml").setLevel(logging.ERROR)
    with mlflow_errors(root):
        registry = Registry(MlflowStore(root))
        version = registry.get_version(name, arguments.version, arguments.alias)
        labels = registry.origin(version)
        content = registry.read_model(version)
        if key := os.environ.get("MODEL_VERIFY_KEY"):
            signature.verify(registry.claims(version), version.tags.get(signature.TAG), root / key)
    verified = verification.verify(f"models:/{version.name}/{version.version}", content, labels)
    try:
        model = stored_tag(version, labels)
        store_model(model, content, labels)
        bento = build(model, labels)
    except (BentoMLException, OSError) as error:
        raise StorageError(f"BentoML's store: {error}") from error
    write_text(TAG_FILE, bento)
    signed = f"signed with the key of {key}" if key else "signature not checked (MODEL_VERIFY_KEY is not set)"
    changed = [path.as_posix() for path in differing(bundled_files())]
    dirty = f"\nnote: not as in the last commit: {', '.join(changed)}" if changed else ""
    print(f"{verified}; {signed}\nmodel {model}, Bento {bento}{dirty}")


if __name__ == "__main__":
    entrypoint.run(main)
