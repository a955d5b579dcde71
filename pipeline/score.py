"""Stage `score`: evaluates the trained network on the test set, on what the test set does not have, on the user's own
handwriting, and on the corrections by users of the service.

Reads    artifacts/train/model/; artifacts/download/: the test set; artifacts/normalise/: the validation images, from
         which outliers are made, and the training images; data/: own handwriting, corrections.
Writes   artifacts/score/: metrics.json, predictions.csv, reliability.csv, coverage.csv; reference.json, with which
         answers of the service are compared; tables/: confusion_matrix.csv, per_class.csv, first.csv, worst.csv,
         slices.csv, corruptions.csv, handwriting.csv, handwriting_reliability.csv; figures/: worst.png,
         reliability.png, coverage.png, handwriting.png. That of slices is empty unless pictures are preprocessed by
         their ink, those of handwriting unless the data set is of digits that are read by their ink.
         tables/corrections.csv and figures/corrections.png only if there are corrections of pictures that train
         nothing, and the data set is of such digits.
Decides  nothing: the test set is scored once, and nothing is chosen by it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch
from pydantic import Field

from pipeline.core import config, execution
from pipeline.core.files import read_array, write_bytes, write_csv, write_json
from pipeline.data import corrections, handwriting
from pipeline.data.dataset import Description, Split, load_description, load_split
from pipeline.data.limits import SIDE
from pipeline.model import classifier
from pipeline.monitoring.reference import Reference, describe
from pipeline.reports.calibration import Bin, auroc, coverage_accuracy
from pipeline.reports.metrics import confusion_matrix, per_class
from pipeline.reports.plots import coverage_curve, reliability_diagram
from pipeline.reports.predictions import (
    Predictions,
    compute_metrics,
    draw_sheet,
    header,
    predict_split,
    reliability_of,
    rows,
    worst_mistakes,
)
from pipeline.reports.robustness import SliceScore, score_corruptions, score_slices, spread
from pipeline.training.device import details, set_threads
from pipeline.training.outliers import make_outliers

RAW: Final = Path("artifacts/download")
NORMALISED: Final = Path("artifacts/normalise")
TRAINED: Final = Path("artifacts/train/model")
OWN: Final = Path("data")
OUT: Final = Path("artifacts/score")
SEED: Final = 1  # of slices, corruptions and outliers: two models are compared on the same ones

Predicted = Mapping[str, tuple[Split, Predictions]]  # by the name of the pictures: test, handwriting


class Params(config.Section):
    first: Annotated[int, Field(ge=1)]
    """Number of test images, from the first on, whose labels and predictions are listed side by side."""
    worst: Annotated[int, Field(ge=1)]
    """Mistakes that are shown, the largest loss first."""
    pictures: Annotated[int, Field(ge=1)]
    """Test images of which each slice is made; a picture takes some milliseconds."""
    corrupted: Annotated[int, Field(ge=1)]
    """Test images to which each corruption is applied."""
    outliers: Annotated[int, Field(ge=1)]
    """Images of no class that are made from the validation images."""


def score_outliers(
    network: classifier.Classifier, validation: Split, test: Predictions, count: int, is_digits: bool
) -> dict[str, float]:
    """Share of outliers that are refused, and how well the score tells test images from them (AUROC, 0.5 to 1)."""
    pixels = classifier.to_pixels(torch.from_numpy(validation.images))
    generator = torch.Generator().manual_seed(SEED)
    made = make_outliers(pixels, torch.from_numpy(validation.labels), count, is_digits, generator)
    images = classifier.to_images(made).numpy()
    outliers = predict_split(network, Split(images, np.zeros(len(images), np.uint8)))
    return {
        "images": len(images),
        "refused": float(outliers.is_refused.mean()),
        "auroc": auroc(test.scores, outliers.scores),
    }


def score_corrections(network: classifier.Classifier, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Metrics of the corrected pictures of which no image trained: of the digits, and how many are no digit and what
    share of them is refused; writes their table and figure. Empty if there are none."""
    kept = corrections.read(OWN / corrections.FOLDER)
    if kept:
        images = read_array(NORMALISED / "train_images.npy", np.uint8, (None, SIDE, SIDE))
        kept = corrections.without_trained(kept, images)
    if not kept:
        return {}
    digits = [one for one in kept if one.label != corrections.NONE]
    others = np.array([one.image for one in kept if one.label == corrections.NONE], np.uint8).reshape(-1, SIDE, SIDE)
    split = corrections.append(handwriting.EMPTY.split, digits)
    predictions = predict_split(network, split)
    none = predict_split(network, Split(others, np.zeros(len(others), np.uint8)))
    listed = rows([one.file for one in digits], split, predictions)
    write_csv(OUT / "tables" / "corrections.csv", ["file", *header(len(names))], listed)
    write_bytes(OUT / "figures" / "corrections.png", draw_sheet(split, predictions, names))
    refused = {"none": len(others), "none_refused": float(none.is_refused.mean())} if len(others) else {}
    return {"corrections": compute_metrics(split, predictions) | refused} if digits else {"corrections": refused}


def is_written(description: Description) -> bool:
    """Whether the images are digits of ink, as those in data/ are."""
    return description.is_digits and description.is_ink


def accuracies(scores: Sequence[SliceScore]) -> dict[str, float]:
    return {score.slice: score.accuracy for score in scores}


