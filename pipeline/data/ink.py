"""Ink and paper: a grey picture of handwriting, on paper of any brightness and in any light, to the ink on it."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter, ImageOps

from pipeline.core.errors import PictureError

WORKING_SIDE: Final = 512  # pixels; larger pictures are reduced to this before ink is extracted
MAX_BORDER_DEVIATION: Final = 1.0  # grey levels, standard deviation of a drawing's border; a photo's varies more
MIN_CONTRAST: Final = (10, 40)  # grey levels between the strongest ink and its paper; less is blank paper
NOISE_CONTRAST: Final = 12  # standard deviations of the paper's noise; within MIN_CONTRAST, less is blank paper
PAPER_SIDE: Final = 64  # pixels, of the picture of the paper
CLOSING: Final = 17  # of these; what is dark and narrower is ink
NOISE_FLOOR: Final = 0.2  # of the strongest ink's contrast; weaker in a photo is paper texture and camera noise
INK_THRESHOLD: Final = 64  # of 255; pixels above count as ink where boxes and components are measured
LEVEL_SIDE: Final = 128  # pixels; of larger pictures, each second, third … pixel tells which of ink and paper is darker
PLANE_ROUNDS: Final = 3  # of fitting a plane to the border without what is far from the plane
OUTLYING: Final = 2.5  # standard deviations from the plane: no paper
# A sheet on a desk, a window on a screen or a photo on a page fills its box, and has something on it.
SHEET_DIFFERENCE: Final = 0.3  # of the strongest difference from the border
MIN_SHEET_FILL: Final = 0.8  # of the box
MIN_SHEET: Final = 48  # pixels; what is smaller cannot hold a legible character
MIN_SHEET_SIDE: Final = 0.3  # of the picture's, both sides
SHEET_MARGIN: Final = 0.04  # of the sheet's sides, left out
MAX_SHEET_INK: Final = 0.4  # of the sheet
BLANK: Final = ("blank_page", "a picture with nothing on it", "a digit")

Ink = npt.NDArray[np.uint8]  # (H, W), 0 = paper, 255 = ink
Grey = npt.NDArray[np.float32]  # (H, W), 0 = black, 255 = white


def extract_ink(picture: Image.Image) -> Ink:
    """Separate ink from paper: `(H, W) uint8, 0 = paper, 255 = the strongest ink`, sides at most WORKING_SIDE.

    Works for dark on light, light on dark, and uneven light: the border shows the paper, and a photo's paper is
    estimated at each pixel. On a sheet that lies on something else, the ink is that of the sheet, the rest is paper.
    Raises PictureError `blank_page` if there is no ink.
    """
    if max(picture.size) > WORKING_SIDE:
        picture = ImageOps.contain(picture, (WORKING_SIDE, WORKING_SIDE), Image.Resampling.BOX)
    grey = np.asarray(picture, dtype=np.float32)
    step = max(1, max(grey.shape) // LEVEL_SIDE)
    level = _level(grey[::step, ::step])
    sheet = _find_sheet(level.difference > SHEET_DIFFERENCE * level.strongest, step)
    on_sheet = None if sheet is None else _ink_on_sheet(grey[sheet])
    if sheet is None or on_sheet is None:
        return _ink_of(grey, level)
    ink = np.zeros(grey.shape, np.uint8)
    ink[sheet] = on_sheet
    return ink


class _Level(NamedTuple):
    """How much each pixel `(H, W)` differs from the paper that the border shows, as ink does: darker, or lighter if
    `is_light`; the strongest difference, dust left out; and the deviation of the paper's noise. All in grey levels."""

    difference: Grey
    strongest: float
    is_light: bool
    noise: float


