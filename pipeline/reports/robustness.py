"""How well a classifier reads what the data set does not have: the slices and the corruptions of its test images."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.data.corruptions import CORRUPTIONS, corrupt
from pipeline.data.dataset import Split
from pipeline.data.slices import SLICES, slice_images
from pipeline.model.classifier import Classifier
from pipeline.reports.metrics import cross_entropy
from pipeline.reports.predictions import predict_split

Images = npt.NDArray[np.uint8]
Found = npt.NDArray[np.bool_]


class SliceScore(NamedTuple):
    """Shares of the images of a slice. An image in which nothing is found counts as refused, and not as accurate."""

    slice: str
    images: int
    accuracy: float
    """Of those whose most probable class is the right one, refused or not."""
    refused: float
    wrong: float
    """Of those that are answered with another class."""
    loss: float
    """Mean of the cross-entropies."""


def score_slices(network: Classifier, split: Split, seed: int) -> list[SliceScore]:
    """Of pictures made from images of digits; in the order of SLICES."""
    return _score(network, split, SLICES, slice_images, seed)


def score_corruptions(network: Classifier, split: Split, seed: int) -> list[SliceScore]:
    """Of corrupted images, in the order of CORRUPTIONS."""

    def make(images: Images, name: str, rng: np.random.Generator) -> tuple[Images, Found]:
        return corrupt(images, name, rng), np.ones(len(images), np.bool_)

    return _score(network, split, CORRUPTIONS, make, seed)


def _score(
    network: Classifier,
    split: Split,
    names: Iterable[str],
    make: Callable[[Images, str, np.random.Generator], tuple[Images, Found]],
    seed: int,
) -> list[SliceScore]:
    scores = []
    for number, name in enumerate(names):
        images, found = make(split.images, name, np.random.default_rng([seed, number]))
        predictions = predict_split(network, Split(images, split.labels))
        is_right, is_refused = (predictions.digits == split.labels) & found, predictions.is_refused | ~found
        loss = cross_entropy(predictions.probabilities, split.labels).mean()
        shares = (is_right.mean(), is_refused.mean(), (~is_right & ~is_refused).mean(), loss)
        scores.append(SliceScore(name, len(split), *map(float, shares)))
    return scores


def spread(split: Split, count: int) -> Split:
    """At most `count` of the images, evenly spread: MNIST's first half is easier than its second."""
    return split.take(np.linspace(0, len(split) - 1, min(count, len(split))).astype(np.int64))
