"""Picture files, and ink of single digits and of rows, that tests share."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.support.stroke_templates import Ink, fit, render, write

Pixels = npt.NDArray[np.uint8]
DIGIT_HEIGHT = 60  # pixels, of a digit in a row


def encoded(picture: Image.Image | Pixels, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int) -> bytes:
    """A PNG file of this size without its pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(b"\0")) + png_chunk(b"IEND", b"")


def difference(one: Pixels, other: Pixels) -> float:
    """Mean absolute difference of all pixels, in grey levels; over the ink alone it is about ten times that."""
    return float(np.abs(one.astype(int) - other).mean())


def ink(digit: int = 5, height: int = 120, left: int = 50, top: int = 30) -> Ink:
    """`(200, 200)`, 0 to 1: a digit of this height at this position, always in the same hand."""
    strokes = fit(write(digit, np.random.default_rng(1), template=0), (height, height))
    rng = np.random.default_rng(2)
    return render([stroke + np.array([left, top]) for stroke in strokes], (200, 200), height / 10, rng)


def on_paper(ink: Ink, paper: float = 255, pen: float = 0) -> Pixels:
    """`(H, W) uint8`: ink in a pen's grey level on paper of another."""
    return np.round(paper + ink * (pen - paper)).astype(np.uint8)


def digit_ink(
    digit: int, height: float = DIGIT_HEIGHT, seed: int = 1, template: int = 0, pen_width: float = 6
) -> Pixels:
    """A digit's ink, `(h, w) uint8`, without a margin."""
    strokes = fit(write(digit, np.random.default_rng(seed), template), (height - pen_width, height - pen_width))
    w, h = np.vstack(strokes).max(axis=0) + 1.5 * pen_width
    size, rng = (int(w) + 4, int(h) + 4), np.random.default_rng(2)
    ink = render([stroke + pen_width for stroke in strokes], size, pen_width, rng)
    rows, columns = np.flatnonzero((ink > 0.26).any(axis=1)), np.flatnonzero((ink > 0.26).any(axis=0))
    return np.round(255 * ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]).astype(np.uint8)


def stroke(width: int, height: int) -> Pixels:
    return np.full((height, width), 255, np.uint8)


def compose(*shapes: tuple[Pixels, int, int], size: tuple[int, int] = (300, 500)) -> Pixels:
    """Ink `(H, W) uint8` with the top left corner of each shape at its (x, y)."""
    ink = np.zeros(size, np.uint8)
    for shape, x, y in shapes:
        target = ink[y : y + shape.shape[0], x : x + shape.shape[1]]
        np.maximum(target, shape, out=target)
    return ink


def row(text: str, gap: int = 12, fall: int = 0, heights: tuple[int, ...] = (DIGIT_HEIGHT,)) -> Pixels:
    """Ink of digits `gap` pixels apart, each `fall` pixels lower than the one before, of these heights in turn."""
    placed, x = [], 20
    for number, digit in enumerate(text):
        ink = digit_ink(int(digit), heights[number % len(heights)])
        placed.append((ink, x, 120 + fall * number - len(ink) // 2))
        x += ink.shape[1] + gap
    return compose(*placed)
