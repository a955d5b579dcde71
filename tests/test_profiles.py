"""Profiles are overlays on params.yaml whose values the stages accept, and each has its make target."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.core import profiles
from pipeline.core.config import PARAMS_FILE
from pipeline.core.errors import ParamsError
from pipeline.core.files import read_yaml
from pipeline.experiments import preflight
from pipeline.experiments.run import apply_settings, profile_settings
from tests.support import project_clone


@pytest.fixture
def overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a profile `mine`, not yet written, in a folder with params.yaml, which is the current one."""
    shutil.copy(PARAMS_FILE, tmp_path)
    (tmp_path / profiles.FOLDER).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return profiles.path_of("mine")


@pytest.mark.parametrize("name", profiles.names())
def test_the_stages_accept_its_values(name: str) -> None:
    preflight.check(profiles.apply(name), profiles.path_of(name))


@pytest.mark.parametrize("name", profiles.names())
def test_it_changes_params_yaml(name: str) -> None:
    assert profiles.apply(name) != profiles.apply("default") == read_yaml(PARAMS_FILE)


@pytest.mark.parametrize("name", profiles.names())
def test_dvc_applies_it_as_the_loader_does(name: str) -> None:
    assert apply_settings(profile_settings(name)) == profiles.apply(name)


@pytest.mark.parametrize("name", profiles.names())
def test_a_comment_at_its_top_says_what_it_is_for(name: str) -> None:
    assert profiles.path_of(name).read_text(encoding="utf-8").startswith("# ")


def test_each_has_its_make_target_and_each_target_its_profile() -> None:
    rule = r"^([a-z ]+): .*\n.*--profile \$@"
    (targets,) = re.findall(rule, Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE)

    assert sorted(targets.split()) == profiles.names()


def test_it_changes_the_keys_that_it_has_and_no_others(overlay: Path) -> None:
    overlay.write_text("train:\n  epochs: 3\n  optimizer: {name: adam}\n")
    expected = read_yaml(PARAMS_FILE)
    expected["train"]["epochs"] = 3
    expected["train"]["optimizer"]["name"] = "adam"

    assert profiles.apply("mine") == expected
    assert profile_settings("mine") == ["train.epochs=3", 'train.optimizer.name="adam"']


def test_changes_come_after_the_profile() -> None:
    assert profiles.apply("fast", {"train": {"epochs": 7}})["train"]["epochs"] == 7
    with pytest.raises(ParamsError, match=r"train\.epoch is not a setting in params\.yaml"):
        profiles.apply("fast", {"train": {"epoch": 7}})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("train: {epoch: 1}", r"train\.epoch is not a setting in params\.yaml; did you mean train\.epochs\?"),
        ("trian: {epochs: 1}", r"trian is not a setting in params\.yaml; did you mean train\?"),
        ("train.epochs: 1", r"train\.epochs is not a setting in params\.yaml"),
        ("train: {epochs: four}", r"train\.epochs: got 'four', expected a valid integer"),
        ("train: {epochs: {most: 4}}", r"train\.epochs: got {'most': 4}, expected a valid integer"),
        (
            "train: {optimizer: {learning_rate: 11.0}}",
            r"train\.optimizer\.learning_rate: got 11\.0, expected less than",
        ),
        ("train: {optimizer: adam}", r"train\.optimizer: got 'adam', expected a mapping with name, learning_rate, "),
        ("train:", r"train: got None, expected a mapping with model, "),
        ("", "expected the sections download, .*export, got None"),
        ("- 1", r"expected the sections download, .*export, got \[1\]"),
        ("train: {", "expected YAML, got: "),
    ],
)
def test_what_is_wrong_in_a_profile_is_named_with_its_file(overlay: Path, content: str, expected: Any) -> None:
    overlay.write_text(content)
    with pytest.raises(ParamsError, match=rf"^{overlay}: {expected}"):
        profile_settings("mine")


def test_a_profile_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(ParamsError, match="got 'fats', expected one of best, fashion, fast, fastest, textbook"):
        profiles.load("fats")


def test_a_benchmark_names_an_unknown_setting(tmp_path: Path) -> None:
    done = project_clone.copy(tmp_path).run("python", "-m", "benchmarks.ablation", "train.epoch=3")

    assert done.returncode == 1
    assert done.stderr == "error: SET: train.epoch is not a setting in params.yaml; did you mean train.epochs?\n"
