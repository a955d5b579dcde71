"""`python -m benchmarks.four_digits`: how often four digits are all read right, in four boxes and in rows.

The same digits of MNIST's test images, and the same drawn ones, are given one by one, as the page's four boxes send
them, and as a row with gaps and one whose digits touch. Writes docs/questions/four_digits.csv. The model is
artifacts/export/model.onnx.
"""

import argparse
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.row_accuracy import Draw, compose_row, mnist, read, synthetic
from pipeline.core.files import write_text
from pipeline.data.image import scale_and_center
from pipeline.data.ink import extract_ink
from pipeline.data.picture import open_picture
from serving.model import Model

OUT: Final = Path("docs/questions/four_digits.csv")
KINDS: Final = {"in four boxes": "alone", "in a row, with gaps": "spaced", "in a row, most touching": "touching"}


def is_right(model: Model, draw: Draw, kind: str, rng: np.random.Generator) -> bool:
    """Whether four digits are all read right."""
    pictures = [compose_row(draw, kind, rng, 1 if kind == "alone" else 4) for _ in range(4 if kind == "alone" else 1)]
    if kind == "alone":
        images = np.stack([scale_and_center(extract_ink(open_picture(content))) for _, content in pictures])
        answers = model.classify(images)[0].argmax(axis=1)
        return [str(answer) for answer in answers] == [text for text, _ in pictures]
    return all(read(model, content)[0] == text for text, content in pictures)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=100, help="of each kind and seed")
    arguments = parser.parse_args()
    model = Model(Path("artifacts/export/model.onnx"), "mnist")
    sources = {"MNIST's": mnist(Path("artifacts/download"), "test"), "drawn": synthetic}
    rows = []
    for kind, made in KINDS.items():
        for digits, draw in sources.items():
            for seed in tqdm(range(1, arguments.seeds + 1), f"{kind}, {digits}", leave=False, disable=None):
                right = [
                    is_right(model, draw, made, np.random.default_rng([seed, number]))
                    for number in range(arguments.pictures)
                ]
                rows.append((kind, digits, seed, arguments.pictures, np.mean(right)))
    table = pd.DataFrame(rows, columns=["kind", "digits", "seed", "pictures", "correct"])
    write_text(OUT, table.to_csv(index=False, lineterminator="\n"))
    print(table.groupby(["kind", "digits"], sort=False)["correct"].agg(["mean", "std"]).round(4).to_string())


if __name__ == "__main__":
    main()
