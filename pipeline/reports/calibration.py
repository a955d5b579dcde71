"""How far to trust a confidence, from `(N,)` confidences, 0 to 1, and `(N,)` hits: whether the answer was right."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

BINS: Final = 15  # of the same width, as in Guo et al., "On calibration of modern neural networks", 2017

Floats = npt.NDArray[np.floating]
Hits = npt.NDArray[np.bool_]


class Bin(NamedTuple):
    """Answers of about the same confidence."""

    number: int
    """1 to BINS: confidences from (number - 1) / BINS to number / BINS."""
    images: int
    confidence: float
    """Mean of the confidences."""
    accuracy: float
    """Share of answers that were right."""


def reliability(confidences: Floats, hits: Hits, bins: int = BINS) -> list[Bin]:
    """The bins that hold an answer, in ascending order."""
    numbers = np.minimum((confidences.astype(np.float64) * bins).astype(np.int64), bins - 1)
    return [
        Bin(
            int(n) + 1, int(inside.sum()), float(confidences[inside].mean(dtype=np.float64)), float(hits[inside].mean())
        )
        for n in np.unique(numbers)
        for inside in [numbers == n]
    ]


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Mean distance of confidence and accuracy, 0 to 1, weighted by images; 0 without images."""
    distances = sum(part.images * abs(part.confidence - part.accuracy) for part in bins)
    return distances / max(1, sum(part.images for part in bins))


def brier_score(probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.integer]) -> float:
    """Mean squared distance, 0 to 2, of `(N, classes)` probabilities from certainty of the label (Brier, 1950)."""
    distances = probabilities.astype(np.float64)
    distances[np.arange(len(labels)), labels] -= 1
    return float((distances**2).sum(axis=1).mean())


def coverage_accuracy(confidences: Floats, hits: Hits, steps: int = 100) -> npt.NDArray[np.float64]:
    """`(steps,)`: accuracy of the 1/steps, 2/steps … of the answers with the highest confidence.

    What a service would reach that leaves the other pictures to a person (El-Yaniv and Wiener, "On the foundations of
    noise-free selective classification", 2010).
    """
    order = np.argsort(-confidences, kind="stable")
    right = hits[order].cumsum() / np.arange(1, len(hits) + 1)
    ends = np.ceil(np.arange(1, steps + 1) * len(hits) / steps).astype(np.int64)
    at: npt.NDArray[np.float64] = right[ends - 1]
    return at


def auroc(positive: Floats, negative: Floats) -> float:
    """Probability that a positive has a higher score than a negative, ties counted as half: the area under the ROC
    curve. Both need at least one score."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left") + np.searchsorted(ordered, positive, side="right")
    return float(below.mean() / (2 * len(ordered)))
