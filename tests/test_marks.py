"""Pictures of a digit among other marks, on any paper, in any light: each shows what once was read wrongly."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from pipeline.data.image import preprocess
from pipeline.data.limits import SIDE
from tests.support.pictures import difference, encoded, ink, on_paper

Grey = npt.NDArray[np.uint8]
PLAIN = preprocess(encoded(on_paper(ink()))).image


def paper(level: int = 255, pen: int = 0, **place: int) -> Grey:
    """200×200 pixels with a digit 120 high, from (50, 50) on."""
    return on_paper(ink(**place), level, pen)


def noisy(grey: npt.NDArray[np.floating] | Grey) -> Grey:
    noise = np.random.default_rng(1).normal(0, 2, grey.shape)
    return np.clip(np.round(grey + noise), 0, 255).astype(np.uint8)


def lines(grey: Grey, level: int, upright: bool = False, tilt: float = 0.0, gap: int = 40) -> Grey:
    picture = Image.fromarray(grey)
    pen = ImageDraw.Draw(picture)
    for at in range(15, 220, gap):
        ends = [(0, at), (200, at + 200 * tilt)]
        pen.line([(y, x) for x, y in ends] if upright else ends, fill=level, width=2)
    ruled: Grey = np.minimum(np.asarray(picture), grey)
    return ruled


def margin_line() -> Grey:
    grey = noisy(paper(230, 40))
    grey[:, 30:33] = 130
    return grey


def specks() -> Grey:
    grey = paper()
    grey[8:12, 8:12] = grey[190:193, 15:19] = grey[185:189, 180:184] = 0
    return grey


def on_a_desk() -> Grey:
    desk = np.random.default_rng(2).normal(70, 5, (300, 320))
    desk[40:240, 60:260] = paper(225, 50)
    return noisy(desk)


def desk_in_view() -> Grey:
    grey = paper(225, 50).astype(float)
    grey[-14:] = 70
    return noisy(grey)


def pasted_photo() -> Grey:
    page = np.full((400, 500), 255, np.uint8)
    page[100:300, 200:400] = noisy(paper(170, 50))
    return page


def window() -> Grey:
    screen = np.full((300, 340), 110, np.uint8)
    screen[30:50, 40:280] = 200  # its title
    screen[36:44, 50:110] = 60
    screen[50:260, 40:280] = 255
    screen[55:255, 60:260] = paper()
    return screen


def neighbour() -> Grey:
    grey = paper()
    grey[60:90, 190:] = 0
    return grey


KINDS: dict[str, tuple[Callable[[], Grey], float]] = {  # and the largest mean difference of a pixel from PLAIN
    "ruled paper": (lambda: noisy(lines(paper(230, 40), 150)), 6),
    "dark rules": (lambda: lines(paper(), 30, gap=45), 14),
    "rules that slope": (lambda: noisy(lines(paper(230, 40), 100, tilt=0.03)), 9),
    "squared paper": (lambda: lines(lines(paper(230, 40), 120), 120, upright=True), 12),
    "margin line": (margin_line, 6),
    "specks": (specks, 1),
    "a sheet on a desk": (on_a_desk, 6),
    "the table's edge in view": (desk_in_view, 6),
    "a photo pasted on a page": (pasted_photo, 6),
    "a window on a screen": (window, 3),
    "a neighbour's stroke": (neighbour, 1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_digit_among_other_marks_is_found(kind: str) -> None:
    make, limit = KINDS[kind]
    image, reason, _ = preprocess(encoded(make()))
    assert reason is None
    assert difference(image, PLAIN) < limit


@pytest.mark.parametrize("share", [0.9, 0.65, 0.4])
@pytest.mark.parametrize(("right", "down"), [(0.0, 0.0), (0.3, 0.0), (-0.2, 0.2)])
def test_dark_ink_in_dim_and_uneven_light_is_dark_ink(share: float, right: float, down: float) -> None:
    y, x = np.mgrid[0:200, 0:200] / 200 - 0.5
    image, reason, _ = preprocess(encoded(noisy(paper(200, 60) * share * (1 + right * x + down * y))))
    assert reason is None
    assert difference(image, PLAIN) < 6


@pytest.mark.parametrize(("level", "pen"), [(255, 235), (30, 48)])
def test_pale_ink_on_clean_paper_is_ink(level: int, pen: int) -> None:
    image, reason, _ = preprocess(encoded(paper(level, pen)))
    assert reason is None
    assert difference(image, PLAIN) < 4


def test_a_thin_pen_is_as_dark_as_a_thick_one() -> None:
    picture = Image.new("L", (500, 500), 255)
    pen = ImageDraw.Draw(picture)
    pen.line([(150, 100), (350, 400)], fill=0, width=3)
    pen.line([(350, 100), (150, 400)], fill=0, width=3)  # darker than its strokes, where they cross
    image = preprocess(encoded(picture)).image
    darkest = image[image.sum(axis=1) > 0].max(axis=1)
    assert darkest.min() > 150
    assert np.median(darkest) > 230


@pytest.mark.parametrize("digit", range(10))
def test_a_picture_that_the_digit_fills_keeps_all_of_it(digit: int) -> None:
    """The bar of a 4, the stem of a 1 or the foot of a 2 reach from border to border, and are no rules."""
    whole = ink(digit)
    rows, columns = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
    tight = on_paper(whole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    assert difference(preprocess(encoded(tight)).image, preprocess(encoded(on_paper(whole))).image) < 3


def test_a_digit_in_two_strokes_stays_whole() -> None:
    grey = paper()
    grey[100:106] = 255  # a gap between the upper and the lower half
    image, reason, _ = preprocess(encoded(grey))
    assert reason is None
    assert difference(image, PLAIN) < 12


def row(count: int) -> Grey:
    digits = [on_paper(ink(digit, left=10))[:, :120] for digit in range(count)]
    return np.concatenate([np.full((200, 30), 255, np.uint8), *digits, np.full((200, 30), 255, np.uint8)], axis=1)


def test_two_digits_are_told_from_one() -> None:
    assert not preprocess(encoded(paper())).is_several
    assert preprocess(encoded(row(2))).is_several


def test_a_row_is_several_digits_and_a_page_of_marks_no_digit() -> None:
    page = np.full((300, 300), 255, np.uint8)
    for top in range(20, 280, 40):
        page[top : top + 12, 30:270:20] = page[top : top + 12, 31:270:20] = page[top : top + 12, 32:270:20] = 0
    assert preprocess(encoded(row(6))).reason == "several_digits"
    assert preprocess(encoded(page)).reason in ("not_a_digit", "several_digits")


# Objects on a plain background, and pictures as they are.


def boot(background: int = 255) -> Grey:
    """A dark grey shape, taller than wide, with lighter laces."""
    grey = np.full((300, 400), background, np.uint8)
    grey[40:260, 150:230] = grey[200:260, 150:300] = 90
    grey[80:180, 160:190] = 200
    return grey


def test_an_object_fills_the_image_and_keeps_its_shades() -> None:
    image, reason, _ = preprocess(encoded(boot()), "object")
    assert reason is None
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    assert (rows[0], rows[-1]) == (0, SIDE - 1)
    assert len(columns) == pytest.approx(SIDE * 150 / 220, abs=1.5)
    assert columns[0] + columns[-1] == pytest.approx(SIDE - 1, abs=1)
    assert 130 < image.max() < 190
    assert 30 < image[8:14, 6:8].max() < 90


def test_an_object_on_black_is_taken_as_it_is() -> None:
    images = np.zeros((28, 28), np.uint8)
    images[:, 7:21] = np.random.default_rng(3).integers(30, 255, (28, 14), np.uint8)
    assert np.array_equal(preprocess(encoded(images), "object").image, images)
    assert np.array_equal(preprocess(encoded(images), "none").image, images)


def test_a_picture_without_an_object_is_blank() -> None:
    assert preprocess(encoded(np.full((90, 90), 200, np.uint8)), "object").reason == "blank_page"


@pytest.mark.parametrize(
    ("x", "y", "radius", "is_dot"),
    [
        (100, 40, 8, True),
        (106, 35, 6, True),
        (150, 40, 8, False),  # beside it
        (100, 20, 2, False),  # dust
        (100, 12, 8, False),  # far away
        (100, 186, 8, False),  # below it
    ],
)
def test_the_dot_of_an_i_belongs_to_it_and_other_small_marks_do_not(x: int, y: int, radius: int, is_dot: bool) -> None:
    picture = Image.new("L", (200, 200), 255)
    pen = ImageDraw.Draw(picture)
    pen.line([(100, 75), (100, 150)], fill=0, width=12)
    stroke = preprocess(encoded(np.asarray(picture))).image
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=0)

    assert np.array_equal(preprocess(encoded(np.asarray(picture))).image, stroke) != is_dot
