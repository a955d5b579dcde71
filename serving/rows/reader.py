"""The row reader: locates and classifies each digit of a row.

Ink is over-segmented: at paper, and along cut paths that cross little ink. The Viterbi algorithm then finds the
grouping of neighbouring segments into digits that costs least; a digit costs more the less probable the model rates it
and the less its shape is like that of a handwritten digit. Source: Fujisawa, Nakano and Kurino, "Segmentation methods
for character recognition", Proc. IEEE 80, 1992.

Not covered: more than one line, touching digits one below the other. Points, commas and hyphens are left out.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import PictureError
from pipeline.data.components import Box, Labels, estimate_stroke_width
from pipeline.data.image import scale_and_center
from pipeline.data.ink import INK_THRESHOLD, Ink
from pipeline.data.lines import FAINT
from serving.rows.components import find_components
from serving.rows.cut_paths import BACKGROUND, Segment, split_into_segments
from serving.rows.limits import MAX_DIGITS, MAX_SEGMENTS
from serving.rows.rules import erase_rules

MAX_GAP: Final = 0.12  # of the row's height, between strokes of one digit
# By digit, mean and standard deviation over MNIST's training images of `shape_features`: log(width / height) of the
# ink, and log(1 + edges between ink and paper along the rows), larger for two digits taken for one. Printed by
# `python -m benchmarks.row_accuracy --shapes`.
SHAPE_STATISTICS: Final = np.array(
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
# Costs, in nats like the model's -log p. Tuned on rows of MNIST's validation images and of synthetic digits, see
# benchmarks/row_accuracy.py. Also tried: the model's mean over slightly sheared images (no better).
SHAPE_WEIGHT: Final = 0.06  # per squared standard deviation of each shape feature
MAX_SQUARED_DEVIATION: Final = 14.0  # of each shape feature; larger ones are clipped
HEIGHT_WEIGHT: Final = 5.4  # per square of log(row height / digit height), of digits shorter than the row
CUT_WEIGHT: Final = 0.1  # per stroke width of ink that a cut crosses beyond FREE_CUT_COST
FREE_CUT_COST: Final = 2.8  # stroke widths; a cut that crosses less lowers the cost
OVERLAP_WEIGHT: Final = 6.0  # per row height of the columns that the ink on both sides of a cut shares …
FREE_OVERLAP: Final = 0.1  # … beyond this share of it, which the strokes of two zeros that touch take
SHARED_REACH: Final = 1.2  # stroke widths, of a stroke that a digit shares with the next one
SHARED_COST: Final = 0.5  # of taking such a stroke for part of both
JOIN_COST: Final = 3.4  # of two strokes in a digit that do not touch
GAP_WEIGHT: Final = 8.0  # per row height between them
MIN_GAP: Final = -0.3  # of the row's height; below 0 their columns overlap, and more overlap costs no less
REJECT_COST: Final = 30.0  # of a segment that is part of no digit
PROBABILITY_FLOOR: Final = 2e-3  # added, so that one bad digit does not outweigh all others
MIN_COST: Final = -float(np.log(1 + PROBABILITY_FLOOR))  # of a digit

Span = tuple[int, int]  # the first and the last segment of a digit


class DigitModel(Protocol):
    """Maps `(N, 28, 28) uint8` to `(N, 10)` probabilities and `(N,)` digit scores."""

    def classify(self, images: npt.NDArray[np.uint8], /) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]: ...


@dataclass(frozen=True)
class DetectedDigit:
    """A digit in a picture: its box `left, top, right, bottom` in pixels of the ink, `(classes,)` probabilities, the
    digit score, and the model's input `(28, 28) uint8`, without the ink of neighbours that reach into the box."""

    box: Box
    probabilities: npt.NDArray[np.float32]
    score: np.float32
    image: Ink


Rated = tuple[float, DetectedDigit]  # the cost of taking a span for this digit


