"""A search's declaration, its values as settings, params.yaml with them, and the comparison's verdict."""

import math
import re
from pathlib import Path
from typing import Any

import optuna
import pytest

from pipeline.core import profiles
from pipeline.core.config import PARAMS_FILE
from pipeline.core.errors import ParamsError, StorageError
from pipeline.experiments.search import comparison, space
from pipeline.experiments.search.apply import with_settings
from pipeline.experiments.search.space import FOLDER, Search
from pipeline.experiments.search.study import open_storage
from pipeline.training.state import EpochRow

SMALL = """
objective: validation_loss
trials: 3
fixed: {train.epochs: 2}
space:
  train.optimizer.learning_rate: {low: 0.001, high: 0.5, log: true}
  train.cnn.widths: {choices: [[16, 32, 64], [4, 8, 8]]}
  train.batch: {low: 32, high: 128}
"""


def load(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    """The search that `text` declares."""
    (folder / "small.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(space, "FOLDER", folder)
    return Search.load("small")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    return load(SMALL, tmp_path, monkeypatch)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_declared_search_has_values_that_the_training_takes_and_contains_params_yaml(path: Path) -> None:
    search = Search.load(path.stem)

    default = search.default()
    assert default is not None
    flat = dict(profiles.flatten(search.params))
    assert search.settings(default) == {key: flat[key] for key in search.declaration.space}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_search_decides_what_the_validation_images_cannot_judge(path: Path) -> None:
    assert {"train.drawn_digits", "train.outliers", "train.refused", "train.seed"}.isdisjoint(
        Search.load(path.stem).declaration.space
    )


def test_values_are_drawn_from_the_space_and_numbers_are_rounded_to_be_read(small: Search) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(1))
    drawn = [small.suggest(study.ask()) for _ in range(30)]

    rates, widths, batches = ([settings[key] for settings in drawn] for key in small.declaration.space)
    assert all(0.001 <= rate <= 0.5 and rate == float(f"{rate:.3g}") for rate in rates)
    assert sum(rate < 0.0224 for rate in rates) == pytest.approx(15, abs=8)  # the middle of the logarithms
    assert {tuple(width) for width in widths} == {(16, 32, 64), (4, 8, 8)}
    assert all(isinstance(batch, int) and 32 <= batch <= 128 for batch in batches)
    assert small.train_params(small.declaration.fixed | drawn[0]).epochs == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "train.batch",
            "train.batches",
            r"train\.batches is not a setting in params\.yaml; did you mean train\.batch\?",
        ),
        (
            "train.batch",
            "normalise.seed",
            r"got normalise\.seed, expected settings of the section train: the data stays",
        ),
        ("high: 128", "high: 8", r"space\.train\.batch.*expected low < high"),
        ("low: 0.001", "low: 0.0", r"learning_rate.*low > 0 for its logarithm"),
        ("low: 32", "low: 1", r"train\.batch: got 1, expected greater than or equal to 2"),
        ("train.epochs: 2", "train.epochs: 0", r"train\.epochs: got 0, expected greater than or equal to 1"),
        ("validation_loss", "test_loss", r"objective: got 'test_loss', expected 'validation_loss' or"),
        ("trials: 3", "trials: many", r"trials: got 'many'"),
    ],
)
def test_a_wrong_declaration_is_named_with_its_file(
    old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ParamsError, match=rf"small\.yaml: .*{message}"):
        load(SMALL.replace(old, new), tmp_path, monkeypatch)


def test_a_search_that_is_not_declared_is_named_with_those_that_are() -> None:
    with pytest.raises(ParamsError, match=r"^pipeline/searches: got 'cn', expected one of cnn; did you mean cnn\?$"):
        Search.load("cn")


def test_a_database_that_cannot_be_reached_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCH_STORAGE", "postgresql://me:secret@127.0.0.1:1/searches")
    with pytest.raises(
        StorageError, match=r"SEARCH_STORAGE: expected .*127\.0\.0\.1:1/searches, got.* refused"
    ) as caught:
        open_storage("small")
    assert "secret" not in str(caught.value)


def test_only_like_is_compared_with_like(small: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def named(old: str, new: str) -> str:
        return load(SMALL.replace(old, new), tmp_path, monkeypatch).study_name()

    assert named("trials: 3", "trials: 9") == small.study_name()  # more of the same
    assert named("train.epochs: 2", "train.epochs: 3") != small.study_name()
    assert named("high: 0.5", "high: 0.4") != small.study_name()
    other = Search(small.name, small.declaration, profiles.merge(small.params, {"train": {"averaging": 0.5}}, Path()))
    assert other.study_name() != small.study_name()
    applied = Search(small.name, small.declaration, profiles.merge(small.params, {"train": {"batch": 64}}, Path()))
    assert applied.study_name() == small.study_name()  # of what is searched, params.yaml has no influence


def test_params_yaml_gets_the_settings_and_keeps_its_comments_and_layout() -> None:
    text = PARAMS_FILE.read_text(encoding="utf-8")
    settings = {"train.cnn.widths": [8, 16, 32], "train.optimizer.learning_rate": 0.0123, "train.batch": 96}

    changed = with_settings(text, settings).splitlines()

    assert with_settings(text, {}) == text
    differing = [line for line, before in zip(changed, text.splitlines(), strict=True) if line != before]
    assert differing == ["    widths: [8, 16, 32]", "    learning_rate: 0.0123", "  batch: 96"]


@pytest.mark.parametrize(
    ("gains", "probability"),
    [([1, 2, 3, 4, 5], 1 / 32), ([1, 1, 1], 1 / 8), ([-1, -2, -3], 1), ([0, 0], 1), ([3, -1], 1 / 2)],
)
def test_the_sign_flip_test_is_exact(gains: list[float], probability: float) -> None:
    assert math.isclose(comparison.sign_flip(gains), probability)


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        (
            [0.001, 0.002, 0.001, 0.003, 0.001],
            r"The best trial beats params\.yaml in validation loss .*p = 0\.031\)\.$",
        ),
        ([0.001, 0.002, -0.001, 0.003, -0.002], r"The best trial does not beat params\.yaml in validation loss beyond"),
        ([-0.001, -0.002, -0.001, -0.003, -0.001], r"does not beat params\.yaml .*p = 1\.000"),
    ],
)
def test_the_verdict_says_whether_more_than_chance_decided(small: Search, gains: list[float], verdict: str) -> None:
    seeds = range(1001, 1006)
    kept: dict[str, Any] = {
        "default": {seed: EpochRow(1, 0.5, 0.5, 0.02, 0.99) for seed in (*seeds, 1006)},
        "best": {seed: EpochRow(1, 0.5, 0.5, 0.02 - gain, 0.99) for seed, gain in zip(seeds, gains, strict=True)},
    }

    text = comparison.compare(small, kept, 4999, (14, 14))

    assert "5 fresh seeds, 14 epochs, 4,999 validation images" in text
    assert "params.yaml 0.02000 ± 0.00000" in text
    assert any(re.search(verdict, line) for line in text.splitlines())
