"""`make serve SHADOW=challenger`: fetches a registered model that answers unheard beside the one that is served.

Reads    the MLflow registry: the version with the given alias; dvc.lock, also in git, with which it compares it.
Writes   .cache/shadow/<name>-v<version>-<first eight digits of its SHA-256>.onnx; .cache/shadow/path: its path.
Decides  whether the model is the one that git vouches for, as `make bento` does.
"""

import argparse
import os
from pathlib import Path
from typing import Final

from pipeline.core import entrypoint
from pipeline.core.files import write_bytes, write_text
from pipeline.packaging import verification
from pipeline.packaging.model_name import model_name
from pipeline.tracking import signature
from pipeline.tracking.mlflow_store import MlflowStore, configure_mlflow, mlflow_errors
from pipeline.tracking.registry import Registry

FOLDER: Final = Path(".cache/shadow")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make serve SHADOW=…", description="Fetch a registered model.")
    parser.add_argument("--name", help="registered model; the data set in params.yaml if left out")
    parser.add_argument("--alias", required=True, help="the version that has this alias")
    arguments = parser.parse_args()
    root = Path(os.environ.get("DVC_ROOT", "."))
    configure_mlflow()
    with mlflow_errors(root):
        registry = Registry(MlflowStore(root))
        version = registry.get_version(arguments.name or model_name(), None, arguments.alias)
        labels, content = registry.origin(version), registry.read_model(version)
        if key := os.environ.get("MODEL_VERIFY_KEY"):
            signature.verify(registry.claims(version), version.tags.get(signature.TAG), root / key)
    verified = verification.verify(f"models:/{version.name}/{version.version}", content, labels)
    path = FOLDER.resolve() / f"{version.name}-v{version.version}-{labels['sha256'][:8]}.onnx"
    write_bytes(path, content)
    write_text(FOLDER / "path", str(path))
    print(f"shadow {path.stem}; {verified}")


if __name__ == "__main__":
    entrypoint.run(main)
