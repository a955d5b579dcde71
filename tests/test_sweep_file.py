"""A sweep's file declares a grid in DVC's syntax; its experiments have readable names that git and MLflow take."""

import shutil
from pathlib import Path

import pytest

from pipeline.core import profiles
from pipeline.core.config import PARAMS_FILE
from pipeline.core.errors import ParamsError
from pipeline.experiments import run, sweep_file
from pipeline.tracking.git_tags import alias

SWEEP = """\
question: Does it help?
profile: short
variants:
  slow: [train.optimizer.name=sgd, train.optimizer.learning_rate=0.01]
  fast: [train.optimizer.name=adam, train.optimizer.learning_rate=0.001]
overrides:
  - train.mlp.hidden=[],[8,8]
  - train.model=mlp
seeds: 2
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml and a profile `short`, which is the current one; the sweeps belong there."""
    shutil.copy(PARAMS_FILE, tmp_path)
    (tmp_path / profiles.FOLDER).mkdir(parents=True)
    (tmp_path / profiles.FOLDER / "short.yaml").write_text("train: {epochs: 3, model: cnn}\n", encoding="utf-8")
    (tmp_path / sweep_file.FOLDER).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return sweep_file.FOLDER


@pytest.mark.parametrize("name", sweep_file.names())
def test_the_stages_accept_every_configuration_of_the_committed_sweeps(name: str) -> None:
    first = [each for each in sweep_file.load(name).experiments if each.seed == 1]

    for experiment in first:
        run.apply_settings(experiment.settings)
        assert alias(experiment.name)
    assert len({each.settings for each in first}) == len(first)


def test_each_variant_is_combined_with_each_point_of_the_grid_and_each_seed(folder: Path) -> None:
    (folder / "mine.yaml").write_text(SWEEP, encoding="utf-8")

    sweep = sweep_file.load("mine")

    assert [each.name for each in sweep.experiments] == [
        f"mine-{variant}-{hidden}-{seed}"
        for seed in (1, 2)
        for variant in ("slow", "fast")
        for hidden in ("none", "8_8")
    ]
    assert sweep.experiments[-1].varied == {"variant": "fast", "train.mlp.hidden": "[8,8]"}
    assert sweep.experiments[-1].configuration == "variant=fast, hidden=[8,8]"


def test_an_override_takes_precedence_over_the_profile_which_does_over_params_yaml(folder: Path) -> None:
    (folder / "mine.yaml").write_text(SWEEP, encoding="utf-8")

    train = run.apply_settings(sweep_file.load("mine").experiments[-1].settings)["train"]

    assert (train["model"], train["epochs"], train["seed"]) == ("mlp", 3, 2)
    assert train["mlp"]["hidden"] == [8, 8]
    assert train["optimizer"]["name"] == "adam"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("seeds: 2", "seeds: 0", "seeds: got 0"),
        ("seeds: 2", "", "seeds is missing"),
        ("profile: short", "profile: sort", "got 'sort', expected one of short"),
        ("[],[8,8]", "[", "expected section.key=value"),
        ("[],[8,8]", "[8],[8]", "got two configurations called"),
        ("train.model=mlp", "train.seed=1,2", "expected it in `seeds` only"),
        ("train.optimizer.name=sgd", "'train.optimizer.name=sgd,adam'", "variants.slow: got several values"),
        ("overrides:", "grid:", "overrides is missing; grid is not known here"),
        ("question: Does it help?", "- question", "expected"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(folder: Path, before: str, after: str, message: str) -> None:
    assert before in SWEEP
    (folder / "mine.yaml").write_text(SWEEP.replace(before, after), encoding="utf-8")

    with pytest.raises(ParamsError) as error:
        sweep_file.load("mine")

    assert message in str(error.value)


def test_an_unknown_name_is_answered_with_the_known_ones(folder: Path) -> None:
    (folder / "mine.yaml").write_text(SWEEP, encoding="utf-8")

    with pytest.raises(ParamsError, match="got 'yours', expected one of mine"):
        sweep_file.load("yours")