def read_row(model: DigitModel, ink: Ink) -> list[DetectedDigit]:
    """The digits in `ink`, `(H, W) uint8, 0 = paper`, from left to right.

    Raises PictureError `more_than_one_line` or `too_many_digits`.
    """
    ink = erase_rules(ink)
    labels, components, height = find_components(ink)
    if len(components) > MAX_DIGITS:
        raise _too_many(f"{len(components)} separate shapes")
    indices, segments = split_into_segments(labels, components, height)
    reach = SHARED_REACH * estimate_stroke_width(ink > INK_THRESHOLD, max(1, len(components)))

    def rate(spans: list[Span], reach: float = 0) -> dict[Span, Rated]:
        drawn = {span: _image(ink, indices, segments, span, reach) for span in spans}
        return _rate(model, {span: image for span, image in drawn.items() if image is not None}, height)

    spans = _candidate_spans(segments, height)
    rated = rate(spans)
    # To draw and classify an image takes long. A span with a shared stroke is drawn only if it is on the best path at
    # the least that it can cost: the result is the same as if all were drawn.
    least_costs = {span: SHARED_COST + MIN_COST for span in spans if _is_cut(segments, span[1])}
    while True:
        costs = {span: cost for span, (cost, _) in rated.items()}
        best = _viterbi(segments, costs | {s: c for s, c in least_costs.items() if c < costs.get(s, np.inf)}, height)
        shared = [span for span in best if least_costs.get(span, np.inf) < costs.get(span, np.inf)]
        if not shared:
            break
        for span in shared:
            del least_costs[span]
        for span, (cost, digit) in rate(shared, reach).items():
            if cost + SHARED_COST < costs.get(span, np.inf):
                rated[span] = cost + SHARED_COST, digit
    if len(best) > MAX_DIGITS:
        raise _too_many(f"{len(best)} digits")
    return [rated[span][1] for span in best]


def _rate(model: DigitModel, images: dict[Span, tuple[Box, Ink]], height: float) -> dict[Span, Rated]:
    """The cost and the digit of each span, classified at once."""
    if not images:
        return {}
    boxes, stack = zip(*images.values(), strict=True)
    probabilities, scores = model.classify(np.stack(stack))
    costs = _digit_costs(probabilities * scores[:, None], np.stack(stack), np.array(boxes), height)
    digits = map(DetectedDigit, boxes, probabilities, scores, stack)
    return dict(zip(images, zip(costs.tolist(), digits, strict=True), strict=True))


def _too_many(got: str) -> PictureError:
    return PictureError("too_many_digits", got, f"at most {MAX_DIGITS} digits")


def _candidate_spans(segments: list[Segment], height: float) -> list[Span]:
    """Neighbouring segments that may be one digit: not too wide, and tall enough unless they are a whole component."""
    spans = []
    for first in range(len(segments)):
        for last in range(first, min(first + MAX_SEGMENTS, len(segments))):
            pairs = pairwise(segments[first : last + 1])
            gaps = [max(0, b.box[0] - a.box[2]) for a, b in pairs if b.cut_cost is None]
            if max(gaps, default=0) > MAX_GAP * height:
                break
            if _is_component(segments, first, last) or _may_be_digit(_union(segments, (first, last)), height):
                spans.append((first, last))
    return spans


def _is_component(segments: list[Segment], first: int, last: int) -> bool:
    is_end = last + 1 == len(segments) or segments[last + 1].cut_cost is None
    is_start = segments[first].cut_cost is None
    return is_start and is_end and all(segment.cut_cost is not None for segment in segments[first + 1 : last + 1])


def _may_be_digit(box: Box, height: float) -> bool:
    w, h = box[2] - box[0], box[3] - box[1]
    return h >= 0.4 * height and w <= 2 * h


def _union(segments: list[Segment], span: Span) -> Box:
    left, top, right, bottom = zip(*(segment.box for segment in segments[span[0] : span[1] + 1]), strict=True)
    return min(left), min(top), max(right), max(bottom)


