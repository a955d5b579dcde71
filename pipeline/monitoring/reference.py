"""The reference: how images and answers of the test set are distributed. `score` writes it, `export` stores it in the
model's file, and what a service answers is compared with it. Needs nothing but numpy, for the service.

A feature is a number of each image, or its class. Its reference has the edges of bins that hold about as many test
images each, and how many they hold. Confidences and scores have no edge above 0.9999: there torch and onnxruntime
differ.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import DataError

BINS: Final = 10  # at most; as many as is usual for the population stability index
DECIMALS: Final = 4  # of an edge
INK: Final = 128  # the pixel value from which on a pixel counts for width and height
NUMBERS: Final = ("ink", "width", "height", "confidence", "score")
FEATURES: Final = (*NUMBERS, "class")
NONE: Final = "none"  # in place of a class, where there is no digit
KEY: Final = "reference"  # in the metadata of model.onnx

Features = Mapping[str, npt.NDArray[Any]]
Counts = npt.NDArray[np.int64]


def describe_images(images: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
    """Of images `(N, 28, 28[, 3]) uint8, 0 = paper, 255 = ink`: the mean pixel, 0 to 1, and the width and the height of
    the box around what is dark, in pixels; `(N,)` each. Of colours the largest channel is taken."""
    images = images if images.ndim == 3 else images.max(axis=3)
    dark = np.greater_equal(images, INK)
    return {
        "ink": images.mean(axis=(1, 2), dtype=np.float32) / 255,
        "width": extent(np.logical_or.reduce(dark, axis=1)),
        "height": extent(np.logical_or.reduce(dark, axis=2)),
    }


def extent(lines: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Of `(N, 28)` the number of lines from the first to the last one that is true; 0 without one."""
    span = lines.shape[1] - lines.argmax(axis=1) - lines[:, ::-1].argmax(axis=1)
    return np.where(lines.any(axis=1), span, 0)


def describe(
    images: npt.NDArray[np.uint8],
    probabilities: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    is_none: npt.NDArray[np.bool_],
) -> dict[str, npt.NDArray[Any]]:
    """The features of N images by name, `(N,)` each: those of describe_images; the confidence, score × the largest of
    the probabilities `(N, classes)`, also where there is no digit; the score; the class, one more for none.
    """
    labels = np.where(is_none, probabilities.shape[1], probabilities.argmax(axis=1))
    answers = {"confidence": scores * probabilities.max(axis=1), "score": scores, "class": labels}
    return describe_images(images) | answers


@dataclass(frozen=True)
class Reference:
    """The features of the test images in bins."""

    classes: tuple[str, ...]
    edges: dict[str, tuple[float, ...]]
    """Of each of NUMBERS, ascending. A bin includes its upper edge; there is one bin more than edges."""
    counts: dict[str, tuple[int, ...]]
    """Test images in each bin of each feature; of `class` in the order of the classes, then without one."""

    @classmethod
    def of(cls, features: Features, classes: Sequence[str]) -> Self:
        shares = np.arange(1, BINS) / BINS
        edges = {name: np.unique(np.quantile(features[name], shares).round(DECIMALS)) for name in NUMBERS}
        for name in ("confidence", "score"):
            edges[name] = edges[name][edges[name] < 1]
        empty = cls(tuple(classes), {name: tuple(values.tolist()) for name, values in edges.items()}, {})
        counts = empty.count(empty.bins(features))
        return cls(empty.classes, empty.edges, {name: tuple(values.tolist()) for name, values in counts.items()})

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that identify the reference in a log."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]

    def labels(self, feature: str) -> tuple[str, ...]:
        """The names of a feature's bins: their upper edges as Prometheus writes them, or the classes."""
        return (*self.classes, NONE) if feature == "class" else (*map(str, self.edges[feature]), "+Inf")

    def bins(self, features: Features) -> Features:
        """The number of the bin of each image, by feature, `(N,)` each."""
        numbers = {name: np.searchsorted(self.edges[name], features[name]) for name in NUMBERS}
        return numbers | {"class": np.asarray(features["class"], np.int64)}

    def count(self, bins: Features) -> dict[str, Counts]:
        """How many images are in each bin, by feature."""
        return {name: np.bincount(bins[name], minlength=len(self.labels(name))) for name in FEATURES}


def parse_reference(value: Any, where: str) -> Reference:
    """The reference in the JSON that `score` wrote. Raises DataError, which names `where` it was."""
    try:
        reference = Reference(
            tuple(map(str, value["classes"])),
            {name: tuple(map(float, value["edges"][name])) for name in NUMBERS},
            {name: tuple(map(int, value["counts"][name])) for name in FEATURES},
        )
        lengths = {name: len(reference.labels(name)) for name in FEATURES}
    except (KeyError, TypeError, ValueError) as error:
        got = f"{type(error).__name__}: {error}"
        raise DataError(f"{where}: expected a reference with classes, edges and counts, got {got}") from error
    if wrong := [name for name in FEATURES if len(reference.counts[name]) != lengths[name]]:
        raise DataError(f"{where}: {wrong[0]}: expected a count for each bin, got {reference.counts[wrong[0]]}")
    return reference
