"""`python -m benchmarks.row_accuracy`: accuracy and latency of reading rows of digits.

Rows of one to eight digits are composed of MNIST's test images and of synthetic digits; with `--development`, for
tuning, of its validation images and with other seeds. The model is artifacts/export/model.onnx. Not covered: rows
written by one hand, in one size and with one pen.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.hardware import hardware
from pipeline.core.errors import PictureError
from pipeline.data.image import scale_and_center
from pipeline.data.ink import extract_ink
from pipeline.data.picture import open_picture
from serving.model import Model
from serving.rows.reader import read_row, shape_features
from tests.support.stroke_templates import fit, render, write
from tests.support.synthetic_digits import MEDIA

KINDS = ("alone", "spaced", "touching", "zeros", "slanted", "sizes", "photo", "ruled", "underlined", "squared", "marks")
TOUCHING = {"touching": 0.6, "zeros": 0.8}  # share of the gaps
Ink = npt.NDArray[np.float64]  # (H, W), 0 = paper, 1 = ink
Pixels = npt.NDArray[np.uint8]
Draw = Callable[[int, float, np.random.Generator], tuple[int, Ink]]


def mnist(folder: Path, split: str) -> Draw:
    images, labels = (np.load(folder / f"{split}_{name}.npy") for name in ("images", "labels"))

    def draw(_: int, height: float, rng: np.random.Generator) -> tuple[int, Ink]:
        index = rng.integers(len(images))
        scale = height / 20
        size = round(28 * scale), round(28 * scale)
        large = Image.fromarray(images[index]).resize(size, Image.Resampling.BICUBIC)
        return int(labels[index]), crop_to_ink(np.asarray(large) / 255)

    return draw


def synthetic(digit: int, height: float, rng: np.random.Generator) -> tuple[int, Ink]:
    pen_width = max(1.6, rng.uniform(0.04, 0.14) * height)
    strokes = fit(write(digit, rng), (height - pen_width, height - pen_width))
    width, _ = np.vstack(strokes).max(axis=0)
    size = (round(width + 2 * pen_width), round(height + pen_width))
    return digit, crop_to_ink(render([stroke + pen_width for stroke in strokes], size, pen_width, rng))


def crop_to_ink(ink: Ink) -> Ink:
    rows, columns = np.flatnonzero((ink > 0.1).any(axis=1)), np.flatnonzero((ink > 0.1).any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def compose_row(draw: Draw, kind: str, rng: np.random.Generator, count: int | None = None) -> tuple[str, bytes]:
    """The digits as text, and the picture file; one to eight digits, or `count`."""
    if count is None:
        count = 1 if kind == "alone" else int(rng.integers(1, 9))
    height = rng.uniform(28, min(120, 400 / count))
    canvas, text, x = np.zeros((int(4 * height), int(2.2 * (count + 1) * height))), "", int(height)
    for number in range(count):
        scale = rng.uniform(0.6, 1.4) if kind == "sizes" else rng.uniform(0.9, 1.1)
        digit, ink = draw(int(rng.integers(10)), scale * height, rng)
        while kind == "zeros" and number and digit:
            digit, ink = draw(0, scale * height, rng)
        ink = slant(ink) if kind == "slanted" else ink
        y = int(2 * height - len(ink) / 2 + rng.normal(0, 0.15 if kind == "sizes" else 0.05) * height)
        if number:
            gap = rng.uniform(0.06, 0.4) * height
            if kind == "slanted":
                x = first_contact(canvas, ink, y, x, 0.35 * height) + round(gap)
            elif kind in TOUCHING and rng.random() < TOUCHING[kind]:
                x = first_contact(canvas, ink, y, x, 0.2 * height) - round(rng.uniform(0, 0.05) * height)
            else:
                x += round(gap)
        target = canvas[y : y + ink.shape[0], x : x + ink.shape[1]]
        np.maximum(target, ink, out=target)
        x, text = x + ink.shape[1], text + str(digit)
    return text, encode(finish(canvas, kind, height, rng), kind)


def slant(ink: Ink) -> Ink:
    """Shear to the right by a third, like much handwriting."""
    wide = np.pad(ink, ((0, 0), (0, len(ink) // 3 + 1)))
    coefficients = (1, 1 / 3, -len(ink) / 3, 0, 1, 0)
    picture = Image.fromarray(np.round(255 * wide).astype(np.uint8))
    sheared = picture.transform(picture.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    return crop_to_ink(np.asarray(sheared) / 255)


def first_contact(canvas: Ink, ink: Ink, y: int, x: int, max_shift: float) -> int:
    """The first column, from x to the left by at most `max_shift`, at which `ink` touches ink on the canvas, else x."""
    for column in range(x, x - int(max_shift), -1):
        if ((canvas[y : y + ink.shape[0], column : column + ink.shape[1]] > 0.5) & (ink > 0.5)).any():
            return column
    return x


def finish(canvas: Ink, kind: str, height: float, rng: np.random.Generator) -> Image.Image:
    """A picture of the row with a margin; slanted rows are also rotated."""
    picture = Image.fromarray(np.round(255 * canvas).astype(np.uint8))
    if kind == "slanted":
        picture = picture.rotate(rng.uniform(-8, 8), Image.Resampling.BILINEAR)
    margin = int(rng.uniform(0.2, 0.5) * height) + 4
    ink = np.pad(crop_to_ink(np.asarray(picture) / 255), margin)
    if kind == "ruled":
        ink = np.maximum(ink, rules(ink.shape, height, rng))
    if kind == "underlined":
        lowest = np.flatnonzero(ink.any(axis=1))[-1]
        ink[lowest - int(rng.integers(-6, 3)) :][:2, margin // 2 : -margin // 2] = 1
    if kind == "squared":
        ink = np.maximum(ink, grid(ink.shape, height, rng))
    if kind == "marks":
        ink = add_marks(ink, height, rng)
    if kind == "photo":
        return MEDIA["photo"].finish(ink, rng)
    return Image.fromarray(np.round(255 - 255 * ink).astype(np.uint8))


def rules(shape: tuple[int, ...], height: float, rng: np.random.Generator) -> Ink:
    """Level lines across the picture, more than a digit's height apart, and a margin line on the left."""
    ink = np.zeros(shape)
    for top in np.arange(rng.uniform(0, height), shape[0] - 1, rng.uniform(1.1, 1.6) * height).astype(int):
        ink[top : top + max(1, int(height / 30))] = rng.uniform(0.4, 0.9)
    ink[:, 2:4] = rng.uniform(0.4, 0.9)
    return ink


