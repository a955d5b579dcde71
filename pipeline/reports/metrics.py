"""Metrics of predictions, from `(N,)` labels, the truth, and `(N,)` digits, the predictions."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.integer]
Scores = npt.NDArray[np.float64]


def confusion_matrix(labels: Labels, digits: Labels, classes: int) -> npt.NDArray[np.int64]:
    """`(classes, classes) int64`: row = label, column = prediction."""
    counts = np.bincount(labels.astype(np.int64) * classes + digits, minlength=classes * classes)
    return counts.reshape(classes, classes)


@dataclass(frozen=True)
class PerClass:
    """Precision, recall and F1 `(classes,) float64`, 0 to 1; 0 for a class never predicted or without images."""

    precision: Scores
    recall: Scores
    f1: Scores


def per_class(confusion: npt.NDArray[np.int64]) -> PerClass:
    correct = np.diag(confusion).astype(np.float64)
    precision = correct / np.maximum(confusion.sum(axis=0), 1)
    recall = correct / np.maximum(confusion.sum(axis=1), 1)
    return PerClass(precision, recall, 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny))


def cross_entropy(probabilities: npt.NDArray[np.float32], labels: Labels) -> Scores:
    """`(N,) float64`: −log of the probability of each label, clipped below at float32's smallest normal number."""
    predicted = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    losses: Scores = -np.log(np.maximum(predicted, np.finfo(np.float32).tiny))
    return losses
