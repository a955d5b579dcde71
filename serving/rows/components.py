"""The connected pieces of ink in a picture of a row of digits: what may be a digit or a stroke of one.

Knows shapes and places only, no model. Not covered: lines that touch each other, underlines that touch their digits.
"""

from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import PictureError
from pipeline.data.image import Ink

INKED: Final = 64  # of 255; the same as for `pipeline.data.image.normalised`
MAX_COMPONENTS: Final = 256  # pieces that are looked at, the largest: a page of noise has thousands
# Everything below is a share of the row's height.
DUST: Final = 0.1  # what is smaller both ways is none of a digit's strokes
SMALL: Final = 0.35  # what is lower than this is not a digit: a stroke of one, a point, a comma, a hyphen
NEAR: Final = 0.08  # a stroke is so far from its digit at most
RULE: Final = 1.6  # an underline is at least so long, and far longer than thick

Labels = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]
Box = tuple[int, int, int, int]  # left, top, right, bottom, the last two exclusive


@dataclass(frozen=True)
class Piece:
    """Ink that stays together: the numbers that it has among the labels, its box, and how many pixels it covers."""

    labels: tuple[int, ...]
    box: Box
    area: int

    @property
    def width(self) -> int:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> int:
        return self.box[3] - self.box[1]

    def __or__(self, other: "Piece") -> "Piece":
        (a, b, c, d), (e, f, g, h) = self.box, other.box
        box = (min(a, e), min(b, f), max(c, g), max(d, h))
        return Piece(self.labels + other.labels, box, self.area + other.area)


def find(ink: Ink) -> tuple[Labels, list[Piece], float]:
    """`(H, W)` labels, 0 = paper; the pieces that are large enough for a digit, from left to right by their middles,
    each with the small strokes that belong to it; and the height of the row in pixels.

    Underlines, points, commas, hyphens and dust have labels but are in no piece.

    Raises PictureError `more_than_one_line`.
    """
    labels, pieces = connected(ink > INKED)
    if not pieces:
        return labels, [], 0.0
    stroke = thickness(ink > INKED, len(pieces))
    pieces = without_rules(pieces, stroke)
    height = row_height(pieces, stroke)
    pieces = [piece for group in _groups(pieces) for piece in _undashed(group, stroke, height)]
    large = [piece for piece in pieces if piece.height >= SMALL * height]
    check_one_line(large, stroke, height)
    for dash in sorted(pieces, key=lambda piece: -piece.area):  # the largest first: others may be near to it only
        if dash not in large and max(dash.width, dash.height) >= DUST * height:
            owner = _owner(dash, large, height)
            large = [piece | dash if piece is owner else piece for piece in large]
    return labels, sorted(large, key=lambda piece: (piece.box[0] + piece.box[2], piece.box)), height


def thickness(mask: npt.NDArray[np.bool_], pieces: int = 1) -> float:
    """The pen's width in pixels, from area and outline: as if each piece were one straight stroke."""
    edges = np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1])
    half = edges * np.pi / 8  # of the outline: steps are longer than their slope by 4 / pi
    root = np.sqrt(max(0.0, half**2 - 4 * pieces * np.count_nonzero(mask)))
    return max(1.0, float(half - root) / (2 * pieces))


