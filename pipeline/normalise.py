"""Stage `normalise`: a validation split, and the pixel statistics with which the network scales its input.

Reads    artifacts/download/: the training split.
Writes   artifacts/normalise/: {train,validation}_{images,labels}.npy, statistics.json.
Decides  which images are for validation: a stratified random sample, the same share of each class. Mean and standard
         deviation are those of the remaining training images. Pixels stay uint8 on disk: the scaling happens inside the
         network, so that it is part of the exported model.
"""

import math
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.core import config, execution
from pipeline.core.errors import DataError
from pipeline.core.files import write_json
from pipeline.data.dataset import load_description, load_split
from pipeline.data.validation_split import validation_mask

RAW: Final = Path("artifacts/download")
OUT: Final = Path("artifacts/normalise")


class Params(config.Section):
    validation_share: Annotated[float, Field(gt=0, lt=1)]
    """Share of each class that is held out from training, 0 to 1."""
    method: Literal["standardise", "unit"]
    """`standardise`: mean 0 and standard deviation 1 over the training images; `unit`: pixels from 0 to 1."""
    seed: Annotated[int, Field(ge=0)]


def check_polarity(images: npt.NDArray[np.uint8]) -> None:
    """Raise DataError if the corners of the images are bright: they show paper, which is 0 here."""
    corners = float(np.median(images[:, [0, 0, -1, -1], [0, -1, 0, -1]]))
    if corners > 127:
        raise DataError(f"{RAW}/train_images.npy: got bright corners ({corners:.0f}), expected 0 = paper, 255 = ink")


def pixel_statistics(images: npt.NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and standard deviation of all pixels, scaled from 0 to 1."""
    total, squares = int(images.sum()), int(np.square(images, dtype=np.uint16).sum())  # exact, in integers
    mean = total / images.size
    return mean / 255, math.sqrt(squares / images.size - mean**2) / 255


def main() -> None:
    params = config.load("normalise", Params)
    raw = load_split(RAW, "train", len(load_description(RAW / "dataset.json").classes))
    check_polarity(raw.images)
    mask = validation_mask(raw.labels, params.validation_share, params.seed)
    train, validation = raw.take(np.flatnonzero(~mask)), raw.take(np.flatnonzero(mask))
    mean, deviation = pixel_statistics(train.images)
    scaling = (mean, deviation) if params.method == "standardise" else (0.0, 1.0)
    train.save(OUT, "train")
    validation.save(OUT, "validation")
    write_json(
        OUT / "statistics.json",
        {
            "mean": mean,
            "standard_deviation": deviation,
            "subtract": scaling[0],
            "divide_by": scaling[1],
            "train_images": len(train),
            "validation_images": len(validation),
        },
    )
    print(
        f"{len(train):,} training and {len(validation):,} validation images; mean {mean:.4f}, deviation {deviation:.4f}"
    )


if __name__ == "__main__":
    execution.run_stage("normalise", main)
