"""Slices: images of digits made into pictures as people send them, one difficulty at a time, and preprocessed.

Each slice has the same digits, so what a slice costs is its difficulty alone. Pens, light, paper and sizes that the
data set does not have, in place of the hundreds of labelled pictures that a measurement would need. Not covered: other
people's ways of writing.
"""

import io
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from pipeline.data.image import preprocess
from pipeline.data.limits import SIDE

SCALE: Final = 4  # pixels of a picture per pixel of an image
PICTURE: Final = SCALE * SIDE  # pixels, the side of most pictures
INK: Final = 0.5  # a pixel of more is ink where its box is measured

Images = npt.NDArray[np.uint8]
Ink = npt.NDArray[np.float64]  # (H, W), 0 = paper, 1 = ink
Grey = npt.NDArray[np.float64]  # (H, W), 0 = black, 255 = white
Generator = np.random.Generator


def slice_images(images: Images, name: str, rng: Generator) -> tuple[Images, npt.NDArray[np.bool_]]:
    """`(N, 28, 28) uint8, 0 = paper, 255 = ink` made into the pictures of a slice, a key of SLICES, and preprocessed.

    The images that were seen, and `(N,)` whether preprocessing found a digit in the picture.
    """
    draw = SLICES[name]
    seen, found = zip(*(see(draw(enlarge(image), rng)) for image in images), strict=True)
    return np.stack(seen), np.array(found)


def see(picture: Grey) -> tuple[Images, bool]:
    """The `(28, 28)` image of a picture, all paper if nothing was found on it, and whether a digit was found."""
    buffer = io.BytesIO()
    Image.fromarray(picture.round().clip(0, 255).astype(np.uint8)).save(buffer, "BMP")
    image, reason, _ = preprocess(buffer.getvalue())
    return image, reason is None


def enlarge(image: Images) -> Ink:
    """`(112, 112)`: smooth strokes with sharp edges."""
    large = Image.fromarray(image).resize((PICTURE, PICTURE), Image.Resampling.BICUBIC)
    sharp: Ink = np.clip((_to_ink(large) - 0.5) * SCALE + 0.5, 0, 1)
    return sharp