def save_test(split: Split, predictions: Predictions, names: Sequence[str], params: Params) -> None:
    digits = predictions.digits
    confusion = confusion_matrix(split.labels, digits, len(names))
    classes = per_class(confusion)
    write_csv(OUT / "predictions.csv", ["label", "digit"], zip(split.labels, digits, strict=True))
    write_csv(
        OUT / "tables" / "confusion_matrix.csv",
        ["label", *map(str, range(len(names)))],
        ([label, *row] for label, row in enumerate(confusion)),
    )
    write_csv(
        OUT / "tables" / "per_class.csv",
        ["label", "class", "images", "precision", "recall", "f1"],
        zip(
            range(len(names)), names, confusion.sum(axis=1), classes.precision, classes.recall, classes.f1, strict=True
        ),
    )
    first = np.arange(min(params.first, len(split)))
    worst = worst_mistakes(split, predictions, params.worst)
    for name, index in (("first", first), ("worst", worst)):
        listed = rows(index.tolist(), split.take(index), predictions.take(index))
        write_csv(OUT / "tables" / f"{name}.csv", ["index", *header(len(names))], listed)
    write_bytes(OUT / "figures" / "worst.png", draw_sheet(split.take(worst), predictions.take(worst), names))


def save_own(own: handwriting.Handwriting, predictions: Predictions, names: Sequence[str]) -> None:
    listed = rows(own.files, own.split, predictions)
    write_csv(OUT / "tables" / "handwriting.csv", ["file", *header(len(names))], listed)
    write_bytes(OUT / "figures" / "handwriting.png", draw_sheet(own.split, predictions, names))
    write_csv(OUT / "tables" / "handwriting_reliability.csv", Bin._fields, reliability_of(own.split, predictions))


def save_calibration(predicted: Predicted) -> None:
    bins = {name: reliability_of(*pair) for name, pair in predicted.items()}
    curves = {
        name: coverage_accuracy(predictions.confidences, predictions.digits == split.labels)
        for name, (split, predictions) in predicted.items()
    }
    write_csv(OUT / "reliability.csv", Bin._fields, bins["test"])
    columns = ["coverage", *(f"{name}_accuracy_at_coverage" for name in curves)]
    write_csv(OUT / "coverage.csv", columns, zip(range(1, 101), *curves.values(), strict=True))
    write_bytes(OUT / "figures" / "reliability.png", reliability_diagram(bins))
    write_bytes(OUT / "figures" / "coverage.png", coverage_curve(curves))


def reference_of(test: Split, predictions: Predictions, classes: Sequence[str]) -> Reference:
    """How the test images and their answers are distributed, as the service would answer them."""
    is_none = predictions.is_refused | ~test.images.any(axis=tuple(range(1, test.images.ndim)))
    return Reference.of(describe(test.images, predictions.probabilities, predictions.scores, is_none), classes)


def score_robustness(
    network: classifier.Classifier, test: Split, predictions: Predictions, description: Description, params: Params
) -> dict[str, Any]:
    """Metrics of slices, corruptions and outliers; writes the tables of the first two."""
    corruptions = score_corruptions(network, spread(test, params.corrupted), SEED)
    slices = score_slices(network, spread(test, params.pictures), SEED) if description.is_ink else []
    write_csv(OUT / "tables" / "corruptions.csv", SliceScore._fields, corruptions)
    write_csv(OUT / "tables" / "slices.csv", SliceScore._fields, slices)
    validation = load_split(NORMALISED, "validation", len(description.classes))
    return {
        "corruptions": accuracies(corruptions) | {"mean": float(np.mean([score.accuracy for score in corruptions]))},
        "outliers": score_outliers(network, validation, predictions, params.outliers, is_written(description)),
        **({"slices": accuracies(slices)} if slices else {}),
    }


def main() -> None:
    params = config.load("score", Params)
    set_threads()
    execution.log_details(**details(torch.device("cpu"), "float32"))
    description = load_description(RAW / "dataset.json")
    network = classifier.load(TRAINED)
    test = load_split(RAW, "test", len(description.classes))
    own = handwriting.read(OWN) if is_written(description) else handwriting.Handwriting(test.take(np.arange(0)), ())
    predicted = {"test": (test, predict_split(network, test))}
    own_predictions = predict_split(network, own.split)
    if len(own.split):
        predicted["handwriting"] = (own.split, own_predictions)
    save_test(*predicted["test"], description.classes, params)
    save_own(own, own_predictions, description.classes)
    save_calibration(predicted)
    write_json(OUT / "reference.json", asdict(reference_of(*predicted["test"], description.classes)))
    scores: dict[str, Any] = {name: compute_metrics(*pair) for name, pair in predicted.items()}
    corrected = score_corrections(network, description.classes) if is_written(description) else {}
    robustness = score_robustness(network, *predicted["test"], description, params)
    write_json(OUT / "metrics.json", scores | corrected | robustness)
    for name, values in (scores | corrected).items():
        if "accuracy" in values:
            print(
                f"{name}: accuracy {values['accuracy']:.2%} of {values['images']:,} images, loss {values['loss']:.4f}"
            )
    print(f"corruptions: accuracy {robustness['corruptions']['mean']:.2%} on average")


if __name__ == "__main__":
    execution.run_stage("score", main)
