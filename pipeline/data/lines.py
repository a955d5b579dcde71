"""Straight lines in a mask: the rules of ruled or squared paper, margin lines and underlines.

Where a line is thin its pixels are the line's; where a stroke crosses it they stay the stroke's. Not covered: curved
lines, and lines that a stroke runs along.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.data.components import Component, connected_components
from pipeline.data.ink import INK_THRESHOLD, Ink

FAINT: Final = INK_THRESHOLD // 2  # of 255; rules are often fainter than ink
MAX_TRACED: Final = 24  # strokes, the longest first; squared paper has as many lines
MAX_SLOPE: Final = 0.45  # underlines are drawn by hand
MAX_THICKNESS: Final = 1.8  # stroke widths
THIN_PART: Final = 0.2  # quantile of the heights along a line: strokes that run along it are thicker
CROSSING: Final = 1.5  # thicknesses of a line, and a pixel: higher ink in a column is a stroke that crosses it
MAX_BREAK: Final = 2  # pixels, in a line
MAX_BREAK_SHARE: Final = 0.04  # of the picture's width: in a tiny picture two digits are a few pixels apart
MIN_THIN: Final = 0.5  # of a line's columns; of a stroke of digits, more is thicker
MIN_SHARE: Final = 0.2  # of the picture's side; shorter lines are not looked for
MIN_SPAN: Final = 0.97  # of the picture's side, of a line from border to border; a shorter upright line may be a 1
MAX_ROUNDS: Final = 4  # of fitting a line

Mask = npt.NDArray[np.bool_]


class Line(NamedTuple):
    """The length of a line, and the pixels to clear, `(H, W)`: those of its thin columns."""

    length: int
    pixels: Mask


def find_rules(mask: Mask, stroke_width: float) -> list[Line]:
    """Lines along the rows, from the left to the right border."""
    margin = 1 + int((1 - MIN_SPAN) * mask.shape[1])
    if not (mask[:, :margin].any() and mask[:, -margin:].any()):
        return []
    return [line for line in find_lines(mask, stroke_width) if line.length >= MIN_SPAN * mask.shape[1]]


def clear(ink: Ink, removed: Mask, kept: Mask) -> Ink:
    """`ink` without the removed pixels and their antialiased edges, but with those that are kept."""
    fringe = removed.copy()
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        fringe |= np.roll(removed, step, axis)
    return np.where(fringe & ~kept, 0, ink).astype(np.uint8)


def find_lines(mask: Mask, stroke_width: float) -> list[Line]:
    """Straight lines along the rows, from the longest strokes that are level and thin."""
    runs, heights = upright_runs(mask)
    limit = max(3.0, MAX_THICKNESS * stroke_width)
    thin = mask & (heights[runs] <= limit)
    labels, pieces = connected_components(thin)
    seeds = [p for p in pieces if p.width > 2 * limit and p.height <= limit + MAX_SLOPE * p.width]
    pixels = np.nonzero(thin)
    lines: list[Line] = []
    traced = 0
    for seed in sorted(seeds, key=lambda piece: -piece.width):
        left, top, right, bottom = seed.box
        stroke = labels[top:bottom, left:right] == seed.labels[0]
        if any((line.pixels[top:bottom, left:right] & stroke).any() for line in lines):
            continue
        traced += 1
        line = _trace(mask, pixels, runs, heights, seed, stroke)
        if line is not None:
            lines.append(line)
        if traced == MAX_TRACED:
            break
    return lines


def upright_runs(mask: Mask) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """`(H, W)`, the number of the upright run of ink that each pixel is in, 0 for paper; and the runs' heights."""
    upright = np.ascontiguousarray(mask.T)
    bounds = np.flatnonzero(np.diff(np.pad(upright, ((0, 0), (1, 1))).ravel().astype(np.int8)))
    heights = bounds[1::2] - bounds[::2]
    runs = np.zeros(upright.shape, np.int32)
    runs[upright] = np.repeat(np.arange(1, len(heights) + 1), heights)
    return runs.T, np.concatenate([[0], heights])


def _trace(
    mask: Mask,
    thin: tuple[npt.NDArray[np.int64], ...],
    runs: npt.NDArray[np.int32],
    heights: npt.NDArray[np.int64],
    seed: Component,
    stroke: Mask,
) -> Line | None:
    """The line that a stroke is part of: fitted to the stroke, extended while there is ink, and fitted again."""
    y, x = np.nonzero(stroke)
    y, x = y + seed.box[1], x + seed.box[0]
    thickness = float(np.quantile(heights[runs[y, x]], THIN_PART))
    rows, columns = thin
    left, right = seed.box[0], seed.box[2]
    for _ in range(MAX_ROUNDS):
        slope, start = _fit(x, y)
        if abs(slope) > MAX_SLOPE:
            return None
        before = left, right
        left, right = _extent(mask, start, slope, (seed.box[0] + seed.box[2]) // 2, thickness)
        if right - left < MIN_SHARE * mask.shape[1]:
            return None
        near = (columns >= left) & (columns < right)
        near &= np.abs(rows - slope * columns - start) <= thickness / 2 + 1.5
        y, x = rows[near], columns[near]
        if not x.size or np.ptp(x) == 0:
            return None
        thickness = float(np.quantile(heights[runs[y, x]], THIN_PART))
        if (left, right) == before:
            break
    is_line = np.zeros(len(heights), bool)
    middle = np.abs(y - slope * x - start) <= max(1.0, thickness / 4)
    is_line[runs[y[middle], x[middle]]] = True
    is_line &= heights <= CROSSING * thickness + 1
    pixels = is_line[runs]
    return Line(right - left, pixels) if pixels.any(axis=0).sum() >= MIN_THIN * (right - left) else None


def _fit(x: npt.NDArray[np.int64], y: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Slope and start of the straight line through points, by least squares."""
    away = x - x.mean()
    slope = float(away @ y / (away @ away))
    return slope, float(y.mean() - slope * x.mean())


def _extent(mask: Mask, start: float, slope: float, middle: int, thickness: float) -> tuple[int, int]:
    """The columns around `middle` in which there is ink on the line, with gaps of at most MAX_BREAK."""
    height, width = mask.shape
    at = np.round(start + slope * np.arange(width)).astype(int)
    reach = int(thickness / 2 + 1)
    window = at[:, None] + np.arange(-reach, reach + 1)
    is_inside = (window >= 0) & (window < height)
    covered = (mask[np.clip(window, 0, height - 1), np.arange(width)[:, None]] & is_inside).any(axis=1)
    covered[middle] = True
    columns = np.flatnonzero(covered)
    max_break = min(MAX_BREAK, int(MAX_BREAK_SHARE * width))
    groups = np.cumsum(np.diff(columns, prepend=columns[0]) > 1 + max_break)
    here = columns[groups == groups[np.searchsorted(columns, middle)]]
    return int(here[0]), int(here[-1]) + 1
