"""Made letters: pictures of capital letters as people draw them on a screen.

`python -m tests.support.made_letters FOLDER COUNT` writes COUNT pictures of each letter, and prints the checksum that
`download.own.checksum` needs.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pipeline.data.own_source import folder_sha256
from tests.support.letter_templates import LETTERS
from tests.support.synthetic_digits import draw

MEDIA = ("paint", "paint", "colour", "grey")


def write_letters(folder: Path, count: int, seed: int = 1, letters: Iterable[str] = "LTX") -> Path:
    """Write `count` pictures of each letter to `<letter>/<number>.png` in the folder, which is returned."""
    for name in letters:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            rng = np.random.default_rng([seed, ord(name), number])
            draw(name, rng, MEDIA[number % len(MEDIA)]).save(folder / name / f"{number:04}.png")
    return folder


if __name__ == "__main__":
    print(folder_sha256(write_letters(Path(sys.argv[1]), int(sys.argv[2]), letters=LETTERS)))
