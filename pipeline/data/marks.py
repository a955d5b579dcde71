"""The marks in a picture of one character: which belong to it, and which are rules, specks or the table's edge."""

from typing import Final, NamedTuple

import numpy as np

from pipeline.data.components import Component, Labels, connected_components, estimate_stroke_width
from pipeline.data.ink import INK_THRESHOLD, Ink
from pipeline.data.lines import FAINT, Mask, clear, find_rules

MIN_RULED: Final = 64  # pixels, of the longer side; smaller pictures hold a character and no rules
AT_BORDER: Final = 0.01  # of the picture's longer side; what begins as near to its border reaches it
MIN_CHARACTER: Final = 0.15  # of the picture's longer side; with less left, the rule was a stroke
MARKS_SIDE: Final = 128  # pixels; in larger pictures, marks are measured in squares of two, three … pixels
# The constants below are in sides of the character, the longer one of its box.
SPECK: Final = 0.15  # smaller marks that are farther than NEAR are left out
SMALL: Final = 0.25  # of the character's area: likewise
NEAR: Final = 0.2
UPRIGHT: Final = 0.5  # width / height of a stroke that may have a dot,
DOT_GAP: Final = 0.6  # at most this far above it,
DOT: Final = (0.7, 2.5)  # and of a size between these, in widths of the stroke
FLAT: Final = 0.12  # shorter side / longer side of a mark; flatter at the picture's border is an edge or a rule
FLAT_ALONG_A_SIDE: Final = 0.4  # likewise, if it is as long as the picture
BORDER_WEIGHT: Final = 0.3  # of the area of a mark at the border, where the largest one is chosen
EDGE_WEIGHT: Final = 0.03  # likewise, of an edge
MAX_CUT_OFF: Final = 0.5  # of the character's area; smaller marks at the border are parts of something else
RIVAL: Final = 0.6  # of the character's height
DUST: Final = 0.02  # of the character's area; smaller marks do not count as parts of it


class Character(NamedTuple):
    """The ink of a character, without other marks; the number of its parts that do not touch; and how many of these,
    beside each other, may be characters of their own."""

    ink: Ink
    parts: int
    candidates: int


