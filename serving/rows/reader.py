"""Several digits in a row: where each one is, and what it is.

Ink is cut into more parts than there are digits: at paper, and where a path from the top to the bottom crosses little
ink. The cheapest way to join neighbouring parts to digits is then found with a dynamic programme; what a digit costs
is how little the model, and the proportions of handwritten digits, speak for it. The method is old: Fujisawa, Nakano
and Kurino, "Segmentation methods for character recognition", Proc. IEEE 80, 1992.

Not covered: more than one line, touching neighbours below each other. Points, commas and hyphens are left out.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import PictureError
from pipeline.data.image import Ink, normalised
from serving.rows import components
from serving.rows.components import Box, Labels
from serving.rows.cut_paths import Part, apart

MAX_DIGITS: Final = 32  # digits in a picture
PARTS: Final = 8  # to a digit; with MAX_DIGITS and cut_paths.MAX_CUTS this bounds the time
FAR: Final = 0.12  # of the row's height; strokes of a digit are so far from each other at most
# By digit, mean and standard deviation over MNIST's training images of log(width / height) of the ink, and of
# log(1 + edges from ink to paper and back along the rows): two digits seen as one have more. Printed by
# `python -m benchmarks.row_accuracy --shapes`.
SHAPES: Final = np.array(
    [
        [[-0.11, 0.20], [4.19, 0.12]],
        [[-0.93, 0.46], [3.72, 0.03]],
        [[-0.07, 0.22], [3.92, 0.18]],
        [[-0.24, 0.21], [3.88, 0.11]],
        [[-0.24, 0.21], [4.05, 0.09]],
        [[-0.07, 0.26], [3.81, 0.17]],
        [[-0.33, 0.22], [4.04, 0.14]],
        [[-0.26, 0.21], [3.83, 0.11]],
        [[-0.28, 0.22], [4.13, 0.11]],
        [[-0.40, 0.21], [4.01, 0.10]],
    ]
)
# Costs, in nats like the model's -log p; tuned on rows of MNIST's validation images and the pen's digits, see
# benchmarks/row_accuracy.py. Also tried: the model's mean answer to slightly sheared images (no better).
ODD: Final = 0.06  # for each squared standard deviation of a digit's shape, at most ODDEST of them
ODDEST: Final = 14.0
LOW: Final = 5.4  # for each squared factor e that a digit is lower than the row
CROSSED: Final = 0.1  # for each stroke width of ink that a cut crosses,
THIN: Final = 2.8  # less so many: where there is little ink, a cut is likely
JOIN: Final = 3.4  # for strokes that do not touch but share a digit,
APART: Final = 8.0  # and for each row's height that they are apart; less, where they share columns
LEFT_OUT: Final = 30.0  # for a part that is in no digit
LEAST: Final = 2e-3  # probability, so that one bad digit does not outweigh all others

Span = tuple[int, int]  # the first and the last part of a digit


class Reader(Protocol):
    """What answers `(N, 28, 28) uint8` with `(N, 10)` probabilities."""

    def probabilities(self, images: npt.NDArray[np.uint8], /) -> npt.NDArray[np.float32]: ...


@dataclass(frozen=True)
class Found:
    """A digit in a picture: its box `left, top, right, bottom` in pixels of the ink, `(classes,)` probabilities, and
    the `(28, 28) uint8` that the model saw, in which neighbours that reach into the box are left out."""

    box: Box
    probabilities: npt.NDArray[np.float32]
    image: Ink


def find(model: Reader, ink: Ink) -> list[Found]:
    """The digits in `ink`, `(H, W) uint8, 0 = paper`, from left to right.

    Raises PictureError `more_than_one_line` or `too_many_digits`.
    """
    labels, found, height = components.find(ink)
    if len(found) > MAX_DIGITS:
        raise _too_many(f"{len(found)} pieces of ink")
    numbers, parts = apart(labels, found, height)
    seen = {span: _image(ink, numbers, parts, span) for span in _spans(parts, height)}
    images = {span: image for span, image in seen.items() if image is not None}
    if not images:
        return []
    spans, stack = list(images), np.stack(list(images.values()))
    probabilities = model.probabilities(stack)
    costs = _unlikeliness(probabilities, stack, np.array([_box(parts, span) for span in spans]), height)
    chosen = _cheapest(parts, dict(zip(spans, costs.tolist(), strict=True)), height)
    if len(chosen) > MAX_DIGITS:
        raise _too_many(f"{len(chosen)} digits")
    answers = dict(zip(spans, probabilities, strict=True))
    return [Found(_box(parts, span), answers[span], images[span]) for span in chosen]


def _too_many(got: str) -> PictureError:
    return PictureError("too_many_digits", got, f"at most {MAX_DIGITS} digits")


def _spans(parts: list[Part], height: float) -> list[Span]:
    """Neighbouring parts, first to last, that may be one digit: not too wide and, but for whole pieces, not too low."""
    spans = []
    for first in range(len(parts)):
        for last in range(first, min(first + PARTS, len(parts))):
            gaps = [max(0, b.box[0] - a.box[2]) for a, b in pairwise(parts[first : last + 1]) if b.cut is None]
            if max(gaps, default=0) > FAR * height:
                break
            if _is_piece(parts, first, last) or _may_be_digit(_box(parts, (first, last)), height):
                spans.append((first, last))
    return spans


def _is_piece(parts: list[Part], first: int, last: int) -> bool:
    ends = last + 1 == len(parts) or parts[last + 1].cut is None
    return ends and parts[first].cut is None and all(part.cut is not None for part in parts[first + 1 : last + 1])


def _may_be_digit(box: Box, height: float) -> bool:
    width, high = box[2] - box[0], box[3] - box[1]
    return high >= 0.4 * height and width <= 2 * high


def _box(parts: list[Part], span: Span) -> Box:
    left, top, right, bottom = zip(*(part.box for part in parts[span[0] : span[1] + 1]), strict=True)
    return min(left), min(top), max(right), max(bottom)


def _image(ink: Ink, numbers: Labels, parts: list[Part], span: Span) -> Ink | None:
    """`(28, 28) uint8`, only these parts; None where they vanish in the scaling."""
    left, top, right, bottom = _box(parts, span)
    here = numbers[top:bottom, left:right]
    try:
        return normalised(ink[top:bottom, left:right] * ((here == -1) | (span[0] <= here) & (here <= span[1])))
    except PictureError:
        return None


def shapes(images: npt.NDArray[np.uint8], boxes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """`(N, 2)`, what SHAPES is about, of `(N, 28, 28)` images and the boxes that they were scaled from."""
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    edges = np.diff(images > 127, axis=2).sum(axis=(1, 2))
    return np.stack([np.log(width / height), np.log(1 + edges)], axis=1)


def _unlikeliness(
    probabilities: npt.NDArray[np.float32],
    images: npt.NDArray[np.uint8],
    boxes: npt.NDArray[np.int64],
    height: float,
) -> npt.NDArray[np.float64]:
    """`(N,)`: what it costs to take each image for a digit, for the likeliest one, without its neighbours."""
    deviations = (shapes(images, boxes)[:, None] - SHAPES[..., 0]) / SHAPES[..., 1]
    odd = np.minimum(deviations**2, ODDEST).sum(axis=2)
    factors = np.maximum(0, np.log(height / (boxes[:, 3] - boxes[:, 1])))
    costs: npt.NDArray[np.float64] = (ODD * odd - np.log(probabilities + LEAST)).min(axis=1) + LOW * factors**2
    return costs


def _cheapest(parts: list[Part], costs: dict[Span, float], height: float) -> list[Span]:
    """The spans that cover the parts at the least cost, in their order."""
    best: list[tuple[float, list[Span]]] = [(0.0, [])]
    for end in range(1, len(parts) + 1):
        ways = [(best[-1][0] + LEFT_OUT, best[-1][1])]
        for first in range(max(0, end - PARTS), end):
            if (first, end - 1) in costs:
                cost = best[first][0] + costs[first, end - 1] + _seams(parts[first:end], height)
                ways.append((cost, [*best[first][1], (first, end - 1)]))
        best.append(min(ways, key=lambda way: way[0]))
    return best[-1][1]


def _seams(parts: list[Part], height: float) -> float:
    """What it costs to cut these parts from the ones before, and to join them where they do not touch."""
    cost = 0.0 if parts[0].cut is None else CROSSED * (parts[0].cut - THIN)
    for one, other in pairwise(parts):
        if other.cut is None:
            cost += JOIN + APART * max(-0.3, (other.box[0] - one.box[2]) / height)
    return cost
