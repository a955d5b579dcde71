"""Rows of digits: each digit is found, with its box and in order, and nothing else is taken for a digit."""

import contextlib
import time

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.core.errors import PictureError
from pipeline.data.dataset import Split
from pipeline.data.image import scale_and_center
from pipeline.data.ink import INK_THRESHOLD
from serving.rows.components import find_components
from serving.rows.cut_paths import split_into_segments
from serving.rows.limits import MAX_DIGITS
from serving.rows.reader import DetectedDigit, read_row
from serving.rows.rules import erase_rules
from tests.support.pictures import DIGIT_HEIGHT, Pixels, compose, digit_ink, row, stroke
from tests.support.synthetic_digits import synthetic_images


class SimilarityModel:
    """A model without training: softmax over cosine similarities to images of each digit."""

    def __init__(self, digits: Split) -> None:
        self.images, self.labels = features(digits.images), digits.labels

    def classify(self, images: Pixels, /) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        weights = np.exp(30 * (features(images) @ self.images.T))
        sums = np.stack([weights[:, self.labels == digit].sum(axis=1) for digit in range(10)], axis=1)
        probabilities: npt.NDArray[np.float32] = (sums / sums.sum(axis=1, keepdims=True)).astype(np.float32)
        return probabilities, np.ones(len(images), np.float32)


def features(images: Pixels) -> npt.NDArray[np.float64]:
    """`(N, 196)` unit vectors: images at half their size, so that strokes a pixel apart still overlap."""
    small: npt.NDArray[np.float64] = images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196)
    small = small - small.mean(axis=1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True)
    return small


@pytest.fixture(scope="module")
def model() -> SimilarityModel:
    labels = np.tile(np.arange(10, dtype=np.uint8), 60)
    return SimilarityModel(Split(synthetic_images(labels, np.random.default_rng(3)), labels))


def text(found: list[DetectedDigit]) -> str:
    return "".join(str(digit.probabilities.argmax()) for digit in found)


@pytest.mark.parametrize("number", ["2024", "0", "31415", "77", "11", "1100", "86420", "98765"])
def test_a_row_is_read_from_left_to_right(model: SimilarityModel, number: str) -> None:
    assert text(read_row(model, row(number))) == number


def test_each_box_is_the_digits_ink(model: SimilarityModel) -> None:
    one, other = digit_ink(4), digit_ink(7, 40)
    boxes = [digit.box for digit in read_row(model, compose((one, 30, 50), (other, 120, 60)))]
    assert boxes == [(30, 50, 30 + one.shape[1], 50 + len(one)), (120, 60, 120 + other.shape[1], 60 + len(other))]


@pytest.mark.parametrize("digit", range(10))
@pytest.mark.parametrize("template", range(3))
def test_a_single_digit_gets_the_image_of_all_ink(model: SimilarityModel, digit: int, template: int) -> None:
    ink = compose((digit_ink(digit, 150, seed=template + 5, template=template, pen_width=14), 60, 70))
    (found,) = read_row(model, ink)
    assert (found.image == scale_and_center(ink)).all()


@pytest.mark.parametrize("fall", [-12, -6, 6, 12])
def test_the_row_may_go_up_or_down(model: SimilarityModel, fall: int) -> None:
    assert text(read_row(model, row("40279", fall=fall))) == "40279"


def test_the_digits_may_differ_in_size(model: SimilarityModel) -> None:
    assert text(read_row(model, row("52938", heights=(80, 45, 60, 90)))) == "52938"


def test_a_one_much_lower_than_a_seven_is_in_the_same_line(model: SimilarityModel) -> None:
    assert text(read_row(model, compose((digit_ink(7), 50, 50), (digit_ink(1), 110, 95)))) == "71"


def test_digits_that_share_columns_are_separated(model: SimilarityModel) -> None:
    six, seven = digit_ink(6, template=0), digit_ink(7, template=0)
    ink = compose((seven, 50, 50), (six, 50 + seven.shape[1] - 9, 66))
    assert (ink > INK_THRESHOLD)[:, 50 + seven.shape[1] - 5].any()
    found = read_row(model, ink)
    assert text(found) == "76"
    assert (found[1].image == scale_and_center(six)).mean() > 0.98


