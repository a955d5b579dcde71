"""dvc.lock compared with dvc.yaml, params.yaml and the files on disk, before MLflow gets anything of it."""

from pathlib import Path

import pytest
from dvc.repo import Repo

from pipeline.core.errors import DataError, TrackingError
from pipeline.core.stage_inputs import content_md5
from pipeline.tracking.dvc_lock import read_lock
from pipeline.tracking.dvc_repository import DvcRepository
from pipeline.tracking.lock_check import check_files, check_shape

YAML = "stages:\n  train:\n    cmd: x\n    params: [train]\n    deps: [train.py, data.npy]\n    outs: [model]\n"
LOCK = """schema: '2.0'
stages:
  train:
    cmd: x
    deps:
    - {path: data.npy, md5: DATA}
    - {path: train.py, md5: CODE}
    params:
      params.yaml:
        train: {epochs: 3}
    outs:
    - {path: model, md5: MODEL}
"""


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The text of the dvc.lock of a stage in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    Repo.init(no_scm=True).close()
    Path("dvc.yaml").write_text(YAML)
    Path("params.yaml").write_text("train: {epochs: 3}")
    text = LOCK
    for name, file in (("DATA", "data.npy"), ("CODE", "train.py"), ("MODEL", "model")):
        Path(file).write_text(name)
        text = text.replace(name, content_md5(Path(file)))
    return text


def judge(text: str) -> list[str]:
    Path("dvc.lock").write_text(text)
    stages = read_lock()
    check_shape(stages)
    check_files(stages)
    with DvcRepository(Path()) as repository:
        return sorted({*repository.version().incomplete, *repository.changed_stages()})


def test_a_lock_that_agrees_with_the_files_is_current(lock: str) -> None:
    assert judge(lock) == []


@pytest.mark.parametrize(
    ("before", "after"), [("epochs: 3", "epochs: 2"), ("train: {", "drain: {"), ("params.yaml:", "qarams.yaml:")]
)
def test_other_parameters_are_reported(lock: str, before: str, after: str) -> None:
    assert judge(lock.replace(before, after)) == ["train"]


def test_code_that_was_edited_is_reported(lock: str) -> None:
    Path("train.py").write_text("edited")
    assert judge(lock) == ["train"]


@pytest.mark.parametrize("file", ["data.npy", "model"])
def test_damaged_data_and_outputs_are_refused(lock: str, file: str) -> None:
    Path(file).write_text("damaged")
    with pytest.raises(TrackingError, match=rf"^{file}: got contents that differ from dvc\.lock"):
        judge(lock)


@pytest.mark.parametrize(
    ("before", "after"),
    [("deps:", "eeps:"), ("outs:", "nuts:"), ("data.npy", "data.nqy"), ("path: model", "path: modem")],
)
def test_other_data_and_outputs_than_in_dvc_yaml_are_refused(lock: str, before: str, after: str) -> None:
    with pytest.raises(TrackingError, match=r"dvc\.lock: train: got (deps|outs) that differ from dvc\.yaml in"):
        judge(lock.replace(before, after))


@pytest.mark.parametrize(
    ("before", "after"), [("params.yaml:\n        train: {epochs: 3}", "params.yaml:"), ("md5: ", "md7: ")]
)
def test_a_lock_with_missing_parts_is_a_sentence(lock: str, before: str, after: str) -> None:
    with pytest.raises(DataError, match=r"dvc\.lock: expected"):
        judge(lock.replace(before, after))
