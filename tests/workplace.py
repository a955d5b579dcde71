"""A copy of the repository in a temporary folder, with small synthetic archives in place of the published ones."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import numpy.typing as npt
from dvc.utils.serialize import dump_yaml
from mlflow.entities import Metric, Run
from mlflow.entities.model_registry import ModelVersion

from pipeline.files import read_yaml
from pipeline.record import EXPERIMENT
from tests.pen import synthetic_images

ROOT = Path(__file__).parent.parent
SMALL: dict[str, Any] = {"cnn": {"widths": [4, 8, 8], "dropout": 0.0}, "epochs": 2, "batch": 50}
SECRETS = ("MLFLOW_", "DVC_", "DATASET_MIRROR")  # settings of whoever runs the tests


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    """A gzipped IDX file, the same bytes each time."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


class Workplace:
    """A clone that runs DVC and the stages as a person would, and looks into its MLflow store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(SECRETS)}
        self.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{self.environment['PATH']}"
        self.environment["MLFLOW_DISABLE_TELEMETRY"] = "true"

    def run(self, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, cwd=self.folder, env=self.environment | environment, capture_output=True, text=True, timeout=900
        )

    def must(self, *command: str, **environment: str) -> str:
        """What a command prints; AssertionError with all its words when it fails."""
        done = self.run(*command, **environment)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def commit(self) -> None:
        """Make a git repository of the folder, everything in one commit."""
        self.must("git", "init", "--quiet", "--initial-branch", "main")
        self.must("git", "add", "--all")
        # In the repository itself: DVC's experiments want them, and a fresh machine has none.
        self.must("git", "config", "user.name", "nobody")
        self.must("git", "config", "user.email", "nobody@example.org")
        self.must("git", "commit", "--quiet", "--message", "start")

    def set(self, section: str, **values: Any) -> None:
        path = self.folder / "params.yaml"
        tree = read_yaml(path)
        tree[section] |= values
        dump_yaml(path, tree)

    def client(self, uri: str | None = None) -> mlflow.MlflowClient:
        uri = uri or f"sqlite:///{self.folder}/mlflow.db"
        return mlflow.MlflowClient(uri, uri)

    def runs(self, uri: str | None = None) -> list[Run]:
        experiment = self.client(uri).get_experiment_by_name(EXPERIMENT)
        return list(self.client(uri).search_runs([experiment.experiment_id])) if experiment else []

    def history(self, run: Run, metric: str) -> list[Metric]:
        return sorted(self.client().get_metric_history(run.info.run_id, metric), key=lambda point: point.step)

    def versions(self, name: str, uri: str | None = None) -> list[ModelVersion]:
        """The registered versions with their aliases, which a search leaves out."""
        client = self.client(uri)
        found = client.search_model_versions(f"name = '{name}'")
        return [client.get_model_version(name, str(version.version)) for version in found]

    def download(self, version: ModelVersion) -> Path:
        """The ONNX file of a registered version."""
        uri = self.client().get_model_version_download_uri(version.name, str(version.version))
        return (
            Path(mlflow.artifacts.download_artifacts(uri, tracking_uri=f"sqlite:///{self.folder}/mlflow.db"))
            / "model.onnx"
        )

    def parents(self, uri: str | None = None) -> list[Run]:
        return [run for run in self.runs(uri) if "dvc.version" in run.data.tags]

    def children(self, uri: str | None = None) -> dict[str, list[Run]]:
        """The child runs by stage."""
        found: dict[str, list[Run]] = {}
        for run in self.runs(uri):
            if "dvc.stage" in run.data.tags:
                found.setdefault(run.data.tags["dvc.stage"], []).append(run)
        return found


def copy(folder: Path) -> Workplace:
    """Copy what git tracks, or would, into `folder`, without what the stages have written."""
    listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, text=True)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("artifacts/", "dvc.lock")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return Workplace(folder)


def make(folder: Path) -> Workplace:
    """A copy, committed, that trains a small network on the synthetic digits in its cache."""
    place = copy(folder)
    put_archives(folder / ".cache" / "archives" / "mnist")
    place.set("train", **SMALL)
    place.commit()
    return place


def put_archives(folder: Path) -> None:
    """400 synthetic training images and 100 test images, as archives with the note of where they come from."""
    folder.mkdir(parents=True)
    sources = {}
    for part, count, seed in (("train", 400, 1), ("t10k", 100, 2)):
        labels = np.tile(np.arange(10, dtype=np.uint8), count // 10)
        images = synthetic_images(labels, np.random.default_rng(seed))
        for name, array in ((f"{part}-images-idx3-ubyte.gz", images), (f"{part}-labels-idx1-ubyte.gz", labels)):
            (folder / name).write_bytes(idx(array))
            sources[name] = hashlib.md5(idx(array)).hexdigest()
    description = {"name": "mnist", "classes": list("0123456789"), "sources": sources}
    (folder / "dataset.json").write_text(json.dumps(description))