@pytest.mark.parametrize("overlap", [1, 3])
@pytest.mark.parametrize("number", ["56", "20", "68", "35"])
def test_touching_digits_are_cut(model: SimilarityModel, number: str, overlap: int) -> None:
    assert text(read_row(model, row(number, gap=-overlap))) == number


def test_a_separate_stroke_belongs_to_its_digit(model: SimilarityModel) -> None:
    five = digit_ink(5, 100, template=0, pen_width=8)
    five[12:16] = 0
    assert text(read_row(model, compose((digit_ink(3, 100, pen_width=8), 50, 50), (five, 150, 50)))) == "35"


def test_a_dashed_digit_is_one_digit(model: SimilarityModel) -> None:
    seven = digit_ink(7, 120, pen_width=8)
    seven[::24] = seven[1::24] = seven[2::24] = 0
    seven[:12, 20:24] = seven[:12, 44:48] = 0
    assert text(read_row(model, compose((seven, 80, 80)))) == "7"


@pytest.mark.parametrize(("width", "height", "y"), [(8, 8, 142), (7, 14, 145), (24, 6, 118)])
def test_points_commas_and_hyphens_are_not_digits(model: SimilarityModel, width: int, height: int, y: int) -> None:
    ink = row("25", gap=44)
    x = int(np.flatnonzero(~ink[:, 30:].any(axis=0))[0]) + 30 + 22 - width // 2
    assert text(read_row(model, np.maximum(ink, compose((stroke(width, height), x, y))))) == "25"