def isolate(ink: Ink) -> Character:
    """The character in `ink`, `(H, W) uint8, 0 = paper`: its largest mark, with all others but rules, specks, and what
    reaches into the picture from outside."""
    ink = remove_rules(ink)
    step = max(1, max(ink.shape) // MARKS_SIDE)
    mask = _pooled(ink > INK_THRESHOLD, step)
    labels, components = connected_components(mask)
    if len(components) < 2:
        return Character(ink, len(components), len(components))
    main = max(components, key=lambda component: _weight(component, mask.shape))
    dropped = [mark for mark in components if mark is not main and _is_foreign(mark, main, mask.shape)]
    parts = [mark for mark in components if mark not in dropped and mark.area >= DUST * main.area]
    candidates = [mark for mark in parts if mark is main or _is_rival(mark, main)]
    if dropped:
        erased = _with_fringe(labels, dropped).repeat(step, axis=0).repeat(step, axis=1)
        ink = np.where(erased[: ink.shape[0], : ink.shape[1]], 0, ink).astype(np.uint8)
    return Character(ink, len(parts), len(candidates))


def _pooled(mask: Mask, step: int) -> Mask:
    """Whether there is any ink in each square of `step` pixels."""
    if step == 1:
        return mask
    height, width = (-(-side // step) for side in mask.shape)
    padded = np.pad(mask, ((0, height * step - mask.shape[0]), (0, width * step - mask.shape[1])))
    return np.asarray(padded.reshape(height, step, width, step).any(axis=(1, 3)))


def _weight(mark: Component, shape: tuple[int, ...]) -> float:
    """The area; less at the border, and much less for an edge along it."""
    if not _at_border(mark, shape):
        return mark.area
    return mark.area * (EDGE_WEIGHT if _is_edge(mark, shape) else BORDER_WEIGHT)


def _is_foreign(mark: Component, main: Component, shape: tuple[int, ...]) -> bool:
    side = max(main.width, main.height)
    gap = _gap(mark, main)
    if _at_border(mark, shape):
        if not _at_border(main, shape):
            return _is_edge(mark, shape) or mark.area < MAX_CUT_OFF * main.area or gap > NEAR * side
        if _is_edge(mark, shape) and gap > 0:
            return True
    is_small = max(mark.width, mark.height) < SPECK * side or mark.area < SMALL * main.area
    return is_small and gap > NEAR * side and not _is_dot(mark, main)


def _is_dot(mark: Component, main: Component) -> bool:
    """Whether a mark is the dot of an i or a j: straight above an upright stroke, and about as wide as it."""
    (left, _, right, bottom), width = mark.box, main.area / main.height
    is_upright = main.width < UPRIGHT * main.height and bottom <= main.box[1]
    is_above = main.box[0] - width < (left + right) / 2 < main.box[2] + width
    is_near = main.box[1] - bottom < DOT_GAP * main.height
    return is_upright and is_above and is_near and DOT[0] * width < max(mark.width, mark.height) < DOT[1] * width


def _is_rival(mark: Component, main: Component) -> bool:
    """Whether a mark is beside the largest one, and as high or nearly so."""
    is_beside = mark.box[0] >= main.box[2] or mark.box[2] <= main.box[0]
    return is_beside and mark.height > RIVAL * main.height


def _at_border(mark: Component, shape: tuple[int, ...]) -> bool:
    (left, top, right, bottom), (height, width) = mark.box, shape
    reach = AT_BORDER * max(shape)
    return min(left, top, width - right, height - bottom) <= reach


def _is_edge(mark: Component, shape: tuple[int, ...]) -> bool:
    """Whether a mark at the border is flat, or runs along a whole side of the picture."""
    flat, long = sorted((mark.width, mark.height))
    is_whole = mark.width == shape[1] or mark.height == shape[0]
    return flat < (FLAT_ALONG_A_SIDE if is_whole else FLAT) * long


def _gap(one: Component, other: Component) -> float:
    """Pixels between two boxes, in the direction in which they are farther apart; 0 if they overlap."""
    (a, b, c, d), (e, f, g, h) = one.box, other.box
    return max(0, e - c, a - g, f - d, b - h)


def _with_fringe(labels: Labels, marks: list[Component]) -> Mask:
    """The pixels of these marks, and those within two pixels, which hold their antialiased edge, but of no other."""
    indices = [label for mark in marks for label in mark.labels]
    chosen = np.isin(labels, indices)
    wide = chosen.copy()
    for axis in (0, 1):
        for step in (1, 2, -1, -2):
            wide |= np.roll(chosen, step, axis)
        chosen = wide.copy()
    fringe: Mask = wide & ((labels == 0) | np.isin(labels, indices))
    return fringe


def remove_rules(ink: Ink) -> Ink:
    """Without straight lines from border to border, level or upright, where strokes do not cross them; as it was if
    these lines are the character itself, such as the bar of a 4 that fills the picture."""
    if max(ink.shape) < MIN_RULED:
        return ink
    mask = ink > FAINT
    stroke_width = estimate_stroke_width(mask)
    kept = mask.copy()
    for some in (kept, kept.T):  # the upright rules are found whole where the level ones have been cleared
        for rule in find_rules(some, stroke_width):
            some &= ~rule.pixels
    removed = mask & ~kept
    if not removed.any():
        return ink
    side = MIN_CHARACTER * max(mask.shape)
    _, marks = connected_components(kept)
    if not any(max(mark.width, mark.height) >= side and not _at_border(mark, mask.shape) for mark in marks):
        return ink
    return clear(ink, removed, kept)
