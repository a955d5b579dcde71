"""The MLflow tags about the origin of a pipeline version."""

from pathlib import Path

import pytest

from pipeline.tracking.git_tags import origin_tags
from tests.support import project_clone


def test_a_picture_outside_of_the_commit_makes_the_tree_dirty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = project_clone.make(tmp_path)
    monkeypatch.chdir(clone.folder)
    (clone.folder / "dvc.lock").write_text("what `dvc repro` writes is ignored")
    assert origin_tags(clone.folder, ["artifacts"])["git.dirty"] == "false"

    (clone.folder / "data/3/own.png").write_bytes(b"")

    assert origin_tags(clone.folder, ["artifacts"])["git.dirty"] == "true"