def grid(shape: tuple[int, ...], height: float, rng: np.random.Generator) -> Ink:
    """Squares of half to all of a digit's height, fainter than the digits."""
    ink = np.zeros(shape)
    side, width = int(rng.uniform(0.5, 1) * height), max(1, int(height / 40))
    for lines in (ink, ink.T):
        for start in range(int(rng.integers(side)), len(lines), side):
            lines[start : start + width] = rng.uniform(0.3, 0.6)
    return ink


def add_marks(ink: Ink, height: float, rng: np.random.Generator) -> Ink:
    """A dash before the row, a point after it, specks, and the edges of other lines at the border."""
    space, pen = int(0.8 * height), max(2, int(0.08 * height))
    ink = np.pad(ink, ((pen, pen), (space, space)))
    middle, (rows, columns) = len(ink) // 2, ink.shape
    ink[middle : middle + pen, space // 3 : space // 3 + int(rng.uniform(0.15, 0.3) * height)] = 1
    ink[middle + int(0.3 * height) :, -space // 2 :][:pen, :pen] = 1
    for _ in range(20):
        y, x, size = rng.integers(rows), rng.integers(columns), rng.integers(1, pen + 1)
        ink[y : y + size, x : x + size] = 1
    for edge in (ink[:pen], ink[-pen:]):
        start = rng.integers(columns - space)
        edge[:, start : start + int(rng.uniform(0.1, 0.4) * height)] = 1
    return ink


def encode(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG" if kind == "photo" else "PNG", quality=85)
    return buffer.getvalue()


def edit_distance(one: str, other: str) -> int:
    """Levenshtein distance: the fewest substitutions, deletions and insertions."""
    costs = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        above, costs[0] = costs[0], i
        for j, b in enumerate(other, 1):
            above, costs[j] = costs[j], min(costs[j] + 1, costs[j - 1] + 1, above + (a != b))
    return costs[-1]


def read(model: Model, content: bytes) -> tuple[str, float]:
    """The digits read, or an error's code in parentheses, and the milliseconds taken."""
    ink = extract_ink(open_picture(content))
    started = time.perf_counter()
    try:
        text = "".join(str(digit.probabilities.argmax()) for digit in read_row(model, ink))
    except PictureError as error:
        text = f"({error.code})"
    return text, 1000 * (time.perf_counter() - started)


def measure(model: Model, draw: Draw, kind: str, seed: int, rows: int) -> tuple[float, float, float]:
    """Percentage of rows read correctly, digit error rate in percent, median milliseconds per row."""
    correct, errors, digits, times = 0, 0, 0, []
    for number in range(rows):
        text, content = compose_row(draw, kind, np.random.default_rng([seed, KINDS.index(kind), number]))
        answer, milliseconds = read(model, content)
        correct += answer == text
        errors += len(text) if answer.startswith("(") else edit_distance(text, answer)
        digits += len(text)
        times.append(milliseconds)
    return 100 * correct / rows, 100 * errors / digits, statistics.median(times)


def print_shapes(images: Pixels, labels: Pixels) -> None:
    """The values of `serving.rows.reader.SHAPE_STATISTICS`, by digit."""
    boxes = np.array([Image.fromarray(image > 64).getbbox() for image in images])
    features = shape_features(np.stack([scale_and_center(image) for image in images]), boxes)
    for digit in range(10):
        selected = features[labels == digit]
        print(digit, np.stack([selected.mean(axis=0), selected.std(axis=0)], axis=1).round(2).tolist())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shapes", action="store_true", help="only print serving.rows.reader.SHAPE_STATISTICS")
    parser.add_argument("--development", action="store_true", help="validation images and other seeds, for tuning")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=100, help="per kind and seed")
    arguments = parser.parse_args()
    artifacts = Path("artifacts")
    if arguments.shapes:
        print_shapes(*(np.load(artifacts / f"normalise/train_{name}.npy") for name in ("images", "labels")))
        return
    model = Model(artifacts / "export/model.onnx", "mnist")
    if arguments.development:
        draw_mnist, first = mnist(artifacts / "normalise", "validation"), 1000
    else:
        draw_mnist, first = mnist(artifacts / "download", "test"), 0
    print(f"{arguments.seeds} seeds of {arguments.rows} rows of 1 to 8 digits, mean ± sd; one thread of")
    print(f"{hardware('onnxruntime', 'numpy')}\n")
    print("| digits | rows | rows correct | digit errors | median time |\n|---|---|---|---|---|")
    for name, draw in (("MNIST", draw_mnist), ("synthetic", synthetic)):
        for kind in KINDS:
            seeds = range(first, first + arguments.seeds)
            results = [measure(model, draw, kind, seed, arguments.rows) for seed in seeds]
            correct, errors, times = zip(*results, strict=True)
            print(
                f"| {name} | {kind} | {summary(correct)} % | {summary(errors)} % | {statistics.median(times):.0f} ms |"
            )


def summary(values: tuple[float, ...]) -> str:
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=min(1, len(values) - 1)):.1f}"


if __name__ == "__main__":
    main()
