"""Connected components of ink in a picture of a row of digits: the candidates for a digit or a stroke of one.

Uses shapes and positions only, no model. Not covered: lines of digits that touch each other. Rules that touch digits
are erased by `serving.rows.rules`.
"""

from functools import reduce
from operator import or_
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import PictureError
from pipeline.data.components import Component, Labels, connected_components, estimate_stroke_width
from pipeline.data.ink import INK_THRESHOLD, Ink

# The constants below are in row heights.
MIN_STROKE_SIZE: Final = 0.1  # of the longer side; a smaller component is a speck
MIN_DIGIT_HEIGHT: Final = 0.35  # a shorter component is a stroke of a digit, a point, a comma or a hyphen
MAX_STROKE_GAP: Final = 0.08  # between a separate stroke and its digit
MIN_RULE_LENGTH: Final = 1.6  # of a ruled line or an underline


def find_components(ink: Ink) -> tuple[Labels, list[Component], float]:
    """`(H, W)` labels, 0 = paper; the components tall enough for a digit, from left to right by their centres, each
    merged with the small strokes that belong to it; and the height of the row in pixels.

    Underlines, points, commas, hyphens and specks have labels but are in no component.

    Raises PictureError `more_than_one_line`.
    """
    mask = ink > INK_THRESHOLD
    labels, components = connected_components(mask)
    if not components:
        return labels, [], 0.0
    stroke_width = estimate_stroke_width(mask, len(components))
    components = remove_rules(components, stroke_width)
    height = row_height(components, stroke_width)
    components = [one for group in _column_groups(components) for one in _join_dashes(group, stroke_width, height)]
    large = [component for component in components if component.height >= MIN_DIGIT_HEIGHT * height]
    check_one_line(large, stroke_width, height)
    # The largest strokes first: a smaller one may be near no digit but only near a larger stroke.
    for stroke in sorted(components, key=lambda component: -component.area):
        if stroke not in large and max(stroke.width, stroke.height) >= MIN_STROKE_SIZE * height:
            owner = _owner(stroke, large, height, _at_border(stroke, mask.shape))
            large = [component | stroke if component is owner else component for component in large]
    return labels, sorted(large, key=lambda component: (component.box[0] + component.box[2], component.box)), height


def remove_rules(components: list[Component], stroke_width: float) -> list[Component]:
    """Leave out underlines and ruled lines: straight, level, and much longer than the other components are tall."""
    others = [c for c in components if c.height > 0.3 * c.width or not _is_straight(c, stroke_width)]
    if not others:
        return components
    height = row_height(others, stroke_width)
    return [c for c in components if c in others or c.width < MIN_RULE_LENGTH * height]


def row_height(components: list[Component], stroke_width: float) -> float:
    """The median height, weighted by area; a dashed digit counts as one."""
    merged = [one for group in _column_groups(components) for one in _join_dashes(group, stroke_width, np.inf)]
    merged.sort(key=lambda component: component.height)
    weights = np.cumsum([component.area for component in merged])
    return float(merged[int(np.searchsorted(weights, weights[-1] / 2))].height)


def _column_groups(components: list[Component]) -> list[list[Component]]:
    """Components grouped by overlapping columns, from left to right."""
    groups: list[list[Component]] = []
    right = -1
    for component in sorted(components, key=lambda component: component.box[0]):
        if component.box[0] >= right:
            groups.append([])
        groups[-1].append(component)
        right = max(right, component.box[2])
    return groups


def _join_dashes(group: list[Component], stroke_width: float, height: float) -> list[Component]:
    """The group merged into one, if it is a dashed digit: all straight, close together, and too short for digits."""
    joined = reduce(or_, group)
    is_dashed = all(_is_straight(c, stroke_width) and c.height < MIN_DIGIT_HEIGHT * height for c in group)
    return [joined] if is_dashed and sum(c.height for c in group) > 0.5 * joined.height else group


def _is_straight(component: Component, stroke_width: float) -> bool:
    return float(np.hypot(component.width, component.height)) > 0.8 * component.area / stroke_width


def check_one_line(components: list[Component], stroke_width: float, height: float) -> None:
    """Raise PictureError if one digit is below another, or if no slanted line passes through all of them."""
    boxes = np.array([component.box for component in components], dtype=float).reshape(-1, 4)
    left, top, right, bottom = boxes.T
    straight = np.array([_is_straight(component, stroke_width) for component in components], dtype=bool)
    high = bottom - top
    lower, higher = np.minimum(high[:, None], high), np.maximum(high[:, None], high)
    shared = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)
    is_below = shared > 0.3 * np.minimum((right - left)[:, None], right - left)
    min_gap = np.where(straight[:, None] & straight, 0.5, 0.08) * lower  # dashes of a stroke may be farther apart
    is_below &= (lower > 0.5 * higher) & (top - bottom[:, None] > min_gap)
    if is_below.any() or not any(_is_one_line(boxes, slope, height) for slope in np.linspace(-0.6, 0.6, 13)):
        raise PictureError("more_than_one_line", "more than one line", "one line")


def _is_one_line(boxes: npt.NDArray[np.float64], slope: float, height: float) -> bool:
    """Whether the vertical projection of the boxes, sheared by `slope`, has no gap."""
    shift = slope * (boxes[:, 0] + boxes[:, 2]) / 2
    order = np.argsort(boxes[:, 1] - shift)
    tops, bottoms = (boxes[:, 1] - shift)[order], (boxes[:, 3] - shift)[order]
    return bool((tops[1:] - np.maximum.accumulate(bottoms)[:-1] <= 0.15 * height).all())


def _at_border(component: Component, shape: tuple[int, ...]) -> bool:
    left, top, right, bottom = component.box
    return min(left, top, shape[1] - right, shape[0] - bottom) <= 1


def _owner(stroke: Component, components: list[Component], height: float, at_border: bool) -> Component | None:
    """The component that a small stroke belongs to: the one that shares most columns with it, or is very near. None for
    a point or a comma, which is small in both directions and at the bottom of the line, beside the digits; nor for what
    reaches into the picture from its border, such as the line above, unless it is very near."""
    max_gap = MAX_STROKE_GAP * height
    best, most_shared = None, -max_gap
    for component in components:
        (left, top, right, bottom), (x0, y0, x1, y1) = component.box, stroke.box
        shared = min(right, x1) - max(left, x0)
        is_beside = shared < 0.5 * stroke.width
        is_small = max(stroke.width, stroke.height) < MIN_DIGIT_HEIGHT * height
        is_point = is_beside and is_small and y0 > top + 0.6 * (bottom - top)
        gap = max(y0 - bottom, top - y1)
        if (
            not is_point
            and shared > most_shared
            and gap < 0.5 * height
            and (gap < max_gap or not (is_beside or at_border))
        ):
            best, most_shared = component, shared
    return best
