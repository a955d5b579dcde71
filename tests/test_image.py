"""Preprocessing: the same digit gives the same `(28, 28) uint8` whatever its picture looks like, and blank is blank."""

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pipeline.core.errors import PictureError
from pipeline.data.dataset import Split
from pipeline.data.image import preprocess, scale_and_center
from pipeline.data.ink import extract_ink
from pipeline.data.limits import DIGIT_SIDE, SIDE
from pipeline.data.picture import open_picture
from tests.support.pictures import difference, encoded, ink, on_paper
from tests.support.synthetic_digits import MEDIA, draw


def image_of(content: bytes) -> npt.NDArray[np.uint8]:
    return preprocess(content).image


PLAIN = image_of(encoded(on_paper(ink())))


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
    channels = [on_paper(ink(), *pair) for pair in zip(paper, pen, strict=True)]
    assert difference(image_of(encoded(np.dstack(channels))), PLAIN) < 2


@pytest.mark.parametrize("digit", range(10))
def test_light_on_dark_is_the_same_as_dark_on_light(digit: int) -> None:
    dark = np.asarray(draw(digit, np.random.default_rng(digit), "grey"))
    assert np.array_equal(image_of(encoded(dark)), image_of(encoded(255 - dark)))


@pytest.mark.parametrize("pen", [(0, 0, 0), (255, 255, 255), (214, 30, 36), (250, 226, 92)])
def test_ink_of_any_colour_is_found_on_a_transparent_canvas(pen: tuple[int, ...]) -> None:
    alpha = on_paper(ink(), paper=0, pen=255)
    # Untouched pixels are (0, 0, 0, 0), as browsers export them.
    colour = np.where(alpha[..., None] > 0, np.array(pen, np.uint8), np.uint8(0))
    assert difference(image_of(encoded(np.dstack([colour, alpha]))), PLAIN) < 1


def test_faint_white_ink_is_found_on_a_transparent_canvas() -> None:
    alpha = (ink() * 120).astype(np.uint8)
    picture = Image.merge("LA", (Image.new("L", (200, 200), 255), Image.fromarray(alpha)))
    assert difference(image_of(encoded(picture)), PLAIN) < 3


def test_a_picture_with_transparent_corners_keeps_its_paper() -> None:
    picture = Image.fromarray(on_paper(ink())).convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 10, 10))
    assert difference(image_of(encoded(picture)), PLAIN) == 0


@pytest.mark.parametrize(("left", "top"), [(10, 10), (90, 20), (10, 70), (80, 65)])
def test_the_position_on_the_paper_does_not_matter(left: int, top: int) -> None:
    assert np.array_equal(image_of(encoded(on_paper(ink(left=left, top=top)))), PLAIN)


@pytest.mark.parametrize("height", [60, 90, 150, 180])
def test_the_size_on_the_paper_hardly_matters(height: int) -> None:
    changes = []
    for digit in range(10):
        one, other = (image_of(encoded(on_paper(ink(digit, side, 10, 10)))) for side in (120, height))
        steps = product((-1, 0, 1), repeat=2)  # a centre of mass between two pixels may be rounded to either
        changes.append(min(difference(one, np.roll(other, step, axis=(0, 1))) for step in steps))
    assert np.mean(changes) < 4


def test_a_small_digit_on_large_paper_is_found() -> None:
    paper = np.full((500, 500), 255, np.uint8)
    paper[300:332, 100:132] = np.asarray(Image.fromarray(on_paper(ink())[30:150, 50:170]).resize((32, 32)))
    assert difference(image_of(encoded(paper)), PLAIN) < 20


@pytest.mark.parametrize("medium", MEDIA)
def test_the_ink_fits_twenty_pixels_with_its_centre_of_mass_at_the_centre(medium: str) -> None:
    for digit in range(10):
        image = image_of(encoded(draw(digit, np.random.default_rng(digit), medium)))
        rows, columns = np.nonzero(image)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in (DIGIT_SIDE - 1, DIGIT_SIDE)
        centre = [image.sum(axis=axis) @ np.arange(SIDE) / image.sum() for axis in (0, 1)]
        assert np.abs(np.array(centre) - SIDE / 2).max() <= 0.5


def test_preprocessing_an_image_again_hardly_changes_it(digits: Split) -> None:
    once = [image_of(encoded(255 - image)) for image in digits.images]
    changes = np.array([difference(image_of(encoded(255 - image)), image) for image in once])
    assert (changes == 0).mean() > 0.9
    assert changes.mean() < 1


@pytest.mark.parametrize("turn", range(4))
def test_uneven_light_is_not_taken_for_ink(turn: int) -> None:
    light = np.rot90(np.linspace(1, 0.7, 200)[None, :].repeat(200, axis=0), turn)
    found = extract_ink(open_picture(encoded(np.round(on_paper(ink(), 220, 30) * light).astype(np.uint8))))
    assert not found[ink() == 0].any()
    assert (found[ink() == 1] > 128).all()


def test_noise_is_ink_like_any_other() -> None:
    image = image_of(encoded(np.random.default_rng(3).integers(0, 256, (90, 120), np.uint8)))
    assert (image.shape, image.dtype.name) == ((SIDE, SIDE), "uint8")
    assert np.count_nonzero(image.any(axis=0)) in (DIGIT_SIDE - 1, DIGIT_SIDE)


@pytest.mark.parametrize("grey", [0, 127, 128, 255])
def test_a_blank_page_is_not_a_digit(grey: int) -> None:
    image, reason, _ = preprocess(encoded(np.full((100, 100), grey, np.uint8)))
    assert reason == "blank_page"
    assert not image.any()


@pytest.mark.parametrize("seed", range(5))
def test_a_photo_of_blank_paper_is_not_a_digit(seed: int) -> None:
    photo = MEDIA["photo"].finish(np.zeros((300, 400)), np.random.default_rng(seed))
    assert preprocess(encoded(photo, "JPEG")).reason == "blank_page"


def test_dots_that_vanish_in_the_scaling_are_not_a_digit() -> None:
    paper = np.full((512, 512), 255, np.uint8)
    paper[15::30, 15::30] = 0
    assert preprocess(encoded(paper)).reason == "blank_page"


def test_no_ink_is_not_a_digit() -> None:
    with pytest.raises(PictureError, match="nothing on it"):
        scale_and_center(np.zeros((20, 20), np.uint8))
