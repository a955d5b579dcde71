"""The road from a picture file to `(28, 28) uint8`: what takes it, what comes out, and what is refused."""

import io
import struct
import time
import zlib
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pipeline.core.errors import PictureError
from pipeline.data.dataset import Split
from pipeline.data.image import BOX, FORMATS, SIDE, canonical, ink_of, open_picture
from tests.support.stroke_templates import Ink, fit, write
from tests.support.stroke_templates import ink_of as written
from tests.support.synthetic_digits import MEDIA, draw

Pixels = npt.NDArray[np.uint8]
TURNS = {  # EXIF's orientation: how the camera stored an upright picture
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def encoded(picture: Image.Image | Pixels, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def ink(digit: int = 5, height: int = 120, left: int = 50, top: int = 30) -> Ink:
    """`(200, 200)`, 0 to 1: a digit in one hand, so high and at that place."""
    strokes = fit(write(digit, np.random.default_rng(1), form=0), (height, height))
    pen = np.random.default_rng(2)
    return written([stroke + np.array([left, top]) for stroke in strokes], (200, 200), height / 10, pen)


def page(ink: Ink, paper: float = 255, pen: float = 0) -> Pixels:
    return np.round(paper + ink * (pen - paper)).astype(np.uint8)


def difference(one: Pixels, other: Pixels) -> float:
    """Mean over the pixels, in grey levels; where ink is drawn it is ten times that."""
    return float(np.abs(one.astype(int) - other).mean())


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


PLAIN = canonical(encoded(page(ink())))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_image(kind: str) -> None:
    assert difference(canonical(encoded(Image.fromarray(page(ink())).convert("RGB"), kind)), PLAIN) < 1


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA"])
def test_every_mode_gives_the_same_image(mode: str) -> None:
    assert difference(canonical(encoded(Image.fromarray(page(ink())).convert(mode))), PLAIN) < 2


def test_sixteen_bits_a_pixel_give_the_same_image() -> None:
    assert np.array_equal(canonical(encoded(Image.fromarray(page(ink()).astype(np.uint16) * 257))), PLAIN)


@pytest.mark.parametrize(
    ("paper", "pen"),
    [
        ((255, 248, 205), (214, 30, 36)),
        ((222, 238, 252), (112, 62, 24)),
        ((14, 22, 60), (250, 226, 92)),
        ((255, 255, 255), (255, 255, 0)),
    ],
)
def test_the_colours_of_paper_and_pen_do_not_matter(paper: tuple[int, ...], pen: tuple[int, ...]) -> None:
    channels = [page(ink(), *pair) for pair in zip(paper, pen, strict=True)]
    assert difference(canonical(encoded(np.dstack(channels))), PLAIN) < 2


@pytest.mark.parametrize("pen", [(0, 0, 0), (255, 255, 255), (214, 30, 36), (250, 226, 92)])
def test_ink_on_nothing_is_seen_whatever_its_colour(pen: tuple[int, ...]) -> None:
    alpha = page(ink(), paper=0, pen=255)
    untouched = np.where(alpha[..., None] > 0, np.array(pen, np.uint8), np.uint8(0))  # (0, 0, 0, 0), as browsers do
    assert difference(canonical(encoded(np.dstack([untouched, alpha]))), PLAIN) < 1


@pytest.mark.parametrize("orientation", TURNS)
def test_a_picture_is_laid_upright_as_its_exif_says(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(page(ink())[:180]).transpose(TURNS[orientation])
    assert difference(canonical(encoded(stored, "JPEG", exif=exif, quality=95)), PLAIN) < 2


@pytest.mark.parametrize("digit", range(10))
def test_light_on_dark_is_the_same_as_dark_on_light(digit: int) -> None:
    dark = np.asarray(draw(digit, np.random.default_rng(digit), "grey"))
    assert np.array_equal(canonical(encoded(dark)), canonical(encoded(255 - dark)))


@pytest.mark.parametrize(("left", "top"), [(10, 10), (90, 20), (10, 70), (80, 65)])
def test_the_place_on_the_page_does_not_matter(left: int, top: int) -> None:
    assert np.array_equal(canonical(encoded(page(ink(left=left, top=top)))), PLAIN)


@pytest.mark.parametrize("height", [60, 90, 150, 180])
def test_the_size_on_the_page_hardly_matters(height: int) -> None:
    changes = []
    for digit in range(10):
        one, other = (canonical(encoded(page(ink(digit, side, 10, 10)))) for side in (120, height))
        steps = product((-1, 0, 1), repeat=2)  # a centre of mass between two pixels may fall to either
        changes.append(min(difference(one, np.roll(other, step, axis=(0, 1))) for step in steps))
    assert np.mean(changes) < 4


@pytest.mark.parametrize("medium", MEDIA)
def test_the_ink_fills_a_box_of_twenty_with_its_centre_of_mass_in_the_middle(medium: str) -> None:
    for digit in range(10):
        image = canonical(encoded(draw(digit, np.random.default_rng(digit), medium)))
        rows, columns = np.nonzero(image)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in (BOX - 1, BOX)
        centre = [image.sum(axis=axis) @ np.arange(SIDE) / image.sum() for axis in (0, 1)]
        assert np.abs(np.array(centre) - SIDE / 2).max() <= 0.5


def test_digits_that_took_the_road_before_take_it_unchanged(digits: Split) -> None:
    once = [canonical(encoded(255 - image)) for image in digits.images]
    changes = np.array([difference(canonical(encoded(255 - image)), image) for image in once])
    assert (changes == 0).mean() > 0.9
    assert changes.mean() < 1


@pytest.mark.parametrize("turn", range(4))
def test_uneven_light_leaves_no_ink_where_there_is_none(turn: int) -> None:
    light = np.rot90(np.linspace(1, 0.7, 200)[None, :].repeat(200, axis=0), turn)
    found = ink_of(open_picture(encoded(np.round(page(ink(), 220, 30) * light).astype(np.uint8))))
    assert not found[ink() == 0].any()
    assert (found[ink() == 1] > 128).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_photo_of_an_empty_page_is_not_a_digit(seed: int) -> None:
    photo = MEDIA["photo"].finish(np.zeros((300, 400)), np.random.default_rng(seed))
    with pytest.raises(PictureError, match="nothing on it"):
        canonical(encoded(photo, "JPEG"))


@pytest.mark.parametrize("grey", [0, 127, 128, 255])
def test_a_blank_page_is_not_a_digit(grey: int) -> None:
    with pytest.raises(PictureError, match="nothing on it"):
        canonical(encoded(np.full((100, 100), grey, np.uint8)))


def test_a_page_of_noise_is_ink_like_any_other() -> None:
    image = canonical(encoded(np.random.default_rng(3).integers(0, 256, (90, 120), np.uint8)))
    assert (image.shape, image.dtype.name) == ((SIDE, SIDE), "uint8")
    assert np.count_nonzero(image.any(axis=0)) == BOX


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_an_animated_picture_is_refused(kind: str) -> None:
    first, second = (Image.fromarray(page(ink(digit))) for digit in (1, 2))
    with pytest.raises(PictureError, match="animated"):
        open_picture(encoded(first, kind, save_all=True, append_images=[second]))


@pytest.mark.parametrize("kind", FORMATS)
def test_half_a_file_is_refused(kind: str) -> None:
    content = encoded(page(ink()), kind)
    with pytest.raises(PictureError, match="damaged"):
        open_picture(content[: len(content) // 2])


@pytest.mark.parametrize(
    "content", [b"", b"7", b"a seven, in words", b"<svg/>", b"%PDF-1.7", encoded(page(ink()), "TIFF")]
)
def test_what_is_no_picture_of_the_formats_is_refused(content: bytes) -> None:
    with pytest.raises(PictureError, match=f"{len(content)} bytes that are no picture, expected PNG, JPEG"):
        open_picture(content)


@pytest.mark.parametrize(("width", "height"), [(7, 100), (100, 7), (5001, 5000), (10_000, 10_000), (100_000, 100_000)])
def test_too_few_or_too_many_pixels_are_refused_before_they_are_decoded(width: int, height: int) -> None:
    started = time.perf_counter()
    with pytest.raises(PictureError, match="pixels"):
        open_picture(png_header(width, height))
    assert time.perf_counter() - started < 1
