"""Connected components of a mask, found with numpy alone: the service's image has no scipy."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

MAX_COMPONENTS: Final = 256  # the largest are kept: noise has thousands

Labels = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]
Box = tuple[int, int, int, int]  # left, top, right, bottom, the last two exclusive


@dataclass(frozen=True)
class Component:
    """A connected component, or several merged: labels in the label image, bounding box, area in pixels."""

    labels: tuple[int, ...]
    box: Box
    area: int

    @property
    def width(self) -> int:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> int:
        return self.box[3] - self.box[1]

    def __or__(self, other: "Component") -> "Component":
        (a, b, c, d), (e, f, g, h) = self.box, other.box
        box = (min(a, e), min(b, f), max(c, g), max(d, h))
        return Component(self.labels + other.labels, box, self.area + other.area)


def connected_components(mask: npt.NDArray[np.bool_]) -> tuple[Labels, list[Component]]:
    """The 8-connected components of `mask`, and `(H, W)` labels, 0 = background.

    Union-find over runs of pixels: runs along the rows are nodes, runs that touch in neighbouring rows are edges. Each
    round links all roots to lower neighbours at once, then compresses the paths.
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
    _, indices = np.unique(roots, return_inverse=True)
    labels = np.zeros(mask.shape, np.int32)
    labels[mask] = np.repeat(indices + 1, ends - starts)
    return labels, _from_runs(indices, starts // stride, starts % stride - 1, ends - starts)


def _from_runs(indices: Indices, rows: Indices, left: Indices, lengths: Indices) -> list[Component]:
    """Components from their runs: the component's index, row, first column and length of each run."""
    order = np.argsort(indices, kind="stable")
    at = np.flatnonzero(np.diff(indices[order], prepend=-1))
    rows, left, lengths = rows[order], left[order], lengths[order]
    low, high = (left, rows), (left + lengths, rows + 1)
    boxes = np.stack([*(np.minimum.reduceat(v, at) for v in low), *(np.maximum.reduceat(v, at) for v in high)], axis=1)
    areas = np.add.reduceat(lengths, at)
    largest = np.argsort(areas, kind="stable")[-MAX_COMPONENTS:]
    return [Component((i + 1,), tuple(boxes[i].tolist()), int(areas[i])) for i in largest.tolist()]


def estimate_stroke_width(mask: npt.NDArray[np.bool_], components: int = 1) -> float:
    """Width in pixels, from area and perimeter, as if each component were one straight stroke."""
    edges = np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1])
    half = edges * np.pi / 8  # of the perimeter; the edges of pixels are longer by 4 / pi
    root = np.sqrt(max(0.0, half**2 - 4 * components * np.count_nonzero(mask)))
    return max(1.0, float(half - root) / (2 * components))
