"""`python -m benchmarks.row_accuracy`: how well rows of digits are read, and how long it takes.

Rows of one to eight digits, composed of MNIST's images and of digits that the project's pen draws. The figures are
from MNIST's test images; with `--development`, to tune by, from its validation images and other rows. The model is
artifacts/export/model.onnx. Not covered: rows that one hand has written, in one size and with one pen.
"""

import argparse
import io
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image

from pipeline.core.errors import PictureError
from pipeline.data.image import ink_of, normalised, open_picture
from serving.model import Model
from serving.rows import reader
from tests.support.stroke_templates import fit, write
from tests.support.stroke_templates import ink_of as written
from tests.support.synthetic_digits import MEDIA

KINDS = ("alone", "spaced", "touching", "slanted", "sizes", "photo")
Ink = npt.NDArray[np.float64]  # (H, W), 0 = paper, 1 = ink
Pixels = npt.NDArray[np.uint8]
Draw = Callable[[int, float, np.random.Generator], tuple[int, Ink]]


def mnist(folder: Path, part: str) -> Draw:
    images, labels = (np.load(folder / f"{part}_{name}.npy") for name in ("images", "labels"))

    def draw(_: int, height: float, rng: np.random.Generator) -> tuple[int, Ink]:
        index = rng.integers(len(images))
        scale = height / 20
        size = round(28 * scale), round(28 * scale)
        large = Image.fromarray(images[index]).resize(size, Image.Resampling.BICUBIC)
        return int(labels[index]), tight(np.asarray(large) / 255)

    return draw


def pen(digit: int, height: float, rng: np.random.Generator) -> tuple[int, Ink]:
    nib = max(1.6, rng.uniform(0.04, 0.14) * height)
    strokes = fit(write(digit, rng), (height - nib, height - nib))
    width, _ = np.vstack(strokes).max(axis=0)
    page = (round(width + 2 * nib), round(height + nib))
    return digit, tight(written([stroke + nib for stroke in strokes], page, nib, rng))