def skeleton(ink: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Strokes one pixel wide (Zhang and Suen, "A fast parallel algorithm for thinning digital patterns", 1984)."""
    thin, parity, unchanged = np.pad(ink, 1), 0, 0
    while unchanged < 2:
        north, east, south, west = (np.roll(thin, step, axis) for step, axis in ((1, 0), (-1, 1), (-1, 0), (1, 1)))
        corners = (np.roll(north, -1, 1), np.roll(south, -1, 1), np.roll(south, 1, 1), np.roll(north, 1, 1))
        ring = [side for pair in zip((north, east, south, west), corners, strict=True) for side in pair]
        count = np.sum(ring, axis=0)
        crossings = np.sum([~one & other for one, other in zip(ring, [*ring[1:], ring[0]], strict=True)], axis=0)
        spared = (east & south & (north | west)) if parity == 0 else (north & west & (east | south))
        removed = thin & (count >= 2) & (count <= 6) & (crossings == 1) & ~spared
        unchanged = 0 if removed.any() else unchanged + 1
        thin, parity = thin & ~removed, 1 - parity
    return thin[1:-1, 1:-1]


def _to_picture(ink: Ink) -> Image.Image:
    return Image.fromarray(np.round(255 * ink).astype(np.uint8))


def _to_ink(picture: Image.Image) -> Ink:
    ink: Ink = np.asarray(picture) / 255
    return ink


def _filtered(ink: Ink, kind: Callable[[int], ImageFilter.Filter], size: int) -> Ink:
    return _to_ink(_to_picture(ink).filter(kind(size)))


def _on_paper(ink: Ink, paper: Grey | float = 250.0, pen: float = 30.0) -> Grey:
    grey: Grey = paper + ink * (pen - paper)
    return grey


def pen_thin(ink: Ink, rng: Generator) -> Grey:
    """A hairline: two pixels of a digit that is eighty pixels high."""
    return _on_paper(_filtered(skeleton(ink > INK).astype(np.float64), ImageFilter.MaxFilter, 3) * 0.8)


def pen_thick(ink: Ink, rng: Generator) -> Grey:
    """A marker: a pixel of the image wider on each side."""
    return _on_paper(_filtered(ink, ImageFilter.MaxFilter, 2 * SCALE + 1))


def light_dim(ink: Ink, rng: Generator) -> Grey:
    """A photograph in dim light: paper as dark as ink elsewhere, and the noise of a sensor."""
    return _on_paper(ink, 90.0, 30.0) + rng.normal(0, 4, ink.shape)


def light_uneven(ink: Ink, rng: Generator) -> Grey:
    """A photograph lit from one side: at the other the paper is a third as bright."""
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.linspace(-0.5, 0.5, len(ink))
    light = 0.65 + 0.5 * (axis[:, None] * np.sin(angle) + axis * np.cos(angle))
    return _photo(ink, light.clip(0.2, 1), rng)


def light_shadow(ink: Ink, rng: Generator) -> Grey:
    """A photograph with the shadow of a hand or a phone: a soft edge across the paper."""
    angle, where = rng.uniform(0, 2 * np.pi), rng.uniform(-0.2, 0.2)
    axis = np.linspace(-0.5, 0.5, len(ink))
    depth = (axis[:, None] * np.sin(angle) + axis * np.cos(angle) - where) / 0.08
    return _photo(ink, 0.75 + 0.25 * np.tanh(depth), rng)


def _photo(ink: Ink, light: npt.NDArray[np.float64], rng: Generator) -> Grey:
    """White paper in this light, 0 to 1 at each pixel."""
    return _on_paper(ink, 230.0, 60.0) * light + rng.normal(0, 2, ink.shape)


def paper_squared(ink: Ink, rng: Generator) -> Grey:
    return _on_paper(ink, _ruled(len(ink), rng, down=True), 40.0) + rng.normal(0, 2, ink.shape)


def paper_lined(ink: Ink, rng: Generator) -> Grey:
    return _on_paper(ink, _ruled(len(ink), rng, down=False), 40.0) + rng.normal(0, 2, ink.shape)


def _ruled(side: int, rng: Generator, down: bool) -> Grey:
    """Paper with pale lines, a third to a half of the digit's height apart."""
    distance = int(rng.integers(side // 4, side // 3))
    is_line = (np.arange(side) + rng.integers(distance)) % distance == 0
    return np.where(is_line[:, None] | (is_line & down), 190.0, 245.0)


def paper_dark(ink: Ink, rng: Generator) -> Grey:
    """Chalk on a blackboard."""
    return _on_paper(ink, 50.0, 225.0) + rng.normal(0, 3, ink.shape)


def size_far(ink: Ink, rng: Generator) -> Grey:
    """Far from the camera: a sixth of the picture's side, anywhere in it."""
    small = _resized(ink, 2 * SIDE)
    page = np.zeros((6 * 2 * SIDE * 5 // 7,) * 2)  # the digit is five sevenths of its image
    top, left = rng.integers(0, len(page) - len(small), 2)
    page[top : top + len(small), left : left + len(small)] = small
    return _on_paper(page) + rng.normal(0, 2, page.shape)


def size_coarse(ink: Ink, rng: Generator) -> Grey:
    """A thumbnail: a digit ten pixels high."""
    return _on_paper(_resized(ink, SIDE // 2))


def size_cut(ink: Ink, rng: Generator) -> Grey:
    """Cut out by hand, so close that the strokes touch the picture's edges."""
    rows, columns = np.flatnonzero((ink > INK).any(axis=1)), np.flatnonzero((ink > INK).any(axis=0))
    if not rows.size:
        return _on_paper(ink)
    return _on_paper(np.pad(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], ((0, 0), (SIDE, SIDE))))


def _resized(ink: Ink, side: int) -> Ink:
    return _to_ink(_to_picture(ink).resize((side, side), Image.Resampling.BOX))


SLICES: Final = MappingProxyType[str, Callable[[Ink, Generator], Grey]](
    {
        function.__name__: function
        for function in (
            *(pen_thin, pen_thick, light_dim, light_uneven, light_shadow, paper_squared, paper_lined, paper_dark),
            *(size_far, size_coarse, size_cut),
        )
    }
)
