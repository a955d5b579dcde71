"""params.yaml is read strictly; an error names the file, the key, what was found and what was expected."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import dump_yaml
from pydantic import ValidationError

from pipeline import eda, normalise, train
from pipeline.core.config import COMMAND_SECTIONS, SECTIONS, Section, did_you_mean, load
from pipeline.core.errors import ParamsError
from pipeline.core.files import read_yaml
from pipeline.experiments.preflight import COMMANDS, STAGES

COMMITTED = Path(__file__).parent.parent / "params.yaml"


def changed(folder: Path, key: str, value: Any) -> Path:
    """The committed file with another value under a path such as `train.optimizer.name`."""
    tree = read_yaml(COMMITTED)
    *groups, last = key.split(".")
    place = tree
    for group in groups:
        place = place[group]
    place[last] = value
    dump_yaml(folder / "params.yaml", tree)
    return folder / "params.yaml"


def sections(section: Section) -> Iterator[Section]:
    yield section
    for value in section.__dict__.values():
        if isinstance(value, Section):
            yield from sections(value)


@pytest.mark.parametrize(("section", "model"), (STAGES | COMMANDS).items())
def test_the_committed_file_has_the_settings_of_each_stage_and_command(section: str, model: type[Section]) -> None:
    assert load(section, model, COMMITTED).model_dump() == read_yaml(COMMITTED)[section]


def test_each_section_of_the_committed_file_belongs_to_a_stage_or_a_command() -> None:
    assert set(read_yaml(COMMITTED)) == set(STAGES | COMMANDS) == {*SECTIONS, *COMMAND_SECTIONS}


@pytest.mark.parametrize("stage", STAGES)
def test_settings_cannot_be_changed_once_loaded(stage: str) -> None:
    for section in sections(load(stage, STAGES[stage], COMMITTED)):
        for name, value in section.__dict__.copy().items():
            with pytest.raises(ValidationError, match="frozen"):
                setattr(section, name, value)


@pytest.mark.parametrize("key", ["normalise.sed", "train.optimizer.beta", "train.cnn.depth"])
def test_an_unknown_key_is_named(tmp_path: Path, key: str) -> None:
    stage = key.split(".")[0]
    with pytest.raises(ParamsError, match=rf"params\.yaml: {key} is not a setting of this stage"):
        load(stage, STAGES[stage], changed(tmp_path, key, 1))


def test_an_unknown_section_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"{COMMITTED.read_text()}\nscroe: {{worst: 3}}\n")
    with pytest.raises(ParamsError, match=r"params\.yaml: got a section 'scroe', expected only download, eda,"):
        load("eda", STAGES["eda"], path)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("train.epoch", "train.epochs"),
        ("train.optimiser", "train.optimizer"),
        ("train.learning_rate", "train.optimizer.learning_rate"),
        ("train.cnn.width", "train.cnn.widths"),
        ("normalise.sed", "normalise.seed"),
    ],
)
def test_the_error_for_an_unknown_key_suggests_a_similar_one(tmp_path: Path, key: str, meant: str) -> None:
    stage = key.split(".")[0]
    with pytest.raises(ParamsError, match=rf"{key} is not a setting of this stage; did you mean {meant}\?"):
        load(stage, STAGES[stage], changed(tmp_path, key, 1))


def test_the_error_for_a_misspelt_section_suggests_the_right_one(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"{COMMITTED.read_text()}\nnormalize: {{seed: 3}}\n")
    with pytest.raises(ParamsError, match=r"got a section 'normalize', .*; did you mean normalise\?"):
        load("eda", STAGES["eda"], path)


def test_a_key_that_is_similar_to_no_other_gets_no_suggestion() -> None:
    assert did_you_mean("train.colour", ["train.epochs", "train.optimizer.name"]) == ""


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = changed(tmp_path, "train.schedule", {"name": "step", "warmup": 0, "step_epochs": 1})
    with pytest.raises(ParamsError, match=r"params\.yaml: train\.schedule\.gamma is missing"):
        load("train", train.Params, path)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("normalise.seed", "one", "integer"),
        ("normalise.seed", 1.0, "integer"),
        ("normalise.seed", True, "integer"),
        ("train.epochs", None, "integer"),
        ("train.optimizer.learning_rate", "fast", "number"),
        ("train.optimizer", "sgd", "dictionary"),
        ("train.cnn.widths", [16, 32, "64"], "integer"),
        ("train.threads", "four", "'auto' or a whole number from 1 to 256"),
        ("train.threads", 0, "'auto' or a whole number from 1 to 256"),
        ("train.threads", True, "'auto' or a whole number from 1 to 256"),
        ("train.model", "rnn", "'mlp', 'cnn' or 'resnet'"),
        ("normalise.validation_share", 0.0, "greater than 0"),
        ("normalise.validation_share", 1.0, "less than 1"),
        ("normalise.seed", -1, "greater than or equal to 0"),
        ("train.optimizer.learning_rate", 11.0, "less than or equal to 10"),
        ("train.optimizer.learning_rate", float("nan"), "less than or equal to 10"),
        ("train.augmentation.rotation", 90.0, "less than or equal to 45"),
        ("train.cnn.widths", [16, 32], "at least 3 items"),
        ("train.batch", 1, "greater than or equal to 2"),
        ("export.opset", 17, "greater than or equal to 18"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(tmp_path: Path, key: str, value: Any, expected: str) -> None:
    stage = key.split(".")[0]
    with pytest.raises(ParamsError, match=rf"params\.yaml: {key}.*: got .*, expected .*{expected}"):
        load(stage, STAGES[stage], changed(tmp_path, key, value))


def test_all_errors_are_reported_at_once(tmp_path: Path) -> None:
    path = changed(tmp_path, "train.schedule", {"name": "step", "warmup": 2.0, "gamma": 2.0, "step_epochs": 1})
    with pytest.raises(ParamsError, match=r"train\.schedule\.warmup: .*; train\.schedule\.gamma: "):
        load("train", train.Params, path)


def test_a_number_in_scientific_notation_needs_no_dot(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(
        "normalise: {validation_share: 1e-3, method: unit, seed: 010, corrections_share: 0.0}"
    )
    settings = load("normalise", normalise.Params, tmp_path / "params.yaml")
    assert (settings.validation_share, settings.seed) == (0.001, 10)


@pytest.mark.parametrize("content", ["eda: {mosaic_columns: 1}", "normalise:", "normalise: 3"])
def test_a_missing_section_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(ParamsError, match=r"params\.yaml: expected a section named 'normalise'"):
        load("normalise", normalise.Params, tmp_path / "params.yaml")


@pytest.mark.parametrize(("content", "got"), [("", "None"), ("- 1", r"\[1\]"), ("train", "'train'")])
def test_a_file_without_sections_is_named(tmp_path: Path, content: str, got: str) -> None:
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(ParamsError, match=rf"params\.yaml: expected the sections download, .*export, got {got}"):
        load("normalise", normalise.Params, tmp_path / "params.yaml")


@pytest.mark.parametrize("content", [b"normalise: {", b"a: b: c", b"\xff\xff", b"a: !!python/name:os.system"])
def test_a_file_that_is_not_yaml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(ParamsError, match=r"params\.yaml: expected YAML, got: [^\n]+$"):
        load("normalise", normalise.Params, tmp_path / "params.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"params\.yaml: expected the pipeline's parameters, got No such file"):
        load("normalise", normalise.Params, tmp_path / "params.yaml")


def test_an_invalid_date_is_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("eda: {mosaic_columns: 2024-99-99}")

    with pytest.raises(ParamsError, match=r"params\.yaml: expected YAML"):
        load("eda", eda.Params, tmp_path / "params.yaml")
