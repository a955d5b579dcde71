"""The README's recipe for a DVC remote, followed from one clone to another."""

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.support import project_clone
from tests.support.dvc_output import commit_as_advised
from tests.support.project_clone import LOG, Clone


@pytest.fixture
def pushed(computed: Clone, tmp_path: Path) -> Clone:
    """A clone whose results are committed and pushed to a folder."""
    clone = project_clone.duplicate(computed, tmp_path / "first")
    commit_as_advised(clone, (clone.folder / LOG).read_text())
    clone.check_output("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    clone.check_output("git", "commit", "--quiet", "--message", "a remote", ".dvc/config")
    clone.check_output("dvc", "push")
    clone.check_output("git", "tag", "--annotate", "model@v1.0.0", "--message", "the first")
    return clone


def test_a_second_clone_pulls_the_results_and_has_them_in_its_own_mlflow(pushed: Clone, tmp_path: Path) -> None:
    pushed.check_output("git", "clone", "--quiet", str(pushed.folder), str(tmp_path / "second"))
    second = Clone(tmp_path / "second")

    second.check_output("dvc", "pull")
    printed = second.check_output("python", "-m", "pipeline.track")

    assert "model mnist version 1" in printed
    (version,) = second.versions("mnist")
    model = (pushed.folder / "artifacts/export/model.onnx").read_bytes()
    assert version.tags["sha256"] == hashlib.sha256(model).hexdigest()


def test_dvc_gets_the_model_by_its_name_and_version(pushed: Clone, tmp_path: Path) -> None:
    shutil.rmtree(pushed.folder / ".dvc/cache")  # from the remote
    out = tmp_path / "model.onnx"

    pushed.check_output("dvc", "artifacts", "get", str(pushed.folder), "model", "--rev", "v1.0.0", "--out", str(out))

    assert out.read_bytes() == (pushed.folder / "artifacts/export/model.onnx").read_bytes()
