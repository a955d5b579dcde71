"""Stage `score`: evaluates the trained network on the test set and on the user's own handwriting.

Reads    artifacts/train/model/; artifacts/download/: the test set; data/: own handwriting.
Writes   artifacts/score/: metrics.json, predictions.csv; tables/: confusion_matrix.csv, per_class.csv, first.csv,
         worst.csv, handwriting.csv; figures/: worst.png, handwriting.png. The two of handwriting are empty unless the
         data set is of digits.
Decides  nothing: the test set is scored once, and nothing is chosen by it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from pipeline.core import config, entrypoint
from pipeline.core.files import write_bytes, write_csv, write_json
from pipeline.data import handwriting
from pipeline.data.dataset import Split, load_description, load_split
from pipeline.model import classifier
from pipeline.reports.contact_sheet import contact_sheet
from pipeline.reports.metrics import confusion_matrix, cross_entropy, per_class
from pipeline.training.device import set_threads

RAW: Final = Path("artifacts/download")
TRAINED: Final = Path("artifacts/train/model")
OWN: Final = Path("data")
OUT: Final = Path("artifacts/score")

Probabilities = npt.NDArray[np.float32]


class Params(config.Section):
    first: Annotated[int, Field(ge=1)]
    """Number of test images, from the first on, whose labels and predictions are listed side by side."""
    worst: Annotated[int, Field(ge=1)]
    """Mistakes that are shown, the largest loss first."""


def predict_split(network: classifier.Classifier, split: Split) -> Probabilities:
    return classifier.predict(network, torch.from_numpy(split.images))[0].numpy()


def compute_metrics(split: Split, probabilities: Probabilities) -> dict[str, float]:
    """Number of images, mean loss, accuracy and the macro averages of precision, recall and F1."""
    digits = probabilities.argmax(axis=1)
    classes = per_class(confusion_matrix(split.labels, digits, probabilities.shape[1]))
    return {
        "images": len(split),
        "loss": float(cross_entropy(probabilities, split.labels).mean()),
        "accuracy": float((digits == split.labels).mean()),
        "precision": float(classes.precision.mean()),
        "recall": float(classes.recall.mean()),
        "f1": float(classes.f1.mean()),
    }


def worst_mistakes(split: Split, probabilities: Probabilities, count: int) -> npt.NDArray[np.int64]:
    """Indices of at most `count` mistakes, starting with the one whose label got the lowest probability."""
    losses = cross_entropy(probabilities, split.labels)
    mistakes = np.flatnonzero(probabilities.argmax(axis=1) != split.labels)
    return mistakes[np.argsort(-losses[mistakes], kind="stable")][:count]


def rows(names: Sequence[object], split: Split, probabilities: Probabilities) -> list[list[Any]]:
    """Rows of name, label, prediction, confidence and all probabilities, rounded to the precision of float32."""
    return [
        [name, label, p.argmax(), f"{p.max():.6f}", *(f"{value:.7f}" for value in p)]
        for name, label, p in zip(names, split.labels, probabilities, strict=True)
    ]


def draw_sheet(split: Split, probabilities: Probabilities, names: Sequence[str]) -> bytes:
    digits = probabilities.argmax(axis=1)
    captions = [
        names[label] if label == digit else f"{names[label]} read as {names[digit]}"
        for label, digit in zip(split.labels, digits, strict=True)
    ]
    return contact_sheet(split.images, captions, columns=12)


def save_test(split: Split, probabilities: Probabilities, names: Sequence[str], params: Params) -> None:
    digits = probabilities.argmax(axis=1)
    confusion = confusion_matrix(split.labels, digits, len(names))
    classes = per_class(confusion)
    header = ["label", "digit", "confidence", *(f"p{label}" for label in range(len(names)))]
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
    write_csv(
        OUT / "tables" / "first.csv",
        ["index", *header],
        rows(first.tolist(), split.take(first), probabilities[first]),
    )
    index = worst_mistakes(split, probabilities, params.worst)
    shown = split.take(index)
    write_csv(OUT / "tables" / "worst.csv", ["index", *header], rows(index.tolist(), shown, probabilities[index]))
    write_bytes(OUT / "figures" / "worst.png", draw_sheet(shown, probabilities[index], names))


def save_own(own: handwriting.Handwriting, probabilities: Probabilities, names: Sequence[str]) -> None:
    header = ["label", "digit", "confidence", *(f"p{label}" for label in range(len(names)))]
    write_csv(OUT / "tables" / "handwriting.csv", ["file", *header], rows(own.files, own.split, probabilities))
    write_bytes(OUT / "figures" / "handwriting.png", draw_sheet(own.split, probabilities, names))


def main() -> None:
    params = config.load("score", Params)
    set_threads()
    description = load_description(RAW / "dataset.json")
    network = classifier.load(TRAINED)
    test = load_split(RAW, "test", len(description.classes))
    own = handwriting.read(OWN) if description.is_digits else handwriting.EMPTY
    probabilities, own_probabilities = predict_split(network, test), predict_split(network, own.split)
    scores = {"test": compute_metrics(test, probabilities)}
    if len(own.split):
        scores["handwriting"] = compute_metrics(own.split, own_probabilities)
    save_test(test, probabilities, description.classes, params)
    save_own(own, own_probabilities, description.classes)
    write_json(OUT / "metrics.json", scores)
    for name, values in scores.items():
        print(f"{name}: accuracy {values['accuracy']:.2%} of {values['images']:,} images, loss {values['loss']:.4f}")


if __name__ == "__main__":
    entrypoint.run(main)
