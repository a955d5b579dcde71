"""A copy of the repository in a temporary folder, with small synthetic archives in place of the published ones."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import numpy.typing as npt
from dvc.utils.serialize import dump_yaml
from mlflow.entities import Metric, Run
from mlflow.entities.model_registry import ModelVersion

from pipeline.core.config import EXPERIMENT
from pipeline.core.files import read_yaml
from tests.support.preserving import contents, preserved
from tests.support.synthetic_digits import synthetic_images

ROOT = Path(__file__).parents[2]
SMALL: dict[str, Any] = {"cnn": {"widths": [4, 8, 8], "dropout": 0.0}, "epochs": 2, "batch": 50}
# Environment variables of the user who runs the tests that must not reach a test, by prefix: those that the stages
# read, and those that their libraries read.
STAGE_SETTINGS = ("MLFLOW_", "DVC_", "DATASET_MIRROR")
SETTINGS = (
    *STAGE_SETTINGS, "BENTOML_", "GIT_", "HOME", "XDG_", "LANG", "LC_", "PYTHON", "OMP_",
    "CUDA_VISIBLE_DEVICES", "MPLCONFIGDIR",
)  # fmt: skip
LOG = ".cache/repro.log"  # what `dvc repro` printed in the fixture `computed`
HOME = tempfile.TemporaryDirectory(prefix="home-")  # an empty home folder for all commands of this process's tests
NO_MLFLOW = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}  # refuses connections: nothing is tracked


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    """A gzipped IDX file, the same bytes each time."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


class Clone:
    """A copy of the repository in `folder`: runs commands in it as a user would, and queries its MLflow store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)} | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": HOME.name,
            "DVC_SITE_CACHE_DIR": f"{HOME.name}/dvc",  # else in a folder that is shared with other users
            "GIT_CONFIG_NOSYSTEM": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "BENTOML_DO_NOT_TRACK": "true",
        }

    def run(self, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, cwd=self.folder, env=self.environment | environment, capture_output=True, text=True, timeout=900
        )

    def check_output(self, *command: str, **environment: str) -> str:
        """What a command prints, stdout before stderr. Raises AssertionError with the output if it fails."""
        done = self.run(*command, **environment)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def commit(self) -> None:
        """Make the folder a git repository with everything in one commit."""
        self.check_output("git", "init", "--quiet", "--initial-branch", "main")
        self.check_output("git", "add", "--all")
        # In the repository itself: DVC's experiments need an identity, and a fresh machine has none.
        self.check_output("git", "config", "user.name", "nobody")
        self.check_output("git", "config", "user.email", "nobody@example.org")
        self.check_output("git", "commit", "--quiet", "--message", "start")

    def set(self, section: str, **values: Any) -> None:
        """Change values in a section of params.yaml."""
        path = self.folder / "params.yaml"
        tree = read_yaml(path)
        tree[section] |= values
        dump_yaml(path, tree)

    def preserved(self, *names: str) -> AbstractContextManager[None]:
        """Restore these files and folders when the block ends, however it ends."""
        return preserved(*(self.folder / name for name in names))

    @contextmanager
    def changed(self, section: str, **values: Any) -> Iterator[None]:
        """Other values in a section of params.yaml until the block ends."""
        with self.preserved("params.yaml"):
            self.set(section, **values)
            yield

    def outputs(self, stage: str) -> dict[str, bytes]:
        """The files in artifacts/<stage>, by path in that folder."""
        folder = self.folder / "artifacts" / stage
        return {path.relative_to(folder).as_posix(): content for path, content in contents(folder).items()}

    def client(self, uri: str | None = None) -> mlflow.MlflowClient:
        uri = uri or f"sqlite:///{self.folder}/mlflow.db"
        return mlflow.MlflowClient(uri, uri)

    def runs(self, uri: str | None = None) -> list[Run]:
        experiment = self.client(uri).get_experiment_by_name(EXPERIMENT)
        return list(self.client(uri).search_runs([experiment.experiment_id])) if experiment else []

    def history(self, run: Run, metric: str) -> list[Metric]:
        return sorted(self.client().get_metric_history(run.info.run_id, metric), key=lambda point: point.step)

    def versions(self, name: str, uri: str | None = None) -> list[ModelVersion]:
        """The registered versions of a model with their aliases, which a search leaves out."""
        client = self.client(uri)
        found = client.search_model_versions(f"name = '{name}'")
        return [client.get_model_version(name, str(version.version)) for version in found]

    def download(self, version: ModelVersion) -> Path:
        """The ONNX file of a registered version."""
        uri = self.client().get_model_version_download_uri(version.name, str(version.version))
        store = f"sqlite:///{self.folder}/mlflow.db"
        return Path(mlflow.artifacts.download_artifacts(uri, tracking_uri=store)) / "model.onnx"

    def parents(self, uri: str | None = None) -> list[Run]:
        return [run for run in self.runs(uri) if "dvc.version" in run.data.tags]

    def children(self, uri: str | None = None) -> dict[str, list[Run]]:
        """The child runs, by stage."""
        found: dict[str, list[Run]] = {}
        for run in self.runs(uri):
            if "dvc.stage" in run.data.tags:
                found.setdefault(run.data.tags["dvc.stage"], []).append(run)
        return found


def copy(folder: Path) -> Clone:
    """Copy the repository into `folder`: tracked and untracked files, without those that stages write."""
    for name in tracked():
        if (ROOT / name).is_file() and not name.startswith(("artifacts/", "dvc.lock")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return Clone(folder)


def tracked() -> list[str]:
    """The repository's files that git tracks or would add; in a tarball without git all but generated ones."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [name for name in listed.stdout.split("\0") if name]
    generated = {".venv", ".cache", ".dvc", "mlartifacts", "__pycache__"}
    found = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
    kept = [path for path in found if not generated & set(path.parts) and not path.name.startswith("mlflow.db")]
    return [".dvc/config", ".dvc/.gitignore", *(path.as_posix() for path in kept)]


def git_clone(folder: Path) -> Clone:
    """A clone, made by git, of what is committed."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return Clone(folder)


def duplicate(original: Clone, folder: Path) -> Clone:
    """A copy of a clone with everything in it, including its MLflow store and DVC cache, and the same environment."""
    shutil.copytree(original.folder, folder, symlinks=True)
    clone = Clone(folder)
    clone.environment = dict(original.environment)
    return clone


def make(folder: Path) -> Clone:
    """A copy of the repository, committed, with synthetic archives in its cache and parameters of a short training."""
    clone = copy(folder)
    put_archives(folder / ".cache" / "archives" / "mnist")
    clone.set("train", **SMALL)
    clone.set("score", pictures=5)
    clone.set("promote", min_accuracy=0.0, max_refused=1.0)
    clone.commit()
    return clone


def put_archives(folder: Path) -> None:
    """Write archives of 400 synthetic training images and 100 test images, and the description of the data set."""
    folder.mkdir(parents=True)
    sources = {}
    for part, count, seed in (("train", 400, 1), ("t10k", 100, 2)):
        labels = np.tile(np.arange(10, dtype=np.uint8), count // 10)
        images = synthetic_images(labels, np.random.default_rng(seed))
        for name, array in ((f"{part}-images-idx3-ubyte.gz", images), (f"{part}-labels-idx1-ubyte.gz", labels)):
            (folder / name).write_bytes(idx(array))
            sources[name] = hashlib.md5(idx(array)).hexdigest()
    description = {"name": "mnist", "classes": list("0123456789"), "sources": sources, "preprocessing": "ink"}
    (folder / "dataset.json").write_text(json.dumps(description))
