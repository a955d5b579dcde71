"""Where touching digits may be cut: paths from the top to the bottom of a piece that cross little ink.

Finds more cuts than there are digits; `serving.rows.reader` chooses. Not covered: digits that touch below each other.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from serving.rows import components
from serving.rows.components import Box, Labels, Piece

MAX_CUTS: Final = 48  # cuts in a picture, the cheapest; it bounds the time
DEEP: Final = 2.0  # stroke widths of ink; a cut crosses no more
BETWEEN: Final = 0.15  # of the row's height, between two cuts
ASIDE: Final = 0.3  # pixels of ink that a path crosses rather than go a column aside
FINE: Final = 64  # rows of ink in which paths are looked for; more show no better ones

Cut = tuple[float, npt.NDArray[np.int64]]  # stroke widths crossed; for each row the first column to the right


@dataclass(frozen=True)
class Part:
    """Ink between two cuts, or a whole piece; `cut` is how many stroke widths part it from the one before, if any."""

    box: Box
    cut: float | None


def apart(labels: Labels, found: list[Piece], height: float) -> tuple[Labels, list[Part]]:
    """Which part each pixel belongs to, -1 = none and -2 = ink that is no digit; and the parts, in their order."""
    owners = np.full(labels.max() + 1, -2, np.int32)
    owners[0] = -1
    for number, piece in enumerate(found):
        owners[list(piece.labels)] = number
    owner = owners[labels]
    insides = [owner[top:bottom, left:right] == i for i, (left, top, right, bottom) in enumerate(p.box for p in found)]
    cuts = [between(inside, height) for inside in insides]
    limit = max(sorted(cost for some in cuts for cost, _ in some)[:MAX_CUTS], default=0.0)
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


def between(inside: npt.NDArray[np.bool_], height: float) -> list[Cut]:
    """Where a piece `(h, w)` may be cut, from left to right: what it costs, and for each row the first column to the
    right. The path goes down through a column at half height, straight or diagonally, and crosses the least ink."""
    h, w = inside.shape
    step = -(-h // FINE)
    margin = int(max(2, BETWEEN * height / step))
    small = inside[::step, ::step]
    if small.shape[1] < 3 * margin:
        return []
    stroke = components.thickness(small)
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


def _path(steps: npt.NDArray[np.int8], column: int) -> npt.NDArray[np.int64]:
    path = [column]
    for row in steps[:-1]:
        path.append(path[-1] + int(row[path[-1]]))
    return np.array(path)
