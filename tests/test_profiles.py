"""The profiles in pipeline/profiles/ are made of settings that the stages take, and each has its command."""

import re
from pathlib import Path

import pytest

from pipeline.core import profiles
from tests.support import project_clone
from tests.test_params import STAGES

NAMES = sorted(path.stem for path in profiles.FOLDER.glob("*.txt"))


@pytest.mark.parametrize("name", NAMES)
def test_each_stage_takes_its_settings(name: str) -> None:
    tree = profiles.tree(name)

    for stage, section in STAGES.items():
        assert section.model_validate(tree[stage]).model_dump() == tree[stage]


@pytest.mark.parametrize("name", NAMES)
def test_it_changes_what_it_names(name: str) -> None:
    assert profiles.tree(name) != profiles.tree("default")


def test_each_has_its_command_and_each_command_its_profile() -> None:
    rule = r"^([a-z ]+): .*\n.*--profile \$@"
    (targets,) = re.findall(rule, Path("Makefile").read_text(), re.MULTILINE)

    assert sorted(targets.split()) == NAMES


def test_a_setting_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "changes", lambda name: {"train.epoch": 1})

    with pytest.raises(KeyError, match=r"fast: train\.epoch"):
        profiles.tree("fast")


def test_what_is_tried_has_to_be_a_setting(tmp_path: Path) -> None:
    done = project_clone.copy(tmp_path).run("python", "-m", "benchmarks.ablation", "train.epoch=3")

    assert done.returncode == 1
    assert done.stderr == "error: expected settings of params.yaml, got 'default: train.epoch'\n"
