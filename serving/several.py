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

from pipeline.errors import PictureError
from pipeline.image import Ink, normalised
from serving import pieces
from serving.pieces import Box, Labels, Piece
from serving.problems import Problem

MOST: Final = 32  # digits in a picture
PARTS: Final = 8  # to a digit
CUTS: Final = 48  # in a picture, the cheapest; with MOST and PARTS this bounds the time
DEEP: Final = 2.0  # stroke widths; a cut crosses no more
ASIDE: Final = 0.3  # pixels of ink that a path crosses rather than go a column aside
FINE: Final = 64  # rows of ink in which paths are looked for; more show no better ones
# Widths as a share of the row's height.
FAR: Final = 0.12  # strokes of a digit are so far from each other at most
BETWEEN: Final = 0.15  # two cuts
# log(width / height) of the ink in MNIST's training images, by digit: mean, standard deviation.
ASPECT: Final = (-0.11, -0.93, -0.07, -0.24, -0.24, -0.07, -0.33, -0.26, -0.28, -0.40)
SPREAD: Final = (0.20, 0.46, 0.22, 0.21, 0.21, 0.26, 0.22, 0.21, 0.22, 0.21)
# Costs, in nats like the model's -log p; tuned on rows of MNIST's validation images, see benchmarks/reading.py.
ODD: Final = 0.1  # for each squared standard deviation of a digit's proportions
LOW: Final = 7.0  # for each squared factor e that a digit is lower than the row
CROSSED: Final = 0.75  # for each stroke width of ink that a cut crosses,
THIN: Final = 1.1  # less so many: where there is less ink than that, a cut is likely
JOIN: Final = 3.5  # for strokes that do not touch but share a digit,
APART: Final = 15.0  # and for each row's height that they are apart; less, where they share columns
LEFT_OUT: Final = 30.0  # for a part that is in no digit
LEAST: Final = 3e-4  # probability, so that one bad digit does not outweigh all others

Span = tuple[int, int]  # the first and the last part of a digit
Cut = tuple[float, npt.NDArray[np.int64]]


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


@dataclass(frozen=True)
class Part:
    """Ink between two cuts, or a whole piece; `cut` is what it costs to part it from the one before."""

    box: Box
    cut: float | None


def find(model: Reader, ink: Ink) -> list[Found]:
    """The digits in `ink`, `(H, W) uint8, 0 = paper`, from left to right.

    Raises Problem `more_than_one_line` or `too_many_digits`.
    """
    labels, found, height = pieces.find(ink)
    if len(found) > MOST:
        raise _too_many(f"{len(found)} pieces of ink")
    numbers, parts = _parts(labels, found, height)
    spans = _spans(parts, height)
    images = {span: image for span in spans if (image := _image(ink, numbers, parts, span)) is not None}
    answers = dict(zip(images, model.probabilities(np.stack(list(images.values()))), strict=True)) if images else {}
    chosen = _cheapest(parts, answers, height)
    if len(chosen) > MOST:
        raise _too_many(f"{len(chosen)} digits")
    return [Found(_box(parts, span), answers[span], images[span]) for span in chosen]


def _too_many(got: str) -> Problem:
    return Problem("too_many_digits", f"got {got}, expected at most {MOST} digits", got=got, expected=f"≤ {MOST} digits")


def _parts(labels: Labels, found: list[Piece], height: float) -> tuple[Labels, list[Part]]:
    """Which part each pixel belongs to, -1 = none and -2 = ink that is no digit; and the parts, in their order."""
    owners = np.full(labels.max() + 1, -2, np.int32)
    owners[0] = -1
    for number, piece in enumerate(found):
        owners[list(piece.labels)] = number
    owner = owners[labels]
    insides = [owner[top:bottom, left:right] == i for i, (left, top, right, bottom) in enumerate(p.box for p in found)]
    cuts = [_cuts(inside, height) for inside in insides]
    limit = max(sorted(cost for some in cuts for cost, _ in some)[:CUTS], default=0.0)
    numbers = np.where(owner < 0, owner, 0)
    parts: list[Part] = []
    for piece, inside, some in zip(found, insides, cuts, strict=True):
        left, top, right, bottom = piece.box
        here, cost = numbers[top:bottom, left:right], None
        for next_cost, path in [cut for cut in some if cut[0] <= limit]:
            part = inside & (np.arange(right - left) < path[:, None])
            here[part] = len(parts)
            parts.append(Part(_around(part, left, top), cost))
            inside, cost = inside & ~part, next_cost
        here[inside] = len(parts)
        parts.append(Part(_around(inside, left, top), cost))
    return _spilt(numbers), parts


