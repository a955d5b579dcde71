"""Rows of digits: each one is found, in its place and its order, and nothing else is taken for one."""

import contextlib
import time

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.core.errors import PictureError
from pipeline.data.dataset import Split
from pipeline.data.image import normalised
from serving.rows.reader import MAX_DIGITS, Found, find
from tests.support.stroke_templates import fit, ink_of, write
from tests.support.synthetic_digits import synthetic_images

Pixels = npt.NDArray[np.uint8]
HEIGHT = 60  # of a digit, in pixels


class Nearest:
    """A model in one line: how near an image is to those of each digit."""

    def __init__(self, digits: Split) -> None:
        self.images, self.labels = soft(digits.images), digits.labels

    def probabilities(self, images: Pixels, /) -> npt.NDArray[np.float32]:
        near = np.exp(30 * (soft(images) @ self.images.T))
        sums = np.stack([near[:, self.labels == digit].sum(axis=1) for digit in range(10)], axis=1)
        probabilities: npt.NDArray[np.float32] = (sums / sums.sum(axis=1, keepdims=True)).astype(np.float32)
        return probabilities


def soft(images: Pixels) -> npt.NDArray[np.float64]:
    """`(N, 196)` of length 1: images at half their size, so that strokes a pixel apart still meet."""
    small: npt.NDArray[np.float64] = images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196)
    small = small - small.mean(axis=1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True)
    return small


@pytest.fixture(scope="module")
def model() -> Nearest:
    labels = np.tile(np.arange(10, dtype=np.uint8), 60)
    return Nearest(Split(synthetic_images(labels, np.random.default_rng(3)), labels))


def written(digit: int, height: float = HEIGHT, seed: int = 1, form: int = 0, nib: float = 6) -> Pixels:
    """A digit's ink, `(h, w)`, without a margin."""
    strokes = fit(write(digit, np.random.default_rng(seed), form), (height - nib, height - nib))
    width, high = np.vstack(strokes).max(axis=0) + 1.5 * nib
    ink = ink_of([stroke + nib for stroke in strokes], (int(width) + 4, int(high) + 4), nib, np.random.default_rng(2))
    rows, columns = np.flatnonzero((ink > 0.26).any(axis=1)), np.flatnonzero((ink > 0.26).any(axis=0))
    return np.round(255 * ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]).astype(np.uint8)


def page(*digits: tuple[Pixels, int, int], size: tuple[int, int] = (300, 500)) -> Pixels:
    """Ink with each digit's left upper corner at (x, y)."""
    ink = np.zeros(size, np.uint8)
    for digit, x, y in digits:
        place = ink[y : y + digit.shape[0], x : x + digit.shape[1]]
        np.maximum(place, digit, out=place)
    return ink


