"""The stage `score`, on synthetic digits and an untrained network."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline import score
from pipeline.core.files import write_bytes
from pipeline.data import corrections
from pipeline.data.colours import paint
from pipeline.data.dataset import DIGITS, Description, Split
from pipeline.data.limits import Preprocessing
from pipeline.model import classifier
from pipeline.model.classifier import Classifier
from pipeline.model.networks import Architecture, CnnParams, MlpParams, ResnetParams
from tests.support.pictures import encoded, ink, on_paper
from tests.support.project_clone import ROOT

SHAPE = Architecture(
    model="cnn",
    mlp=MlpParams(hidden=[4], activation="relu", dropout=0.5),
    cnn=CnnParams(widths=[2, 3, 4], dropout=0.0),
    resnet=ResnetParams(stem=2, early_pooling=True, widths=[3, 4], blocks=1, dropout=0.0),
    classes=10,
    outliers=True,
    subtract=0.13,
    divide_by=0.31,
)


def run_stage(
    folder: Path, digits: Split, classes: tuple[str, ...], preprocessing: Preprocessing, pictures: int
) -> dict[str, Any]:
    """Run the stage in the folder, with as many pictures of handwriting, and return its metrics."""
    params = (ROOT / "params.yaml").read_text()
    assert "  pictures: 200 " in params
    (folder / "params.yaml").write_text(params.replace("  pictures: 200 ", "  pictures: 3 "))
    Description("tiny", classes, {}, preprocessing).save(folder / "artifacts/download/dataset.json")
    digits.save(folder / "artifacts/download", "test")
    digits.save(folder / "artifacts/normalise", "validation")
    torch.manual_seed(1)
    shape = SHAPE.model_copy(update={"channels": digits.channels})
    classifier.save(folder / "artifacts/train/model", shape, Classifier.from_architecture(shape).state_dict())
    (folder / "data" / "5").mkdir(parents=True)
    for number in range(pictures):
        (folder / "data" / "5" / f"{number}.png").write_bytes(encoded(on_paper(ink(5))))
    score.main()
    metrics: dict[str, Any] = json.loads((folder / "artifacts/score/metrics.json").read_text())
    return metrics


def lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def test_digits_are_scored_on_the_test_set_handwriting_slices_corruptions_and_outliers(
    tmp_path: Path, digits: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    metrics = run_stage(tmp_path, digits, DIGITS, "ink", pictures=2)

    assert sorted(metrics) == ["corruptions", "handwriting", "outliers", "slices", "test"]
    named = {name: value for name, value in metrics["corruptions"].items() if name != "mean"}
    assert len(named) == 15
    assert metrics["corruptions"]["mean"] == pytest.approx(np.mean(list(named.values())))
    assert metrics["outliers"]["images"] == 1000
    assert len(lines("artifacts/score/tables/slices.csv")) == 1 + len(metrics["slices"])
    header, *rows = lines("artifacts/score/coverage.csv")
    assert header == "coverage,test_accuracy_at_coverage,handwriting_accuracy_at_coverage"
    assert [int(row.split(",")[0]) for row in rows] == list(range(1, 101))
    assert float(rows[-1].split(",")[1]) == metrics["test"]["accuracy"]


def test_corrections_are_a_slice_of_their_own_without_those_of_pictures_that_train(
    tmp_path: Path, digits: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trained, new, none = digits.images[:3]
    for label, picture, image in (
        ("0", "a", trained),
        ("none", "a", np.flip(trained)),
        ("1", "b", new),
        ("none", "c", none),
    ):
        file = corrections.file_of(label, 16 * picture, image)
        write_bytes(tmp_path / "data" / "corrections" / file, corrections.encode(image))
    digits.take(np.array([0, 9])).save(tmp_path / "artifacts/normalise", "train")

    metrics = run_stage(tmp_path, digits, DIGITS, "ink", pictures=1)["corrections"]

    assert (metrics["images"], metrics["none"]) == (1, 1)
    assert metrics["none_refused"] in (0.0, 1.0)
    header, row = lines("artifacts/score/tables/corrections.csv")
    assert header.startswith("file,label,digit,confidence,score,p0")
    assert row.startswith(f"{corrections.file_of('1', 16 * 'b', new)},1,")
    assert Path("artifacts/score/figures/corrections.png").is_file()


def test_things_that_are_no_ink_are_corrupted_and_not_made_into_slices(
    tmp_path: Path, digits: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    metrics = run_stage(tmp_path, digits, tuple("abcdefghij"), "object", pictures=0)

    assert sorted(metrics) == ["corruptions", "outliers", "test"]
    assert len(lines("artifacts/score/tables/slices.csv")) == 1
    assert lines("artifacts/score/coverage.csv")[0] == "coverage,test_accuracy_at_coverage"


def test_digits_in_colour_are_scored_without_handwriting_and_corrections(
    tmp_path: Path, digits: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = corrections.file_of("0", 16 * "a", digits.images[0])
    write_bytes(tmp_path / "data" / "corrections" / file, corrections.encode(digits.images[0]))

    metrics = run_stage(tmp_path, paint(digits, "random", 10, seed=1), DIGITS, "none", pictures=1)

    assert sorted(metrics) == ["corruptions", "outliers", "test"]
    assert not Path("artifacts/score/tables/corrections.csv").exists()


def test_a_second_run_writes_the_same_bytes(tmp_path: Path, digits: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        run_stage(tmp_path / name, digits.take(np.arange(50)), DIGITS, "ink", pictures=1)
        files = sorted(path for path in Path("artifacts/score").rglob("*") if path.is_file())
        written.append({str(path): path.read_bytes() for path in files})
        shutil.rmtree("artifacts")

    assert written[0] == written[1]
    assert len(written[0]) == 17
