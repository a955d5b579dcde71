"""Templates of handwritten digits, random variation of a hand, and rendering of strokes as ink.

A template is text: strokes separated by `|`, each a list of points `x,y` that the pen
passes through in order, in a box of 100 x 100 with y downwards. `*` after a point
makes it a corner; elsewhere the line is a Catmull-Rom curve. Not covered: zeros with
a slash, or forms used only in some scripts.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from tests.support.letter_templates import LETTERS

Points = npt.NDArray[np.float64]  # (P, 2): x, y (downwards), along one stroke
Ink = npt.NDArray[np.float64]  # (H, W), 0 = paper, 1 = covered by the pen
Size = tuple[int, int]  # width, height in pixels

TEMPLATES: dict[int, tuple[str, ...]] = {
    0: (
        "54,2 30,7 14,30 13,60 26,90 50,99 74,88 86,58 83,28 68,7 50,3 40,7",
        "51,0 37,13 31,45 34,80 49,99 64,82 69,48 64,15 52,1 45,5",
        "45,4 24,15 13,42 16,72 32,95 54,98 75,82 84,52 79,24 66,9",
        "68,14 50,1 28,10 13,36 15,70 34,96 60,96 80,72 83,38 70,13 54,12 46,18",
        "34,10 18,34 16,64 30,92 54,98 74,80 80,50 72,20 54,3 36,6 28,16",
    ),
    1: (
        "51,0 50,33 50,66 49,100",
        "29,25 43,14 56,0* 55,34 54,67 53,100",
        "31,22 43,13 54,1* 54,34 53,67 52,98* | 28,99 52,98 77,97",
        "57,0 54,30 49,65 43,100",
        "22,38 40,22 57,0* 57,33 56,67 56,100",
    ),
    2: (
        "18,24 29,7 50,0 72,10 76,30 62,54 40,76 16,98* 48,97 84,96",
        "15,23 30,5 54,1 75,14 75,37 60,61 40,82 22,95 11,87 22,79 44,88 66,98 88,91",
        "28,30 17,22 27,7 50,1 70,9 72,28 58,52 38,73 12,95* 34,92 58,95 88,98",
        "18,13 46,3 73,9 74,28 54,53 32,77 13,97* 49,95 86,97",
        "20,27 30,6 54,0 74,15 71,38 50,66 30,83 12,97* 33,88 56,94 73,99 89,89",
    ),
    3: (
        "18,14 37,1 60,2 75,17 68,37 42,47* 69,51 83,69 75,90 50,100 27,96 12,83",
        "18,5 48,3 78,2* 60,22 42,41* 67,44 83,62 78,85 56,99 30,98 12,86",
        "20,13 42,0 66,6 72,25 56,43 41,49 37,43 46,41 68,49 81,68 72,91 46,100 14,89",
        "16,9 42,0 68,9 69,32 46,45* 70,56 74,80 54,97 30,101 9,93",
    ),
    4: (
        "31,2 25,29 16,57* 48,58 86,54 | 69,14 67,43 65,72 63,101",
        "64,0 38,32 10,66* 49,67 90,64 | 64,0 64,33 63,67 62,100",
        "21,4 17,29 25,49 47,53 74,45 | 77,0 75,34 71,68 66,100",
        "55,1 34,30 11,61* 48,62 87,59 | 63,37 61,58 59,79 57,101",
        "36,4 27,30 15,54* 44,53 73,50* | 76,3 72,36 67,70 63,100",
    ),
    5: (
        "30,4 28,24 25,45* 44,37 67,42 80,60 76,83 56,98 32,98 13,87 | 30,4 54,4 80,2",
        "79,3 53,4 30,5* 26,25 22,46* 46,38 69,46 79,66 69,88 45,99 15,92",
        "82,5 56,3 36,6 29,24 26,40* 50,38 72,50 76,71 60,91 36,99 12,95",
        "34,7 30,26 28,43* 54,42 74,55 73,79 52,96 20,100 | 33,7 56,9 84,1",
    ),
    6: (
        "66,2 44,14 26,38 16,66 24,90 48,100 72,90 78,70 64,54 42,57 22,75",
        "57,0 42,27 28,53 21,77 36,98 61,96 75,78 65,61 44,60 25,74",
        "76,11 60,1 40,10 22,36 15,65 25,92 50,100 74,86 75,64 56,54 34,62 19,80",
        "46,0 31,22 22,50 22,77 36,98 60,97 72,81 66,66 48,63 32,73 26,86",
    ),
    7: (
        "14,6 48,5 82,4* 67,36 52,68 41,100",
        "14,8 48,7 82,3* 66,36 52,68 44,100 | 32,53 54,50 78,49",
        "16,23 17,6* 49,7 83,3* 67,36 53,68 45,100",
        "13,10 34,3 56,7 76,3 80,13 65,39 53,67 49,100",
        "15,20 15,5* 48,5 80,5* 66,37 51,69 36,100 | 33,52 50,54 71,47",
    ),
    8: (
        ("70,16 51,2 29,9 27,30 50,46 73,62 78,83 58,99 34,98 20,81 31,61 54,46 72,28 69,12"),
        ("51,1 32,8 30,33 50,45 70,34 69,9 50,1 43,3 | 51,46 27,58 22,84 49,100 77,85 73,58 51,46 44,48"),
        "77,7 54,1 34,11 33,30 52,46 69,62 70,84 50,99 29,90 27,70 44,53 62,36 78,13",
        ("48,46 30,32 32,10 50,0 68,9 70,30 50,47 31,63 28,85 49,100 71,86 69,63 50,47 42,42"),
    ),
    9: (
        "74,17 56,3 32,8 21,30 33,49 56,46 72,27 75,9* 74,39 72,70 70,100",
        "75,15 55,2 31,9 22,31 35,49 58,44 74,22 78,30 78,55 70,82 48,99 20,92",
        "66,8 44,2 26,17 25,40 43,51 64,38 71,10* 66,40 58,70 49,100",
        "72,24 60,5 38,3 24,20 28,42 48,47 66,34 73,15 73,40 68,66 58,86 42,101",
    ),
}

SUPERSAMPLING = 4  # strokes are drawn this many times larger, then averaged: smooth edges
POINT_SPACING = 0.02  # between neighbouring points of a stroke; the digit is about 1 high


def write(character: int | str, rng: np.random.Generator, template: int | None = None) -> list[Points]:
    """Strokes of one handwritten digit or capital letter, about 1 high at an arbitrary position.

    Neighbouring points in a stroke are `POINT_SPACING` apart. `template` indexes
    the templates of the character, modulo their number; without it one is chosen at random.
    """
    templates = LETTERS[character] if isinstance(character, str) else TEMPLATES[character]
    chosen = int(rng.integers(len(templates))) if template is None else template % len(templates)
    speed = rng.uniform(0.5, 1.7)  # a faster hand is less exact and trembles more
    hand = _random_affine(rng)
    strokes = []
    for text in templates[chosen].split("|"):
        marks = text.split()
        points = np.array([mark.rstrip("*").split(",") for mark in marks], float) / 100
        points += rng.normal(0, 0.018 * speed, points.shape)
        points += rng.normal(0, 0.010 * speed, 2)  # the pen was lifted in between
        corners = [i for i, mark in enumerate(marks) if mark.endswith("*")]
        line = _resample(_catmull_rom(points, corners))
        strokes.append((_smooth(line, 2) + _tremor(len(line), speed, rng)) @ hand)
    return strokes


def _random_affine(rng: np.random.Generator) -> Points:
    """`(2, 2)` matrix for row vectors: a change of width, then a slant, then a rotation."""
    slant, angle = rng.normal(0.1, 0.16), np.deg2rad(rng.normal(0, 4))
    width = np.exp(rng.normal(-0.05, 0.12))
    slanted = np.array([[width, 0], [-slant, 1]])
    cos, sin = np.cos(angle), np.sin(angle)
    rotated: Points = slanted @ np.array([[cos, sin], [-sin, cos]])
    return rotated


def _catmull_rom(points: Points, corners: list[int], steps: int = 10) -> Points:
    """Catmull-Rom spline through `points (P, 2)`, broken at the indices in `corners`."""
    ends = sorted({0, *corners, len(points) - 1})
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    curves = []
    for first, last in pairwise(ends):
        knots = points[first : last + 1]
        # A mirrored point beyond each end gives the first and last interval a direction.
        knots = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
        a, b, c, d = (knots[i : len(knots) - 3 + i, None] for i in range(4))
        cubic = -a + 3 * b - 3 * c + d
        square = 2 * a - 5 * b + 4 * c - d
        curve = b + 0.5 * t * (c - a + t * (square + t * cubic))
        curves.append(curve.reshape(-1, 2))
    return np.vstack([*curves, points[-1:]])


def _resample(line: Points) -> Points:
    """The same line with its points `POINT_SPACING` apart."""
    length = np.concatenate([[0], np.hypot(*np.diff(line, axis=0).T).cumsum()])
    at = np.linspace(0, length[-1], max(2, round(length[-1] / POINT_SPACING)))
    return np.stack([np.interp(at, length, line[:, axis]) for axis in (0, 1)], axis=1)


def _smooth(line: Points, radius: int) -> Points:
    """Moving average over `2 * radius + 1` points, padded with the end points: rounds the corners."""
    sums = np.pad(line, ((radius + 1, radius), (0, 0)), mode="edge").cumsum(axis=0)
    window = 2 * radius + 1
    mean: Points = (sums[window:] - sums[:-window]) / window
    return mean


def _tremor(length: int, speed: float, rng: np.random.Generator) -> Points:
    """Slow and fast random displacement `(length, 2)` along a stroke."""
    slow, fast = rng.normal(0, speed, (2, length, 2))
    return 0.020 * _smooth(slow, 8) + 0.005 * _smooth(fast, 2)


def fit(strokes: list[Points], size: tuple[float, float]) -> list[Points]:
    """Scale the strokes to fit `size` (width, height) at the same aspect ratio, and move them to (0, 0)."""
    points = np.vstack(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (np.array(size) / (high - low)).min()
    return [(stroke - low) * scale for stroke in strokes]


def render(strokes: list[Points], size: Size, pen_width: float, rng: np.random.Generator) -> Ink:
    """Draw strokes with a round pen; all lengths in pixels.

    The pressure varies along a stroke: its width differs from `pen_width` by up to a fifth.
    """
    width, height = size
    canvas = Image.new("L", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    pen = ImageDraw.Draw(canvas)
    for stroke in strokes:
        line = stroke * SUPERSAMPLING
        radii = pen_width * SUPERSAMPLING / 2 * rng.normal(1, 0.08, 5).clip(0.8, 1.2)
        # Discs closer than a quarter of their radius look like one line.
        gap = float(np.hypot(*np.diff(line, axis=0).T).mean())
        count = max(2, int(len(line) * 4 * gap / radii.mean()))
        at, positions = np.linspace(0, 1, count), np.linspace(0, 1, len(line))
        x, y = (np.interp(at, positions, line[:, axis]) for axis in (0, 1))
        r = np.interp(at, np.linspace(0, 1, 5), radii)
        for box in np.stack([x - r, y - r, x + r, y + r], axis=1).tolist():
            pen.ellipse(box, fill=255)
    return np.asarray(canvas.reduce(SUPERSAMPLING), dtype=np.float64) / 255
