"""Synthetic handwritten digits: pictures like those that people make, and images like MNIST's.

`python -m tests.support.draw_handwriting data --seed 0` writes twelve pictures per digit to
`data/<digit>/<medium>-<nn>.<png|jpg>`. The same seed gives the same bytes with the same
versions of numpy and Pillow. The strokes come from `tests.support.stroke_templates`; this
module adds the medium: a canvas on a screen or a photographed sheet of paper.
"""

import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from tests.support.stroke_templates import Ink, Size, fit, render, write

Colour = tuple[int, int, int]

DARK_COLOURS: list[tuple[Colour, Colour]] = [  # canvas, pen
    ((0, 0, 0), (255, 255, 255)),
    ((24, 26, 32), (238, 236, 228)),
    ((14, 22, 60), (250, 226, 92)),
    ((28, 70, 52), (236, 240, 234)),
]
CANVASES: list[Colour] = [
    (255, 255, 255),
    (255, 255, 255),
    (255, 248, 205),
    (222, 238, 252),
    (252, 226, 230),
    (224, 244, 222),
]
PENS: list[Colour] = [
    (214, 30, 36),
    (28, 64, 200),
    (20, 120, 56),
    (122, 36, 150),
    (112, 62, 24),
    (226, 98, 10),
]
BALLPOINTS: list[Colour] = [(38, 38, 42), (30, 48, 128), (18, 20, 24), (40, 60, 150)]


def _blend(ink: Ink, canvas: Sequence[float] | Ink, pen: Sequence[float]) -> Ink:
    """Alpha blending to `(H, W, C)`: the pen's colour where there is ink, the canvas's elsewhere."""
    return np.asarray(canvas) + ink[..., None] * (np.array(pen, float) - canvas)


def _to_uint8(pixels: Ink) -> npt.NDArray[np.uint8]:
    return pixels.round().clip(0, 255).astype(np.uint8)


def _paint(ink: Ink, rng: np.random.Generator) -> Image.Image:
    if rng.random() < 0.3:  # the pencil of simple paint programs is not antialiased
        ink = (ink > 0.5).astype(np.float64)
    return Image.fromarray(_to_uint8(_blend(ink, (255, 255, 255), (0, 0, 0))))


def _night(ink: Ink, rng: np.random.Generator) -> Image.Image:
    canvas, pen = DARK_COLOURS[rng.integers(len(DARK_COLOURS))]
    return Image.fromarray(_to_uint8(_blend(ink, canvas, pen)))


def _colour(ink: Ink, rng: np.random.Generator) -> Image.Image:
    canvas, pen = CANVASES[rng.integers(len(CANVASES))], PENS[rng.integers(len(PENS))]
    return Image.fromarray(_to_uint8(_blend(ink, canvas, pen)))


def _transparent(ink: Ink, rng: np.random.Generator) -> Image.Image:
    # As browsers export it: untouched pixels are zero in all four channels, so that
    # only alpha distinguishes black ink from the canvas.
    pen = (0, 0, 0) if rng.random() < 0.5 else PENS[rng.integers(len(PENS))]
    drawn = _blend((ink > 0).astype(np.float64), (0, 0, 0), pen)
    return Image.fromarray(_to_uint8(np.dstack([drawn, ink * 255])))


def _grey(ink: Ink, rng: np.random.Generator) -> Image.Image:
    paper, pen = rng.uniform(190, 255), rng.uniform(0, 80)
    return Image.fromarray(_to_uint8(_blend(ink, [paper], [pen]))[..., 0])


def _sixteen_bit(ink: Ink, rng: np.random.Generator) -> Image.Image:
    """Greyscale of 16 bits with the noise of a scanner."""
    pixels = _blend(ink, [rng.uniform(5e4, 6e4)], [rng.uniform(3e3, 12e3)])[..., 0]
    noisy = pixels + rng.normal(0, 300, pixels.shape)
    return Image.fromarray(noisy.round().clip(0, 65535).astype(np.uint16))


def _photo(ink: Ink, rng: np.random.Generator) -> Image.Image:
    """A sheet of paper in uneven light, through a phone's lens and sensor."""
    height, width = ink.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle, edge = rng.uniform(0, 2 * np.pi, 2)
    light = 1 + rng.uniform(0.05, 0.22) * (x * np.cos(angle) + y * np.sin(angle))
    light -= rng.uniform(0, 0.10) * (x**2 + y**2)  # vignetting
    beyond = x * np.cos(edge) + y * np.sin(edge) - rng.uniform(0, 0.8)
    light -= rng.uniform(0, 0.18) / (1 + np.exp(-beyond / 0.12))  # a soft shadow
    # White balance is never exact.
    paper = rng.uniform(165, 225) * rng.normal(1, 0.015, 3)
    pen = BALLPOINTS[rng.integers(len(BALLPOINTS))]
    fibres = 1 + rng.normal(0, 0.08, ink.shape)  # ink does not cover evenly
    sheet = _blend((ink * rng.uniform(0.8, 0.97) * fibres).clip(0, 1), paper, pen)
    sharp = Image.fromarray(_to_uint8(sheet * light[..., None]))
    blurred = np.asarray(sharp.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.3))))
    grain = rng.normal(0, rng.uniform(1.5, 4), blurred.shape)
    return Image.fromarray(_to_uint8(blurred + grain))


