"""Made letters: pictures of L, T and X, drawn by strokes that vary."""

from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

STROKES: Final = {  # from point to point, in shares of the letter's box
    "L": (((0.1, 0), (0.1, 1)), ((0.1, 1), (0.9, 1))),
    "T": (((0, 0), (1, 0)), ((0.5, 0), (0.5, 1))),
    "X": (((0, 0), (1, 1)), ((1, 0), (0, 1))),
}
SIDE: Final = 64  # pixels


def letter(name: str, rng: np.random.Generator) -> Image.Image:
    """Dark ink on light paper."""
    picture = Image.new("L", (SIDE, SIDE), 250)
    draw = ImageDraw.Draw(picture)
    left, top, size = rng.uniform(6, 16), rng.uniform(6, 16), rng.uniform(32, 42)
    for stroke in STROKES[name]:
        points = [(left + size * x + rng.normal(0, 1), top + size * y + rng.normal(0, 1)) for x, y in stroke]
        draw.line(points, fill=20, width=int(rng.integers(3, 6)))
    return picture


def write_letters(folder: Path, count: int, seed: int = 1) -> Path:
    """Write `count` pictures of each letter to `<letter>/<number>.png` in the folder, which is returned."""
    rng = np.random.default_rng(seed)
    for name in STROKES:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            letter(name, rng).save(folder / name / f"{number:03}.png")
    return folder
