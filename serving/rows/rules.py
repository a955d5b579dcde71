"""Rules in a picture of a row of digits: the lines of ruled or squared paper, margin lines and underlines."""

from functools import reduce
from operator import or_
from typing import Final

import numpy as np

from pipeline.data.components import connected_components, estimate_stroke_width
from pipeline.data.ink import Ink
from pipeline.data.lines import FAINT, MIN_SPAN, Line, Mask, clear, find_lines, find_rules
from serving.rows.components import MIN_RULE_LENGTH, row_height

MIN_OUTSIDE_LENGTH: Final = 1.25  # row heights, of such a line, or of an underline
MAX_BELOW: Final = 0.03  # of the ink in an underline's columns
DARKER: Final = 30  # of 255; darker pixels than the line's are of a stroke that runs along it


def erase_rules(ink: Ink) -> Ink:
    """`ink`, `(H, W) uint8, 0 = paper`, without lines that are level and longer than the digits are high, and without
    upright lines from border to border."""
    mask = ink > FAINT
    if not mask.any():
        return ink
    stroke_width = estimate_stroke_width(mask)
    level = find_lines(mask, stroke_width)
    lines = level + [Line(rule.length, rule.pixels.T) for rule in find_rules(mask.T, stroke_width)]
    if not lines:
        return ink
    rest = mask & ~reduce(or_, (line.pixels for line in lines))
    marks = [mark for mark in connected_components(rest)[1] if max(mark.width, mark.height) > 2 * stroke_width]
    if not marks:
        return ink
    height = row_height(marks, stroke_width)
    kept, erased = mask.copy(), np.zeros_like(mask)
    for number, line in enumerate(lines):
        is_whole = line.length >= MIN_SPAN * mask.shape[number < len(level)]
        is_outside = is_whole or _is_underline(line, rest)
        if line.length >= (MIN_OUTSIDE_LENGTH if is_outside else MIN_RULE_LENGTH) * height:
            kept &= ~line.pixels | (ink > np.median(ink[line.pixels]) + DARKER)
            erased |= line.pixels
    kept &= ~_left_over(kept, erased)
    return clear(ink, mask & ~kept, kept)


def _left_over(kept: Mask, erased: Mask) -> Mask:
    """The darker pixels of erased lines that touch no other ink: a line is not equally dark everywhere."""
    labels, _ = connected_components(kept)
    return erased & kept & ~np.isin(labels, labels[kept & ~erased])


def _is_underline(line: Line, rest: Mask) -> bool:
    """Whether all ink in the line's columns is above it."""
    rows = np.arange(len(rest))[:, None]
    lowest = np.where(line.pixels, rows, -1).max(axis=0)
    columns = lowest >= 0
    below = (rest & (rows > lowest))[:, columns].sum()
    return bool(below < MAX_BELOW * rest[:, columns].sum())
