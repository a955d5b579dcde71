"""Cut paths between touching digits: from the top to the bottom of a component, across as little ink as possible.

Over-segments on purpose: `serving.rows.reader` selects among the cuts. Not covered: touching digits one below the
other.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.data.components import Box, Component, Labels, connected_components, estimate_stroke_width
from serving.rows.limits import MAX_CUTS

MAX_CUT_COST: Final = 2.0  # stroke widths of ink that a cut crosses
MIN_CUT_DISTANCE: Final = 0.15  # of the row's height, between two cuts
HOLE_COST: Final = 0.3  # pixels of ink, of a pixel inside a loop
CONTACT_HOLE_COST: Final = 1.5  # likewise, of cuts beside loops
MAX_CONTACT: Final = 0.8  # of the row's height, the ink that such a cut crosses
DIAGONAL_COST: Final = 0.3  # pixels of ink, of a path's step to a neighbouring column
MAX_PATH_ROWS: Final = 64  # ink is subsampled to this; more rows give no better paths
BACKGROUND: Final = -1  # in the segment image
REJECTED: Final = -2  # ink that is part of no digit

Cut = tuple[float, npt.NDArray[np.int64]]  # stroke widths crossed; for each row the first column right of the cut


@dataclass(frozen=True)
class Segment:
    """Ink between two cuts, or a whole component; `cut_cost` is that of the cut on its left, None without one.

    `overlap`: the columns, in pixels, that the ink left of this cut shares with the ink right of it.
    """

    box: Box
    cut_cost: float | None
    overlap: int = 0


def split_into_segments(labels: Labels, components: list[Component], height: float) -> tuple[Labels, list[Segment]]:
    """The index of each pixel's segment, or BACKGROUND or REJECTED; and the segments in their order."""
    owners = np.full(labels.max() + 1, REJECTED, np.int32)
    owners[0] = BACKGROUND
    for index, component in enumerate(components):
        owners[list(component.labels)] = index
    owner = owners[labels]
    boxes = [component.box for component in components]
    masks = [owner[top:bottom, left:right] == i for i, (left, top, right, bottom) in enumerate(boxes)]
    cuts = [find_cuts(mask, height) for mask in masks]
    max_cost = max(sorted(cost for some in cuts for cost, _ in some)[:MAX_CUTS], default=0.0)
    indices = np.where(owner < 0, owner, 0)
    segments: list[Segment] = []
    for (left, top, right, bottom), mask, some in zip(boxes, masks, cuts, strict=True):
        here, cost, farthest = indices[top:bottom, left:right], None, 0  # the right end of the ink cut off so far
        for next_cost, path in [cut for cut in some if cut[0] <= max_cost]:
            segment = mask & (np.arange(right - left) < path[:, None])
            here[segment] = len(segments)
            segments.append(Segment(_bounding_box(segment, left, top), cost, _overlap(farthest, mask, left)))
            farthest = max(farthest, segments[-1].box[2])
            mask, cost = mask & ~segment, next_cost
        here[mask] = len(segments)
        segments.append(Segment(_bounding_box(mask, left, top), cost, _overlap(farthest, mask, left)))
    return _dilate(indices), segments


def _bounding_box(mask: npt.NDArray[np.bool_], left: int, top: int) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1


def _overlap(farthest: int, rest: npt.NDArray[np.bool_], left: int) -> int:
    return max(0, farthest - left - int(rest.any(axis=0).argmax()))


def _dilate(indices: Labels) -> Labels:
    """Assign the background within two pixels of a segment, which holds its antialiased edge, to that segment."""
    for step, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)) * 2:
        shifted = np.roll(indices, step, axis)
        indices = np.where(indices == BACKGROUND, shifted, indices)
    return indices


def find_cuts(mask: npt.NDArray[np.bool_], height: float) -> list[Cut]:
    """Possible cuts of a component `(h, w)`, from left to right.

    Through each column at half height, the path that crosses the least ink is found by dynamic programming; it steps
    straight or diagonally. The paths of least cost are kept, MIN_CUT_DISTANCE apart. Paths that avoid loops may cross
    more ink: loops that touch, such as those of two zeros, share it over a part of their height.
    """
    h, w = mask.shape
    step = -(-h // MAX_PATH_ROWS)
    margin = int(max(2, MIN_CUT_DISTANCE * height / step))
    small = mask[::step, ::step]
    if small.shape[1] < 3 * margin:
        return []
    stroke_width = estimate_stroke_width(small)
    holes = find_holes(small)
    limits = (MAX_CUT_COST, MAX_CONTACT * height / step / stroke_width)
    paths = [_Paths(small + np.float32(cost) * holes) for cost in (HOLE_COST, CONTACT_HOLE_COST)]
    costs = np.stack([some.costs / stroke_width for some in paths])
    shares = costs / np.array(limits)[:, None]
    shares[:, :margin] = shares[:, -margin:] = np.inf
    cuts = []
    while shares.min() <= 1:
        kind, column = np.unravel_index(int(shares.argmin()), shares.shape)
        path = step * paths[kind].trace(int(column))
        cuts.append((float(costs[kind, column]), np.repeat(path, step)[:h]))
        shares[:, max(0, column - margin) : column + margin + 1] = np.inf
    cuts.sort(key=lambda cut: int(cut[1].sum()))
    kept = []
    for cost, path in cuts:
        segment = mask & (np.arange(w) < path[:, None])
        if segment.any() and (mask & ~segment).any():
            kept.append((cost, path))
            mask = mask & ~segment
    return kept


class _Paths:
    """The cheapest path through each column at half height, from the first row to the last, and its cost."""

    def __init__(self, pixels: npt.NDArray[np.float32]) -> None:
        half = len(pixels) // 2
        up, self._up = _path_costs(pixels[half::-1])
        down, self._down = _path_costs(pixels[half:])
        self.costs = up + down - pixels[half]

    def trace(self, column: int) -> npt.NDArray[np.int64]:
        return np.concatenate([_trace_path(self._up, column)[::-1], _trace_path(self._down, column)[1:]])


def find_holes(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The paper that ink surrounds: the inside of a loop."""
    labels, _ = connected_components(np.pad(~mask, 1, constant_values=True))
    inside: npt.NDArray[np.bool_] = ((labels != labels[0, 0]) & (labels != 0))[1:-1, 1:-1]
    return inside


def _path_costs(pixels: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8]]:
    """For each column of the first row, the cost of the best path to the last row, in the costs of its pixels; and each
    pixel's next step on it."""
    rows, columns = pixels.shape
    costs = np.full(columns + 2, np.inf, np.float32)  # of the paths from the row below, padded on both sides
    costs[1:-1] = pixels[-1]
    steps = np.zeros(pixels.shape, np.int8)
    for row in range(rows - 2, -1, -1):
        left, right = costs[:-2] + DIAGONAL_COST, costs[2:] + DIAGONAL_COST
        diagonal = np.minimum(left, right)
        steps[row] = (diagonal < costs[1:-1]) * np.where(left <= right, -1, 1)
        costs[1:-1] = np.minimum(diagonal, costs[1:-1]) + pixels[row]
    return costs[1:-1], steps


def _trace_path(steps: npt.NDArray[np.int8], column: int) -> npt.NDArray[np.int64]:
    """The path's column in each row, from the first row on."""
    path = [column]
    for row in steps[:-1]:
        path.append(path[-1] + int(row[path[-1]]))
    return np.array(path)