def _is_cut(segments: list[Segment], last: int) -> bool:
    return last + 1 < len(segments) and segments[last + 1].cut_cost is not None


def _image(ink: Ink, indices: Labels, segments: list[Segment], span: Span, reach: float) -> tuple[Box, Ink] | None:
    """The box, and `(28, 28) uint8`, of these segments; with `reach` also of what is within so many pixels of the left
    outline of the next segment, the stroke that both digits share. None if they vanish in the scaling."""
    left, top, right, bottom = box = _union(segments, span)
    if reach:
        left, top, right, bottom = box = _union(segments, (span[0], span[1] + 1))
    here, part = indices[top:bottom, left:right], ink[top:bottom, left:right]
    mask = (here == BACKGROUND) | (span[0] <= here) & (here <= span[1])
    if reach:
        following = (here == span[1] + 1) & (part > FAINT)
        mask |= following & (np.arange(right - left) < following.argmax(axis=1)[:, None] + reach)
        columns = np.flatnonzero((mask & (part > INK_THRESHOLD)).any(axis=0))
        box = left + int(columns[0]), top, left + int(columns[-1]) + 1, bottom
    try:
        return box, scale_and_center(part * mask)
    except PictureError:
        return None


def shape_features(images: npt.NDArray[np.uint8], boxes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """`(N, 2)`, the features in SHAPE_STATISTICS, of `(N, 28, 28)` images and the boxes they were scaled from."""
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    edges = np.diff(images > 127, axis=2).sum(axis=(1, 2))
    return np.stack([np.log(width / height), np.log(1 + edges)], axis=1)


def _digit_costs(
    probabilities: npt.NDArray[np.float32],
    images: npt.NDArray[np.uint8],
    boxes: npt.NDArray[np.int64],
    height: float,
) -> npt.NDArray[np.float64]:
    """`(N,)`, the cost of taking each image for its likeliest digit, regardless of its neighbours."""
    deviations = (shape_features(images, boxes)[:, None] - SHAPE_STATISTICS[..., 0]) / SHAPE_STATISTICS[..., 1]
    shape = SHAPE_WEIGHT * np.minimum(deviations**2, MAX_SQUARED_DEVIATION).sum(axis=2)
    log_ratio = np.maximum(0, np.log(height / (boxes[:, 3] - boxes[:, 1])))
    costs: npt.NDArray[np.float64] = (shape - np.log(probabilities + PROBABILITY_FLOOR)).min(axis=1)
    return costs + HEIGHT_WEIGHT * log_ratio**2


def _viterbi(segments: list[Segment], costs: dict[Span, float], height: float) -> list[Span]:
    """The spans that cover the segments at the least total cost, in their order."""
    best: list[tuple[float, list[Span]]] = [(0.0, [])]  # cost and spans of the first n segments
    for end in range(1, len(segments) + 1):
        paths = [(best[-1][0] + REJECT_COST, best[-1][1])]
        for first in range(max(0, end - MAX_SEGMENTS), end):
            if (first, end - 1) in costs:
                cost = best[first][0] + costs[first, end - 1] + _grouping_cost(segments[first:end], height)
                paths.append((cost, [*best[first][1], (first, end - 1)]))
        best.append(min(paths, key=lambda path: path[0]))
    return best[-1][1]


def _grouping_cost(segments: list[Segment], height: float) -> float:
    """The cost of the cut before these segments, and of joining any that do not touch."""
    cut_cost = segments[0].cut_cost
    cost = 0.0 if cut_cost is None else CUT_WEIGHT * (cut_cost - FREE_CUT_COST)
    cost += OVERLAP_WEIGHT * max(0.0, segments[0].overlap / height - FREE_OVERLAP)
    for one, other in pairwise(segments):
        if other.cut_cost is None:
            cost += JOIN_COST + GAP_WEIGHT * max(MIN_GAP, (other.box[0] - one.box[2]) / height)
    return cost