def row(text: str, gap: int = 12, fall: int = 0, heights: tuple[int, ...] = (HEIGHT,)) -> Pixels:
    """Digits `gap` pixels apart, each `fall` lower than the one before, of these heights in turn."""
    placed, x = [], 20
    for number, digit in enumerate(text):
        ink = written(int(digit), heights[number % len(heights)])
        placed.append((ink, x, 120 + fall * number - len(ink) // 2))
        x += ink.shape[1] + gap
    return page(*placed)


def text(found: list[Found]) -> str:
    return "".join(str(digit.probabilities.argmax()) for digit in found)


def stroke(width: int, height: int) -> Pixels:
    return np.full((height, width), 255, np.uint8)


@pytest.mark.parametrize("number", ["2024", "0", "31415", "77", "11", "1100", "86420", "98765"])
def test_a_row_is_read_from_left_to_right(model: Nearest, number: str) -> None:
    assert text(find(model, row(number))) == number


def test_each_box_is_the_digits_ink(model: Nearest) -> None:
    one, other = written(4), written(7, 40)
    boxes = [digit.box for digit in find(model, page((one, 30, 50), (other, 120, 60)))]
    assert boxes == [(30, 50, 30 + one.shape[1], 50 + len(one)), (120, 60, 120 + other.shape[1], 60 + len(other))]


@pytest.mark.parametrize("digit", range(10))
@pytest.mark.parametrize("form", range(3))
def test_a_single_digit_is_one_digit_and_seen_as_it_is_alone(model: Nearest, digit: int, form: int) -> None:
    ink = page((written(digit, 150, seed=form + 5, form=form, nib=14), 60, 70))
    (found,) = find(model, ink)
    assert (found.image == normalised(ink)).all()


@pytest.mark.parametrize("fall", [-12, -6, 6, 12])
def test_the_row_may_go_up_or_down(model: Nearest, fall: int) -> None:
    assert text(find(model, row("40279", fall=fall))) == "40279"


def test_the_digits_may_differ_in_size(model: Nearest) -> None:
    assert text(find(model, row("52938", heights=(80, 45, 60, 90)))) == "52938"


def test_a_one_much_lower_than_a_seven_is_in_the_same_line(model: Nearest) -> None:
    assert text(find(model, page((written(7), 50, 50), (written(1), 110, 95)))) == "71"


def test_digits_that_share_columns_are_seen_apart(model: Nearest) -> None:
    six, seven = written(6, form=0), written(7, form=0)
    ink = page((seven, 50, 50), (six, 50 + seven.shape[1] - 9, 66))
    assert (ink > 64)[:, 50 + seven.shape[1] - 5].any()
    found = find(model, ink)
    assert text(found) == "76"
    assert (found[1].image == normalised(six)).mean() > 0.98


@pytest.mark.parametrize("overlap", [1, 3])
@pytest.mark.parametrize("number", ["56", "20", "68", "35"])
def test_touching_digits_are_cut(model: Nearest, number: str, overlap: int) -> None:
    assert text(find(model, row(number, gap=-overlap))) == number


def test_a_stroke_apart_from_its_digit_belongs_to_it(model: Nearest) -> None:
    five = written(5, 100, form=0, nib=8)
    five[12:16] = 0
    assert text(find(model, page((written(3, 100, nib=8), 50, 50), (five, 150, 50)))) == "35"


def test_a_dashed_digit_is_one(model: Nearest) -> None:
    seven = written(7, 120, nib=8)
    seven[::24] = seven[1::24] = seven[2::24] = 0
    seven[:12, 20:24] = seven[:12, 44:48] = 0
    assert text(find(model, page((seven, 80, 80)))) == "7"


@pytest.mark.parametrize(("width", "height", "y"), [(8, 8, 142), (7, 14, 145), (24, 6, 118)])
def test_points_commas_and_hyphens_are_no_digits(model: Nearest, width: int, height: int, y: int) -> None:
    ink = row("25", gap=44)
    x = int(np.flatnonzero(~ink[:, 30:].any(axis=0))[0]) + 30 + 22 - width // 2
    assert text(find(model, np.maximum(ink, page((stroke(width, height), x, y))))) == "25"


@pytest.mark.parametrize("fall", [0, 1])
def test_an_underline_is_no_digit(model: Nearest, fall: int) -> None:
    line = [(stroke(10, 4), 15 + 10 * part, 165 + fall * (part // 3)) for part in range(24)]
    assert text(find(model, np.maximum(row("402"), page(*line)))) == "402"


def test_dust_is_no_digit(model: Nearest) -> None:
    ink = row("64")
    ink[::50, ::50] = 200
    assert text(find(model, ink)) == "64"


@pytest.mark.parametrize("gap", [15, 40])
@pytest.mark.parametrize("shift", [0, 30])
@pytest.mark.parametrize("lines", [2, 3])
def test_more_than_one_line_is_refused(model: Nearest, gap: int, shift: int, lines: int) -> None:
    one, step = row("4207")[80:160], HEIGHT + gap
    ink = np.zeros((400, 600), np.uint8)
    for line in range(lines):
        place = ink[20 + line * step :, 20 + line * shift :][:80, :500]
        np.maximum(place, one, out=place)
    with pytest.raises(PictureError) as caught:
        find(model, ink)
    assert (caught.value.code, caught.value.expected) == ("more_than_one_line", "one line")


def test_more_digits_than_a_number_has_are_refused(model: Nearest) -> None:
    ones = [(stroke(4, 30), 12 * number + 5, 40) for number in range(MAX_DIGITS + 1)]
    assert len(find(model, page(*ones[:-1]))) == MAX_DIGITS
    with pytest.raises(PictureError) as caught:
        find(model, page(*ones))
    assert caught.value.code == "too_many_digits"
    assert caught.value.got == "33 pieces of ink"


def test_a_blank_page_has_no_digits(model: Nearest) -> None:
    assert find(model, np.zeros((40, 60), np.uint8)) == []


def worst() -> dict[str, Pixels]:
    y, x = np.mgrid[:512, :512]
    rng = np.random.default_rng(4)
    drawn = {
        "checkerboard": (x + y) % 2,
        "dots": (x % 3 == 0) & (y % 3 == 0),
        "one blot": x >= 0,
        "grid": x * y % 16 < 2,
    }
    drawn |= {f"noise {share}": rng.random((512, 512)) < share for share in (0.1, 0.3, 0.5)}
    drawn |= {"bars": x % 16 < 3, "comb": (x % 11 < 3) | (y == 300), "one pixel": (x + y) == 0}
    return {name: (255 * ink).astype(np.uint8) for name, ink in drawn.items()}


@pytest.mark.parametrize("name", worst())
def test_whatever_the_ink_the_answer_comes_in_time(model: Nearest, name: str) -> None:
    ink = worst()[name]
    started = time.perf_counter()
    with contextlib.suppress(PictureError):
        assert len(find(model, ink)) <= MAX_DIGITS
    assert time.perf_counter() - started < 1
