"""Several digits in a row: where each one is, and what it is."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.image import Ink, normalised
from serving.model import Model


@dataclass(frozen=True)
class Found:
    """A digit in a picture: its box `left, top, right, bottom` in pixels of the ink, and `(classes,)` probabilities."""

    box: tuple[int, int, int, int]
    probabilities: npt.NDArray[np.float32]


def find(model: Model, ink: Ink) -> list[Found]:
    """The digits in `ink`, `(H, W) uint8, 0 = paper`, from left to right.

    Raises Problem `more_than_one_line` or `too_many_digits`.
    """
    columns = (ink > 64).any(axis=0)
    edges = np.flatnonzero(np.diff(columns.astype(np.int8), prepend=0, append=0))
    found = []
    for left, right in zip(edges[::2], edges[1::2], strict=True):
        rows = np.flatnonzero((ink[:, left:right] > 64).any(axis=1))
        box = (int(left), int(rows[0]), int(right), int(rows[-1] + 1))
        image = normalised(ink[box[1] : box[3], box[0] : box[2]])
        found.append(Found(box, model.probabilities(image[None])[0]))
    return found