def _around(mask: npt.NDArray[np.bool_], left: int, top: int) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1


def _spilt(numbers: Labels) -> Labels:
    """Paper within two pixels of ink, where it is grey from its edge, goes with that ink."""
    for step, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)) * 2:
        moved = np.roll(numbers, step, axis)
        numbers = np.where(numbers == -1, moved, numbers)
    return numbers


def _cuts(inside: npt.NDArray[np.bool_], height: float) -> list[Cut]:
    """Where a piece `(h, w)` may be cut, from left to right: what it costs, and for each row the first column to the
    right. The path goes down through a column at half height, straight or diagonally, and crosses the least ink."""
    h, w = inside.shape
    step = -(-h // FINE)
    margin = int(max(2, BETWEEN * height / step))
    small = inside[::step, ::step]
    if small.shape[1] < 3 * margin:
        return []
    edges = np.count_nonzero(small[1:] != small[:-1]) + np.count_nonzero(small[:, 1:] != small[:, :-1])
    stroke = max(1.0, 2 * np.count_nonzero(small) / (1 + edges * np.pi / 4))
    half = len(small) // 2
    (up, upward), (down, downward) = _paths(small[half::-1]), _paths(small[half:])
    costs = (up + down - small[half]) / stroke
    costs[:margin] = costs[-margin:] = np.inf
    cuts = []
    while costs.min() <= DEEP:
        column = int(costs.argmin())
        path = step * np.concatenate([_path(upward, column)[::-1], _path(downward, column)[1:]])
        cuts.append((float(costs[column]), np.repeat(path, step)[:h]))
        costs[max(0, column - margin) : column + margin + 1] = np.inf
    cuts.sort(key=lambda cut: int(cut[1].sum()))
    kept = []
    for cost, path in cuts:
        part = inside & (np.arange(w) < path[:, None])
        if part.any() and (inside & ~part).any():
            kept.append((cost, path))
            inside = inside & ~part
    return kept


def _paths(ink: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8]]:
    """For each column of the first row, the ink on the cheapest way to the last; and each pixel's next step on it."""
    rows, columns = ink.shape
    beyond = np.full(columns + 2, np.inf, np.float32)  # what the way on from the next row costs
    beyond[1:-1] = ink[-1]
    steps = np.zeros(ink.shape, np.int8)
    for row in range(rows - 2, -1, -1):
        left, right = beyond[:-2] + ASIDE, beyond[2:] + ASIDE
        aside = np.minimum(left, right)
        steps[row] = (aside < beyond[1:-1]) * np.where(left <= right, -1, 1)
        beyond[1:-1] = np.minimum(aside, beyond[1:-1]) + ink[row]
    return beyond[1:-1], steps


def _path(steps: npt.NDArray[np.int64], column: int) -> npt.NDArray[np.int64]:
    path = [column]
    for row in steps[:-1]:
        path.append(path[-1] + int(row[path[-1]]))
    return np.array(path)


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


def _cheapest(parts: list[Part], answers: dict[Span, npt.NDArray[np.float32]], height: float) -> list[Span]:
    """The spans that cover all parts at the least cost, in their order. A piece of which nothing can be made is left
    out."""
    best: list[tuple[float, list[Span]]] = [(0.0, [])]
    for end in range(1, len(parts) + 1):
        ways = [(best[end - 1][0] + LEFT_OUT, best[end - 1][1])]
        for first in range(max(0, end - PARTS), end):
            if (answer := answers.get((first, end - 1))) is not None:
                before, chosen = best[first]
                cost = _cost(parts[first:end], answer, height)
                ways.append((before + cost, [*chosen, (first, end - 1)]))
        best.append(min(ways, key=lambda way: way[0]))
    return best[-1][1]


def _cost(parts: list[Part], answer: npt.NDArray[np.float32], height: float) -> float:
    left, top, right, bottom = _box(parts, (0, len(parts) - 1))
    proportions = (np.log((right - left) / (bottom - top)) - np.array(ASPECT)) / np.array(SPREAD)
    cost = float((ODD * np.minimum(proportions**2, 9) - np.log(answer + LEAST)).min())
    cost += LOW * max(0.0, float(np.log(height / (bottom - top)))) ** 2
    if parts[0].cut is not None:
        cost += CROSSED * (parts[0].cut - THIN)
    for one, other in pairwise(parts):
        if other.cut is None:
            cost += JOIN + APART * max(-0.3, (other.box[0] - one.box[2]) / height)
    return cost