class Medium(NamedTuple):
    """How ink becomes a picture, and of which sizes and pen widths."""

    finish: Callable[[Ink, np.random.Generator], Image.Image]
    suffix: str
    sizes: list[Size]
    pen_widths: tuple[float, float]  # thinnest and thickest, as a share of the digit's shorter side


SCREENS = [(64, 64), (100, 100), (150, 200), (200, 200), (280, 280), (320, 240)]
PHOTOS = [(240, 320), (320, 240), (300, 400), (400, 300), (360, 360)]
MEDIA = {
    "paint": Medium(_paint, ".png", [(28, 28), *SCREENS, (400, 400)], (0.03, 0.14)),
    "night": Medium(_night, ".png", [(28, 28), *SCREENS], (0.04, 0.14)),
    "colour": Medium(_colour, ".png", [*SCREENS, (400, 300)], (0.03, 0.14)),
    "transparent": Medium(_transparent, ".png", SCREENS, (0.04, 0.14)),
    "grey": Medium(_grey, ".png", [(28, 28), *SCREENS], (0.04, 0.12)),
    "deep": Medium(_sixteen_bit, ".png", [(64, 64), (100, 100)], (0.05, 0.10)),
    "photo": Medium(_photo, ".jpg", PHOTOS, (0.025, 0.09)),
}
MEDIA_PER_DIGIT = ["paint"] * 4 + ["night", "colour", "colour", "transparent", "grey"]
MEDIA_PER_DIGIT += ["photo"] * 3
SIXTEEN_BIT_DIGITS = {4, 7}  # those whose grey picture has 16 bits
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".heic"}


def draw(
    character: int | str,
    rng: np.random.Generator,
    medium: str | None = None,
    template: int | None = None,
) -> Image.Image:
    """A picture of one digit or letter, in the mode that fits its medium (RGB, RGBA, L or I;16).

    `medium` is a key of `MEDIA`, `template` indexes the templates of the character; either is
    chosen at random when it is left out. The character takes half to nine tenths of the
    canvas's width or height, is seldom centred, and is never cut off.
    """
    finish, _, sizes, pen_widths = MEDIA[medium or MEDIA_PER_DIGIT[rng.integers(len(MEDIA_PER_DIGIT))]]
    size = sizes[rng.integers(len(sizes))]
    strokes = write(character, rng, template)
    min_share = 0.5 if min(size) > 64 else 0.7  # a small canvas is filled
    extent = rng.uniform(min_share, 0.9) * np.array(size)
    pen_width = max(1.6, np.exp(rng.uniform(*np.log(pen_widths))) * extent.min())
    strokes = fit(strokes, tuple(extent - 1.2 * pen_width))
    free = np.array(size) - np.vstack(strokes).max(axis=0) - 1.2 * pen_width
    corner = 0.6 * pen_width + rng.beta(3, 3, 2) * free
    return finish(render([stroke + corner for stroke in strokes], size, pen_width, rng), rng)


def synthetic_images(labels: npt.NDArray[np.uint8] | Sequence[int], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """`(N, 28, 28) uint8, 0 = paper, 255 = ink`, one image per label.

    Placed like MNIST's: scaled to 20 x 20 pixels, the centre of mass at the centre
    (https://yann.lecun.com/exdb/mnist/).
    """
    images = np.zeros((len(labels), 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        pen_width = rng.uniform(1.6, 3.0)
        strokes = fit(write(int(label), rng), (20 - pen_width, 20 - pen_width))
        offset = 14 - np.vstack(strokes).mean(axis=0)
        centred = [stroke + offset for stroke in strokes]
        image[:] = _to_uint8(255 * render(centred, (28, 28), pen_width, rng))
    return images


def pictures(seed: int) -> dict[str, bytes]:
    """Every picture's file by its path in the data folder, such as `3/photo-10.jpg`."""
    files = {}
    for digit in range(10):
        for number, planned in enumerate(MEDIA_PER_DIGIT, start=1):
            medium = "deep" if planned == "grey" and digit in SIXTEEN_BIT_DIGITS else planned
            rng = np.random.default_rng([seed, digit, number])
            suffix = MEDIA[medium].suffix
            buffer = io.BytesIO()
            picture = draw(digit, rng, medium, template=number + digit)
            file_format = Image.registered_extensions()[suffix]
            picture.save(buffer, file_format, quality=82, optimize=True)
            files[f"{digit}/{medium}-{number:02}{suffix}"] = buffer.getvalue()
    return files