def tight(ink: Ink) -> Ink:
    rows, columns = np.flatnonzero((ink > 0.1).any(axis=1)), np.flatnonzero((ink > 0.1).any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def row(draw: Draw, kind: str, rng: np.random.Generator) -> tuple[str, bytes]:
    """The digits and the picture file."""
    count = 1 if kind == "alone" else int(rng.integers(1, 9))
    height = rng.uniform(28, min(120, 400 / count))
    page, text, x = np.zeros((int(4 * height), int(2.2 * (count + 1) * height))), "", int(height)
    for number in range(count):
        one = rng.uniform(0.6, 1.4) if kind == "sizes" else rng.uniform(0.9, 1.1)
        digit, ink = draw(int(rng.integers(10)), one * height, rng)
        ink = slanted(ink) if kind == "slanted" else ink
        y = int(2 * height - len(ink) / 2 + rng.normal(0, 0.15 if kind == "sizes" else 0.05) * height)
        if number:
            gap = rng.uniform(0.06, 0.4) * height
            if kind == "slanted":
                x = meeting(page, ink, y, x, 0.35 * height) + round(gap)
            elif kind == "touching" and rng.random() < 0.6:
                x = meeting(page, ink, y, x, 0.2 * height) - round(rng.uniform(0, 0.05) * height)
            else:
                x += round(gap)
        place = page[y : y + ink.shape[0], x : x + ink.shape[1]]
        np.maximum(place, ink, out=place)
        x, text = x + ink.shape[1], text + str(digit)
    return text, encoded(finished(page, kind, height, rng), kind)


def slanted(ink: Ink) -> Ink:
    """Leaning to the right by a third, as many write."""
    wide = np.pad(ink, ((0, 0), (0, len(ink) // 3 + 1)))
    coefficients = (1, 1 / 3, -len(ink) / 3, 0, 1, 0)
    picture = Image.fromarray(np.round(255 * wide).astype(np.uint8))
    sheared = picture.transform(picture.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    return tight(np.asarray(sheared) / 255)


def meeting(page: Ink, ink: Ink, y: int, x: int, reach: float) -> int:
    """The column, from x on to the left for at most `reach`, at which ink first meets what is on the page."""
    for column in range(x, x - int(reach), -1):
        if ((page[y : y + ink.shape[0], column : column + ink.shape[1]] > 0.5) & (ink > 0.5)).any():
            return column
    return x


def finished(page: Ink, kind: str, height: float, rng: np.random.Generator) -> Image.Image:
    """The page, with a margin, on paper; slanted rows also go up or down."""
    picture = Image.fromarray(np.round(255 * page).astype(np.uint8))
    if kind == "slanted":
        picture = picture.rotate(rng.uniform(-8, 8), Image.Resampling.BILINEAR)
    margin = int(rng.uniform(0.2, 0.5) * height) + 4
    ink = np.pad(tight(np.asarray(picture) / 255), margin)
    if kind == "photo":
        return MEDIA["photo"].finish(ink, rng)
    return Image.fromarray(np.round(255 - 255 * ink).astype(np.uint8))


def encoded(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG" if kind == "photo" else "PNG", quality=85)
    return buffer.getvalue()


def distance(one: str, other: str) -> int:
    """Levenshtein's: digits to change, leave out or put in."""
    costs = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        above, costs[0] = costs[0], i
        for j, b in enumerate(other, 1):
            above, costs[j] = costs[j], min(costs[j] + 1, costs[j - 1] + 1, above + (a != b))
    return costs[-1]


def read(model: Model, content: bytes) -> tuple[str, float]:
    """What was read, or a problem's code, and the milliseconds."""
    ink = ink_of(open_picture(content))
    started = time.perf_counter()
    try:
        text = "".join(str(digit.probabilities.argmax()) for digit in reader.find(model, ink))
    except PictureError as problem:
        text = f"({problem.code})"
    return text, 1000 * (time.perf_counter() - started)


def measured(model: Model, draw: Draw, kind: str, seed: int, rows: int) -> tuple[float, float, float]:
    """Percent of rows read right, percent of digits read wrong, median milliseconds."""
    right, wrong, digits, took = 0, 0, 0, []
    for number in range(rows):
        text, content = row(draw, kind, np.random.default_rng([seed, KINDS.index(kind), number]))
        answer, milliseconds = read(model, content)
        right += answer == text
        wrong += len(text) if answer.startswith("(") else distance(text, answer)
        digits += len(text)
        took.append(milliseconds)
    return 100 * right / rows, 100 * wrong / digits, statistics.median(took)


def print_shapes(images: Pixels, labels: Pixels) -> None:
    """What `reader.SHAPES` holds, by digit."""
    boxes = np.array([Image.fromarray(image > 64).getbbox() for image in images])
    found = reader.shapes(np.stack([normalised(image) for image in images]), boxes)
    for digit in range(10):
        mine = found[labels == digit]
        print(digit, np.stack([mine.mean(axis=0), mine.std(axis=0)], axis=1).round(2).tolist())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shapes", action="store_true", help="only print serving.rows.reader.SHAPES")
    parser.add_argument("--development", action="store_true", help="validation images and other rows, to tune by")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=100, help="for each kind and seed")
    arguments = parser.parse_args()
    artifacts = Path("artifacts")
    if arguments.shapes:
        print_shapes(*(np.load(artifacts / f"normalise/train_{name}.npy") for name in ("images", "labels")))
        return
    model = Model(artifacts / "export/model.onnx", "mnist")
    if arguments.development:
        images, first = mnist(artifacts / "normalise", "validation"), 1000
    else:
        images, first = mnist(artifacts / "download", "test"), 0
    print(f"{arguments.seeds} seeds of {arguments.rows} rows of 1 to 8 digits, mean ± sd; one thread of {cpu()},")
    print(f"onnxruntime {onnxruntime.__version__}, numpy {np.__version__}\n")
    print("| digits | rows | wholly right | digits wrong | a row |\n|---|---|---|---|---|")
    for name, draw in (("MNIST", images), ("pen", pen)):
        for kind in KINDS:
            seeds = range(first, first + arguments.seeds)
            all_seeds = [measured(model, draw, kind, seed, arguments.rows) for seed in seeds]
            right, wrong, took = zip(*all_seeds, strict=True)
            print(f"| {name} | {kind} | {spread(right)} % | {spread(wrong)} % | {statistics.median(took):.0f} ms |")


def spread(values: tuple[float, ...]) -> str:
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=min(1, len(values) - 1)):.1f}"


def cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(": ")[1] for line in lines if "model name" in line), platform.processor())


if __name__ == "__main__":
    main()
