"""`pipeline.training.fit`: a call that trains, what it returns, and what it says about bad input."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.core.errors import DataError, ParamsError, TrainingError
from pipeline.data.dataset import Split
from pipeline.model import classifier
from pipeline.training import fit
from pipeline.training.fitted import FittedModel
from tests.support.project_clone import ROOT

SMALL: dict[str, Any] = {"cnn": {"widths": [4, 8, 8], "dropout": 0.0}, "epochs": 2, "batch": 20, "outliers": 0.1}


@pytest.fixture(scope="module")
def fitted(digits: Split) -> FittedModel:
    return fit(digits.images, digits.labels, **SMALL)


def test_the_readmes_lines_train_a_classifier_in_any_folder(tmp_path: Path) -> None:
    """With the defaults of params.yaml, which is not in that folder."""
    (lines,) = re.findall(r"```python\n([^`]*import fit\n[^`]*)```", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len([line for line in lines.splitlines() if line]) == 5
    shown = "print(len(model.history), model.evaluate(test.images, test.labels).accuracy)"
    command = [sys.executable, "-W", "error", "-c", f"{lines}\n{shown}"]

    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    epochs, accuracy = done.stdout.split()
    assert epochs == "5"
    assert float(accuracy) > 0.9


def test_the_same_call_gives_the_same_bytes_and_another_seed_others(digits: Split, fitted: FittedModel) -> None:
    torch.rand(3)  # whatever was drawn before
    again, other = (fit(digits.images, digits.labels, **SMALL, seed=seed) for seed in (1, 2))

    assert np.array_equal(fitted.probabilities(digits.images), again.probabilities(digits.images))
    assert again.history == fitted.history != other.history


def test_torch_is_left_as_it_was(digits: Split) -> None:
    torch.manual_seed(5)
    state, mode = torch.get_rng_state(), torch.get_deterministic_debug_mode()
    torch.set_num_threads(2)

    fit(digits.images, digits.labels, **SMALL, threads=1)

    assert torch.equal(torch.get_rng_state(), state)
    assert (torch.get_deterministic_debug_mode(), torch.get_num_threads()) == (mode, 2)


def test_probabilities_are_those_of_the_classes_and_the_prediction_is_the_most_probable(
    digits: Split, fitted: FittedModel
) -> None:
    probabilities = fitted.probabilities(digits.images)

    assert probabilities.shape == (200, 10)
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(fitted.predict(digits.images), probabilities.argmax(axis=1))
    assert ((fitted.scores(digits.images) >= 0) & (fitted.scores(digits.images) <= 1)).all()
    loss, accuracy = fitted.evaluate(digits.images, digits.labels)
    assert accuracy == (fitted.predict(digits.images) == digits.labels).mean()
    assert loss == pytest.approx(-np.log(probabilities[np.arange(200), digits.labels]).mean(), rel=1e-5)


def test_it_is_calibrated_on_the_validation_images(fitted: FittedModel) -> None:
    assert float(fitted.classifier.temperature) != 1
    assert float(fitted.classifier.threshold) > 0


def test_validation_images_are_taken_from_the_training_images_or_given(digits: Split) -> None:
    half = digits.take(np.arange(100))
    alone = fit(half.images, half.labels, **SMALL)
    given = fit(half.images, half.labels, (digits.images[100:], digits.labels[100:]), **SMALL)

    shares = [row.validation_accuracy * 10 for row in alone.history]  # one image of each class
    assert shares == pytest.approx([round(share) for share in shares], abs=1e-4)
    assert given.history != alone.history


def test_a_saved_model_is_one_that_the_pipeline_loads(digits: Split, fitted: FittedModel, tmp_path: Path) -> None:
    fitted.save(tmp_path)

    loaded, _ = classifier.predict(classifier.load(tmp_path), torch.from_numpy(digits.images))
    assert np.array_equal(loaded.numpy(), fitted.probabilities(digits.images))


def test_the_history_plots_loss_and_accuracy_of_each_epoch(fitted: FittedModel) -> None:
    loss, accuracy = fitted.history.plot().axes

    assert (loss.get_title(loc="left"), accuracy.get_title(loc="left")) == ("loss", "accuracy")
    curve = loss.lines[1]
    assert np.array_equal(curve.get_xydata(), [[row.epoch, row.validation_loss] for row in fitted.history])
    assert fitted.history.plot()._repr_png_().startswith(b"\x89PNG")


def test_a_notebook_shows_the_epochs_as_a_table_with_their_curves(fitted: FittedModel) -> None:
    html = fitted._repr_html_()

    assert html.count("<tr") == 3
    assert html.count("font-weight: bold") == 1  # the epoch that is kept
    assert "data:image/png;base64," in html
    assert f"accuracy {fitted.history.best.validation_accuracy:.2%}" in html
    assert "validation loss" in repr(fitted.history)


def test_classes_other_than_digits_have_a_network_of_their_number(digits: Split) -> None:
    few = digits.take(np.flatnonzero(digits.labels < 3))
    model = fit(few.images, few.labels, classes=("shirt", "shoe", "bag"), **SMALL)

    assert model.probabilities(few.images).shape == (60, 3)


def test_few_images_are_one_batch(digits: Split) -> None:
    few = digits.take(np.arange(40))
    model = fit(few.images, few.labels, **{name: value for name, value in SMALL.items() if name != "batch"})

    assert len(model.history) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"images": s.images.tolist()}, r"^images: got list, expected a numpy array \(N, 28, 28\) uint8"),
        (lambda s: {"images": s.images / 255}, r"^images: got float64 \(200, 28, 28\), expected .*uint8"),
        (lambda s: {"images": s.images.reshape(200, 784)}, r"^images: got uint8 \(200, 784\), expected"),
        (lambda s: {"images": s.images[:0]}, r"^images: got uint8 \(0, 28, 28\), expected .* N at least 1"),
        (lambda s: {"labels": s.labels[:199]}, r"^labels: got 199 for 200 images, expected one for each$"),
        (lambda s: {"labels": s.labels / 1}, r"^labels: got float64 \(200,\), expected whole numbers \(N,\)$"),
        (lambda s: {"labels": np.eye(10, dtype=int)[s.labels]}, r"^labels: got int64 \(200, 10\), expected whole"),
        (lambda s: {"labels": s.labels + 1}, r"^labels: got 10, expected 0 to 9: there are 10 classes$"),
        (lambda s: {"labels": s.labels.astype(int) - 1}, r"^labels: got -1, expected 0 to 9"),
        (lambda s: {"images": s.images[:10], "labels": s.labels[:10]}, r"^labels: got one image of class 0, expected"),
        (lambda s: {"images": s.images * 0}, r"^images: got only pixels of 0, expected images that differ$"),
        (lambda s: {"validation": (s.images, s.labels[:3])}, r"^validation labels: got 3 for 200 images"),
        (lambda s: {"classes": ("one",)}, r"^classes: got 1 names, expected 2 to 255$"),
    ],
)
def test_bad_images_and_labels_are_named_with_what_was_expected(digits: Split, change: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit(**{"images": digits.images, "labels": digits.labels} | change(digits))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, r"^fit: epoch is not a setting in params\.yaml; did you mean epochs\?$"),
        ({"learning_rate": 0.1}, r"^fit: learning_rate is not a setting .* did you mean optimizer\.learning_rate\?$"),
        ({"epochs": 0}, r"^fit: epochs: got 0, expected greater than or equal to 1$"),
        ({"optimizer": "adam"}, r"^fit: optimizer: got 'adam', expected a mapping with name, learning_rate"),
    ],
)
def test_bad_settings_are_named_as_in_the_call(digits: Split, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        fit(digits.images, digits.labels, **settings)


def test_a_batch_that_was_asked_for_is_not_made_smaller(digits: Split) -> None:
    with pytest.raises(TrainingError, match=r"^fit: batch: got 500, expected at most 180"):
        fit(digits.images, digits.labels, batch=500)
