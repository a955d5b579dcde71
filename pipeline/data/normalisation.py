"""How a training split becomes two, and with which numbers its pixels are scaled: the section `normalise` applied."""

import math
from typing import Annotated, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.core.config import Section
from pipeline.data.dataset import Split
from pipeline.data.validation_split import validation_mask


class NormaliseParams(Section):
    validation_share: Annotated[float, Field(gt=0, lt=1)]
    """Share of each class that is held out from training, 0 to 1."""
    method: Literal["standardise", "unit"]
    """`standardise`: mean 0 and standard deviation 1 over the training images; `unit`: pixels from 0 to 1."""
    seed: Annotated[int, Field(ge=0)]
    corrections_share: Annotated[float, Field(ge=0, lt=1)]
    """Share of the pictures that users corrected, in data/corrections/, whose images join the training images; the
    others are scored."""


class Statistics(NamedTuple):
    """Of pixels from 0 to 1; the network subtracts and divides by the last two."""

    mean: float
    standard_deviation: float
    subtract: float
    divide_by: float


def split_validation(split: Split, params: NormaliseParams) -> tuple[Split, Split]:
    """The training and the validation images. Raises DataError if a class is too small to be split."""
    mask = validation_mask(split.labels, params.validation_share, params.seed)
    return split.take(np.flatnonzero(~mask)), split.take(np.flatnonzero(mask))


def statistics(images: npt.NDArray[np.uint8], params: NormaliseParams) -> Statistics:
    mean, deviation = pixel_statistics(images)
    return Statistics(mean, deviation, *((mean, deviation) if params.method == "standardise" else (0.0, 1.0)))


def pixel_statistics(images: npt.NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and standard deviation of all pixels, in all channels alike, scaled from 0 to 1."""
    total, squares = int(images.sum()), int(np.square(images, dtype=np.uint16).sum())  # exact, in integers
    mean = total / images.size
    return mean / 255, math.sqrt(squares / images.size - mean**2) / 255
