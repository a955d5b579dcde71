"""What a classifier predicts for a split, its metrics, and its rows and sheets for people."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from pipeline.data.dataset import Split
from pipeline.model import classifier
from pipeline.reports.calibration import Bin, brier_score, expected_calibration_error, reliability
from pipeline.reports.contact_sheet import contact_sheet
from pipeline.reports.metrics import confusion_matrix, cross_entropy, per_class


class Predictions(NamedTuple):
    """Of N images, as the service would answer them."""

    probabilities: npt.NDArray[np.float32]
    """`(N, classes)`, given that the image shows one of the classes."""
    scores: npt.NDArray[np.float32]
    """`(N,)`, 0 to 1: how probable it is that it shows one."""
    threshold: float
    """An image whose score is lower is refused."""

    @property
    def digits(self) -> npt.NDArray[np.int64]:
        digits: npt.NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return digits

    @property
    def confidences(self) -> npt.NDArray[np.float64]:
        confidences: npt.NDArray[np.float64] = self.scores.astype(np.float64) * self.probabilities.max(axis=1)
        return confidences

    @property
    def is_refused(self) -> npt.NDArray[np.bool_]:
        return self.scores < self.threshold

    def take(self, index: npt.NDArray[np.int64]) -> "Predictions":
        return Predictions(self.probabilities[index], self.scores[index], self.threshold)


def predict_split(network: classifier.Classifier, split: Split) -> Predictions:
    probabilities, scores = classifier.predict(network, torch.from_numpy(split.images))
    return Predictions(probabilities.numpy(), scores.numpy(), network.threshold.item())


def reliability_of(split: Split, predictions: Predictions) -> list[Bin]:
    """The reliability of the confidences of the images that are answered."""
    answered = ~predictions.is_refused
    return reliability(predictions.confidences[answered], (predictions.digits == split.labels)[answered])


def compute_metrics(split: Split, predictions: Predictions) -> dict[str, float]:
    """Number of images, mean loss, Brier score, accuracy and the macro averages of precision, recall and F1, whether an
    image is refused or not; share refused; expected calibration error of the confidences of the others."""
    digits = predictions.digits
    classes = per_class(confusion_matrix(split.labels, digits, predictions.probabilities.shape[1]))
    return {
        "images": len(split),
        "loss": float(cross_entropy(predictions.probabilities, split.labels).mean()),
        "brier": brier_score(predictions.probabilities, split.labels),
        "accuracy": float((digits == split.labels).mean()),
        "precision": float(classes.precision.mean()),
        "recall": float(classes.recall.mean()),
        "f1": float(classes.f1.mean()),
        "refused": float(predictions.is_refused.mean()),
        "ece": expected_calibration_error(reliability_of(split, predictions)),
    }


def worst_mistakes(split: Split, predictions: Predictions, count: int) -> npt.NDArray[np.int64]:
    """Indices of at most `count` mistakes, starting with the one whose label got the lowest probability."""
    losses = cross_entropy(predictions.probabilities, split.labels)
    mistakes = np.flatnonzero(predictions.digits != split.labels)
    return mistakes[np.argsort(-losses[mistakes], kind="stable")][:count]


def header(classes: int) -> list[str]:
    """The names of what `rows` lists after the name of an image."""
    return ["label", "digit", "confidence", "score", *(f"p{label}" for label in range(classes))]


def rows(names: Sequence[object], split: Split, predictions: Predictions) -> list[list[Any]]:
    """Rows of name, label, prediction, confidence, score and all probabilities, rounded to the precision of float32."""
    values = zip(names, split.labels, *predictions[:2], predictions.confidences, strict=True)
    return [
        [name, label, p.argmax(), f"{confidence:.6f}", f"{score:.6f}", *(f"{value:.7f}" for value in p)]
        for name, label, p, score, confidence in values
    ]


def draw_sheet(split: Split, predictions: Predictions, names: Sequence[str]) -> bytes:
    """A contact sheet of the images, as PNG."""
    captions = [
        names[label] if label == digit else f"{names[label]} read as {names[digit]}"
        for label, digit in zip(split.labels, predictions.digits, strict=True)
    ]
    return contact_sheet(split.images, captions, columns=12)