@pytest.mark.parametrize("fall", [0, 1])
def test_an_underline_is_not_a_digit(model: SimilarityModel, fall: int) -> None:
    line = [(stroke(10, 4), 15 + 10 * part, 165 + fall * (part // 3)) for part in range(24)]
    assert text(read_row(model, np.maximum(row("402"), compose(*line)))) == "402"


@pytest.mark.parametrize("inset", [0, 1, 3])
def test_an_underline_may_touch_the_digits(model: SimilarityModel, inset: int) -> None:
    ink = row("6803")
    lowest = int(np.flatnonzero(ink.any(axis=1))[-1])
    ink[lowest - inset + 1 :][:4, 10:-10] = 255
    assert text(read_row(model, ink)) == "6803"


@pytest.mark.parametrize("fall", [0.0, 0.05, -0.05])
def test_the_lines_of_ruled_paper_are_not_digits(model: SimilarityModel, fall: float) -> None:
    ink = row("4083")
    columns = np.arange(ink.shape[1])
    for top in (30, 112, 190):
        for depth in range(2):
            rows = (top + depth + fall * columns).astype(int)
            ink[rows, columns] = np.maximum(ink[rows, columns], 150)
    ink[:, 8:10] = np.maximum(ink[:, 8:10], 150)
    assert text(read_row(model, ink)) == "4083"


def test_the_grid_of_squared_paper_is_not_a_digit(model: SimilarityModel) -> None:
    ink = row("2057")
    ink[27::40] = np.maximum(ink[27::40], 120)
    ink[:, ::40] = np.maximum(ink[:, ::40], 120)
    assert text(read_row(model, ink)) == "2057"


def test_the_darker_parts_of_a_rule_are_erased_with_it() -> None:
    digits = row("402")
    ink = digits.copy()
    ink[180:183] = 120
    ink[180:183, 40:60] = ink[180:183, 100:130] = 220
    assert (erase_rules(ink) == digits).all()


@pytest.mark.parametrize("number", ["1", "7", "77", "111", "4"])
def test_the_strokes_of_digits_are_not_rules(number: str) -> None:
    ink = row(number, gap=2)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    for margin in (0, 20):
        cropped = np.pad(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], margin)
        assert (erase_rules(cropped) == cropped).all()


def test_the_tops_of_neighbouring_digits_in_a_tiny_picture_are_not_a_rule() -> None:
    ink = np.zeros((28, 28), np.uint8)
    for left in (2, 13):  # two sevens, two pixels apart
        ink[8, left : left + 9] = ink[8:18, left + 8] = 255
    assert (erase_rules(ink) == ink).all()


@pytest.mark.parametrize("overlap", [1, 4, 7])
def test_zeros_whose_loops_touch_are_cut(model: SimilarityModel, overlap: int) -> None:
    assert text(read_row(model, row("3000", gap=-overlap))) == "3000"


def test_zeros_may_share_an_arc(model: SimilarityModel) -> None:
    y, x = np.mgrid[:120, :200]
    rings = [np.hypot((x - centre) / 22, (y - 60) / 40) for centre in (50, 94)]
    ink = (255 * np.any([np.abs(ring - 1) < 0.17 for ring in rings], axis=0)).astype(np.uint8)
    assert text(read_row(model, ink)) == "00"


def test_the_edges_of_the_lines_above_and_below_belong_to_no_digit(model: SimilarityModel) -> None:
    ink = row("6053")[70:160]
    for x in (25, 80, 135, 185):
        ink[:5, x : x + 20] = ink[-4:, x + 5 : x + 15] = 255
    found = read_row(model, ink)
    assert text(found) == "6053"
    assert all(digit.box[1] > 5 and digit.box[3] < len(ink) - 4 for digit in found)


def test_dust_is_not_a_digit(model: SimilarityModel) -> None:
    ink = row("64")
    ink[::50, ::50] = 200
    assert text(read_row(model, ink)) == "64"


@pytest.mark.parametrize("gap", [15, 40])
@pytest.mark.parametrize("shift", [0, 30])
@pytest.mark.parametrize("lines", [2, 3])
def test_more_than_one_line_is_refused(model: SimilarityModel, gap: int, shift: int, lines: int) -> None:
    one, step = row("4207")[80:160], DIGIT_HEIGHT + gap
    ink = np.zeros((400, 600), np.uint8)
    for line in range(lines):
        target = ink[20 + line * step :, 20 + line * shift :][:80, :500]
        np.maximum(target, one, out=target)
    with pytest.raises(PictureError) as caught:
        read_row(model, ink)
    assert (caught.value.code, caught.value.expected) == ("more_than_one_line", "one line")


def test_too_many_digits_are_refused(model: SimilarityModel) -> None:
    ones = [(stroke(4, 30), 12 * number + 5, 40) for number in range(MAX_DIGITS + 1)]
    assert len(read_row(model, compose(*ones[:-1]))) == MAX_DIGITS
    with pytest.raises(PictureError) as caught:
        read_row(model, compose(*ones))
    assert caught.value.code == "too_many_digits"
    assert caught.value.got == "33 separate shapes"


def test_a_blank_page_has_no_digits(model: SimilarityModel) -> None:
    assert read_row(model, np.zeros((40, 60), np.uint8)) == []


def worst_cases() -> dict[str, Pixels]:
    y, x = np.mgrid[:512, :512]
    rng = np.random.default_rng(4)
    masks = {
        "checkerboard": (x + y) % 2,
        "dots": (x % 3 == 0) & (y % 3 == 0),
        "one blot": x >= 0,
        "grid": x * y % 16 < 2,
    }
    masks |= {f"noise {share}": rng.random((512, 512)) < share for share in (0.1, 0.3, 0.5)}
    masks |= {"bars": x % 16 < 3, "comb": (x % 11 < 3) | (y == 300), "one pixel": (x + y) == 0}
    return {name: (255 * ink).astype(np.uint8) for name, ink in masks.items()}


@pytest.mark.parametrize("name", worst_cases())
def test_reading_takes_less_than_a_second_of_cpu_time_whatever_the_ink(model: SimilarityModel, name: str) -> None:
    ink = worst_cases()[name]
    started = time.thread_time()  # not the wall clock: other processes may be busy
    with contextlib.suppress(PictureError):
        assert len(read_row(model, ink)) <= MAX_DIGITS
    assert time.thread_time() - started < 1


@pytest.mark.parametrize(("lean", "overlap"), [(0, 0), (50, 22)])
def test_a_cut_knows_how_many_columns_its_sides_share(lean: int, overlap: int) -> None:
    ink = np.zeros((140, 160), np.uint8)
    for y in range(100):
        for x in (20, 60):  # two bars of 12 pixels that lean to the right, joined by a thin stroke
            left = x + lean - lean * y // 100
            ink[20 + y, left : left + 12] = 255
    ink[68:71, 20 + lean // 2 : 60 + lean // 2] = 255
    _, segments = split_into_segments(*find_components(ink))
    assert segments[0].overlap == 0
    assert max(segment.overlap for segment in segments) == pytest.approx(overlap, abs=3)
