"""Figures that say how good predictions are, from `(N,)` labels, the truth, and digits, what was predicted."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.integer]
Scores = npt.NDArray[np.float64]


def confusion_matrix(labels: Labels, digits: Labels, classes: int) -> npt.NDArray[np.int64]:
    """`(classes, classes) int64`: row = label, column = what was predicted."""
    cells = np.bincount(labels.astype(np.int64) * classes + digits, minlength=classes * classes)
    return cells.reshape(classes, classes)


@dataclass(frozen=True)
class PerClass:
    """Precision, recall and F1 `(classes,) float64`, 0 to 1; 0 where nothing was predicted or nothing was there."""

    precision: Scores
    recall: Scores
    f1: Scores


def per_class(confusion: npt.NDArray[np.int64]) -> PerClass:
    right = np.diag(confusion).astype(np.float64)
    precision = right / np.maximum(confusion.sum(axis=0), 1)
    recall = right / np.maximum(confusion.sum(axis=1), 1)
    return PerClass(precision, recall, 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny))


def cross_entropy(probabilities: npt.NDArray[np.float32], labels: Labels) -> Scores:
    """`(N,) float64`: −log of the probability `(N, classes)` that each label was given, at least that of float32."""
    given = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    losses: Scores = -np.log(np.maximum(given, np.finfo(np.float32).tiny))
    return losses