def connected(mask: npt.NDArray[np.bool_]) -> tuple[Labels, list[Piece]]:
    """The pieces of `mask`, pixels joined also by their corners, and `(H, W)` labels, 0 = none.

    Runs of pixels along the rows are nodes, runs that touch in neighbouring rows are edges; each round hangs every
    tree below a lower neighbour and flattens it, all at once.
    """
    stride = mask.shape[1] + 2
    bounds = np.flatnonzero(np.diff(np.pad(mask, ((0, 0), (1, 1))).ravel().astype(np.int8))) + 1
    starts, ends = bounds[::2], bounds[1::2]
    first = np.searchsorted(ends, starts + stride, "left")
    count = np.searchsorted(starts, ends + stride, "right") - first
    above = np.repeat(np.arange(starts.size), count)
    below = np.arange(count.sum()) + np.repeat(first - (count.cumsum() - count), count)
    roots = np.arange(starts.size)
    while (roots[above] != roots[below]).any():
        one, other = roots[above], roots[below]
        np.minimum.at(roots, np.maximum(one, other), np.minimum(one, other))
        while (roots[roots] != roots).any():
            roots = roots[roots]
    _, numbers = np.unique(roots, return_inverse=True)
    labels = np.zeros(mask.shape, np.int32)
    labels[mask] = np.repeat(numbers + 1, ends - starts)
    return labels, _measured(numbers, starts // stride, starts % stride - 1, ends - starts)


def _measured(numbers: Indices, rows: Indices, left: Indices, wide: Indices) -> list[Piece]:
    """Pieces from their runs: the piece's number, row, first column and length of each."""
    order = np.argsort(numbers, kind="stable")
    at = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    rows, left, wide = rows[order], left[order], wide[order]
    low, high = (left, rows), (left + wide, rows + 1)
    boxes = np.stack([*(np.minimum.reduceat(v, at) for v in low), *(np.maximum.reduceat(v, at) for v in high)], axis=1)
    areas = np.add.reduceat(wide, at)
    largest = np.argsort(areas, kind="stable")[-MAX_COMPONENTS:]
    return [Piece((i + 1,), tuple(boxes[i].tolist()), int(areas[i])) for i in largest.tolist()]


def without_rules(pieces: list[Piece], stroke: float) -> list[Piece]:
    """What is left without underlines and ruled lines: straight pieces, level and longer than the others are high."""
    others = [piece for piece in pieces if piece.height > 0.3 * piece.width or not _is_straight(piece, stroke)]
    if not others:
        return pieces
    height = row_height(others, stroke)
    return [piece for piece in pieces if piece in others or piece.width < RULE * height]


def row_height(pieces: list[Piece], stroke: float) -> float:
    """The height that half of the ink does not exceed; a digit of dashes counts as one."""
    seen = [piece for group in _groups(pieces) for piece in _undashed(group, stroke, np.inf)]
    seen.sort(key=lambda piece: piece.height)
    weights = np.cumsum([piece.area for piece in seen])
    return float(seen[int(np.searchsorted(weights, weights[-1] / 2))].height)


def _groups(pieces: list[Piece]) -> list[list[Piece]]:
    """Pieces that share columns, from left to right."""
    groups: list[list[Piece]] = []
    right = -1
    for piece in sorted(pieces, key=lambda piece: piece.box[0]):
        if piece.box[0] >= right:
            groups.append([])
        groups[-1].append(piece)
        right = max(right, piece.box[2])
    return groups


def _undashed(group: list[Piece], stroke: float, height: float) -> list[Piece]:
    """One piece if all of the group are straight, close, and too low for digits in such a row: a dashed digit."""
    joined = reduce(or_, group)
    is_dashed = all(_is_straight(piece, stroke) and piece.height < SMALL * height for piece in group)
    return [joined] if is_dashed and sum(piece.height for piece in group) > 0.5 * joined.height else group


def _is_straight(piece: Piece, stroke: float) -> bool:
    return float(np.hypot(piece.width, piece.height)) > 0.8 * piece.area / stroke


def check_one_line(pieces: list[Piece], stroke: float, height: float) -> None:
    """Raises PictureError where one digit stands below another, or no slanted line passes through all of them."""
    boxes = np.array([piece.box for piece in pieces], dtype=float).reshape(-1, 4)
    left, top, right, bottom = boxes.T
    straight = np.array([_is_straight(piece, stroke) for piece in pieces], dtype=bool)
    high = bottom - top
    lower, higher = np.minimum(high[:, None], high), np.maximum(high[:, None], high)
    shared = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)
    is_below = shared > 0.3 * np.minimum((right - left)[:, None], right - left)
    gap = np.where(straight[:, None] & straight, 0.5, 0.08) * lower  # dashes of a stroke may be farther apart
    is_below &= (lower > 0.5 * higher) & (top - bottom[:, None] > gap)
    if is_below.any() or not any(_fits(boxes, slope, height) for slope in np.linspace(-0.6, 0.6, 13)):
        raise PictureError("more_than_one_line", "more than one line", "one line")


def _fits(boxes: npt.NDArray[np.float64], slope: float, height: float) -> bool:
    """Whether what the boxes cover of a line's height, sheared by `slope`, has no gap."""
    fall = slope * (boxes[:, 0] + boxes[:, 2]) / 2
    order = np.argsort(boxes[:, 1] - fall)
    tops, bottoms = (boxes[:, 1] - fall)[order], (boxes[:, 3] - fall)[order]
    return bool((tops[1:] - np.maximum.accumulate(bottoms)[:-1] <= 0.15 * height).all())


def _owner(stroke: Piece, pieces: list[Piece], height: float) -> Piece | None:
    """The piece that shares most columns with a small stroke, or is very near; none for a point or a comma, which is
    small both ways and stands on the line beside its digits."""
    reach = NEAR * height
    best, most = None, -reach
    for piece in pieces:
        (left, top, right, bottom), (x0, y0, x1, y1) = piece.box, stroke.box
        shared = min(right, x1) - max(left, x0)
        beside = shared < 0.5 * stroke.width
        is_point = beside and max(stroke.width, stroke.height) < SMALL * height and y0 > top + 0.6 * (bottom - top)
        apart = max(y0 - bottom, top - y1)
        if not is_point and shared > most and apart < 0.5 * height and (not beside or apart < reach):
            best, most = piece, shared
    return best