def _dust(grey: Grey) -> int:
    """A stroke has more than a few pixels: fewer are dust."""
    return min(16, grey.size // 100)


def _level(grey: Grey) -> _Level:
    border = _border(grey)
    plane, noise = _fit_plane(grey.shape, border) if np.ptp(border) else (border[0], 0.0)
    difference, dust = plane - grey, _dust(grey)
    lightest, darkest = np.partition(difference, (dust, -1 - dust), axis=None)[[dust, -1 - dust]].tolist()
    is_light = -lightest > darkest
    return _Level(-difference if is_light else difference, max(-lightest, darkest), is_light, noise)


def _ink_of(grey: Grey, level: _Level) -> Ink:
    border = _border(grey)
    if level.is_light:
        grey, border = 255 - grey, 255 - border
    is_photo = float(border.std()) > MAX_BORDER_DEVIATION
    contrast = np.clip((_estimate_paper(grey) if is_photo else np.median(border)) - grey, 0, None)
    dust = _dust(grey)
    strongest = float(np.partition(contrast, -1 - dust, axis=None)[-1 - dust])
    if strongest < np.clip(NOISE_CONTRAST * level.noise, *MIN_CONTRAST):
        raise PictureError(*BLANK)
    floor = NOISE_FLOOR * strongest if is_photo else 0.0
    share = np.clip((contrast - floor) / (strongest - floor), 0, 1)
    ink: Ink = np.round(255 * share).astype(np.uint8)
    return ink


def _border(grey: Grey) -> npt.NDArray[np.float32]:
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def _fit_plane(shape: tuple[int, ...], border: npt.NDArray[np.float32]) -> tuple[Grey, float]:
    """The paper's brightness `(H, W)` as a plane through that of the border, and the deviation of the border from it.

    Robust: ink and other things that reach the border are left out.
    """
    height, width = shape
    y, x = np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32)
    ones = np.ones_like
    rows = np.concatenate([-ones(x), ones(x), y, y])
    columns = np.concatenate([x, x, -ones(y), ones(y)])
    terms = np.stack([ones(rows), columns, rows], axis=1)
    coefficients = np.array([np.median(border), 0, 0], np.float32)
    for _ in range(PLANE_ROUNDS):
        distance = np.abs(border - terms @ coefficients)
        noise = 1.4826 * float(np.median(distance))
        near = distance <= max(1.0, OUTLYING * noise)
        chosen = terms[near]
        coefficients = np.linalg.lstsq(chosen.T @ chosen, chosen.T @ border[near], rcond=None)[0].astype(np.float32)
    level, right, down = coefficients
    return level + right * x + down * y[:, None], noise


def _estimate_paper(grey: Grey) -> Grey:
    """Brightness of the paper at each pixel, by morphological closing, then smoothing. Closing fills whatever is dark
    and narrower than a quarter of the picture, and leaves gradients of light as they are."""
    small = np.asarray(
        ImageOps.contain(Image.fromarray(grey.astype(np.uint8)), (PAPER_SIDE, PAPER_SIDE), Image.Resampling.BOX)
    )
    closed = 255 - _largest_nearby(255 - _largest_nearby(small))
    smooth = Image.fromarray(closed).filter(ImageFilter.BoxBlur(2))
    return np.asarray(smooth.resize(grey.shape[::-1], Image.Resampling.BICUBIC), dtype=np.float32)


def _largest_nearby(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The largest value in the square of CLOSING pixels around each; much faster than Pillow's filter of that size."""
    for axis in (0, 1):
        around = [(CLOSING // 2, CLOSING // 2) if this == axis else (0, 0) for this in (0, 1)]
        padded = np.pad(values, around, mode="edge")
        values = np.lib.stride_tricks.sliding_window_view(padded, CLOSING, axis=axis).max(axis=-1)
    return values


def _find_sheet(mask: npt.NDArray[np.bool_], step: int) -> tuple[slice, slice] | None:
    """The inside of the box of all that differs from the border, if it fills the box as a sheet does and no character;
    in pixels of the picture, of which the mask has each `step`th.

    A few rows and columns that hardly differ are no part of it.
    """
    rows, columns = (mask.mean(axis=axis) > MIN_SHEET_SIDE / 2 for axis in (1, 0))
    mask = mask & rows[:, None] & columns
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    inside = mask[box]
    is_small = any(
        side < max(MIN_SHEET / step, MIN_SHEET_SIDE * whole)
        for side, whole in zip(inside.shape, mask.shape, strict=True)
    )
    if is_small or inside.mean() < MIN_SHEET_FILL:
        return None
    margins = [step * (1 + round(SHEET_MARGIN * side)) for side in inside.shape]
    top, left = (step * part.start + margin for part, margin in zip(box, margins, strict=True))
    bottom, right = (step * part.stop - margin for part, margin in zip(box, margins, strict=True))
    return slice(top, bottom), slice(left, right)


def _ink_on_sheet(grey: Grey) -> Ink | None:
    try:
        ink = _ink_of(grey, _level(grey))
    except PictureError:
        return None
    return ink if (ink > INK_THRESHOLD).mean() < MAX_SHEET_INK else None
