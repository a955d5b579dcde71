"""The inputs of a stage before it runs, and their key, which dvc.lock gives after it as well."""

import hashlib
import json
from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.core.stage_inputs import content_md5, inputs_key, read_stage

DVC_YAML = """stages:
  train:
    cmd: x
    params:
      - train
      - versions.yaml: [torch, numpy]
    deps: [train.py, images, data]
"""
PARAMS = {"params.yaml": {"train": {"epochs": 3}}, "versions.yaml": {"torch": "2.15.0", "numpy": "2.5.5"}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a stage's declaration and all that it names."""
    monkeypatch.chdir(tmp_path)
    for path, text in {
        "dvc.yaml": DVC_YAML,
        "params.yaml": "train: {epochs: 3}\nscore: {first: 10}\n",
        "versions.yaml": 'numpy: "2.5.5"\npytest: "9.1.0"\ntorch: "2.15.0"\n',
        "train.py": "code",
        "images/train/1.npy": "1",
        "data/7.png": "7",
        "data.dvc": "outs:\n- {path: data, md5: 0123.dir}\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_the_key_is_the_sha_256_of_name_parameters_and_dependencies_as_json() -> None:
    params, deps = {"params.yaml": {"b": 1, "a": [2.5, None]}}, {"z.py": "0f", "a.py": "f0"}
    text = '["train", {"params.yaml": {"a": [2.5, null], "b": 1}}, {"a.py": "f0", "z.py": "0f"}]'

    assert inputs_key("train", params, deps) == hashlib.sha256(text.encode()).hexdigest()


def test_parameters_are_those_that_dvc_yaml_lists_by_file(folder: Path) -> None:
    assert read_stage("train").params == PARAMS


def test_a_dependency_has_the_md5_that_dvc_records(folder: Path) -> None:
    one = hashlib.md5(b"1").hexdigest()
    listing = json.dumps([{"md5": one, "relpath": "train/1.npy"}])

    assert read_stage("train").deps == {
        "train.py": hashlib.md5(b"code").hexdigest(),
        "images": hashlib.md5(listing.encode()).hexdigest() + ".dir",
        "data": "0123.dir",  # that of its .dvc file
    }
    assert content_md5(Path("nothing")) == ""


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("params.yaml", "epochs: 3", "epochs: 2"),
        ("versions.yaml", "2.15.0", "2.16.0"),
        ("train.py", "code", "other code"),
        ("images/train/1.npy", "1", "2"),
        ("data.dvc", "0123", "3210"),
    ],
)
def test_the_key_changes_with_whatever_the_stage_depends_on(folder: Path, path: str, before: str, after: str) -> None:
    key = read_stage("train").inputs_key

    (folder / path).write_text((folder / path).read_text().replace(before, after))

    assert read_stage("train").inputs_key != key


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("params.yaml", "first: 10", "first: 20"),
        ("versions.yaml", "9.1.0", "9.2.0"),
        ("versions.yaml", "numpy", "# a comment\nnumpy"),
    ],
)
def test_the_key_stays_when_something_else_changes(folder: Path, path: str, before: str, after: str) -> None:
    key = read_stage("train").inputs_key

    (folder / path).write_text((folder / path).read_text().replace(before, after))

    assert read_stage("train").inputs_key == key


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("dvc.yaml", "stages: {eda: {cmd: x}}", "dvc.yaml: expected a stage named train, got none"),
        ("dvc.yaml", "- train", "dvc.yaml: expected DVC's stages, got none; `git checkout HEAD -- dvc.yaml` restores"),
        ("versions.yaml", 'torch: "2.15.0"', "versions.yaml: expected the parameters numpy, got none"),
        ("versions.yaml", "{", "versions.yaml: expected parameters as YAML, got: "),
        ("data.dvc", "outs: []", "data.dvc: expected DVC's YAML with an md5, got: "),
    ],
)
def test_a_file_that_lacks_what_is_declared_is_named(folder: Path, path: str, text: str, message: str) -> None:
    (folder / path).write_text(text)

    with pytest.raises(DataError) as error:
        read_stage("train")

    assert str(error.value).startswith(message)
