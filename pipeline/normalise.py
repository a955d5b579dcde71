"""Stage `normalise`: a validation split, and the pixel statistics with which the network scales its input.

Reads    artifacts/download/: the training split; data/corrections/, if a share of the reviewed corrections by users is
         to join it: of digits that are read by their ink, and of no other data set.
Writes   artifacts/normalise/: {train,validation}_{images,labels}.npy, statistics.json.
Decides  which images are for validation: a stratified random sample, the same share of each class. Corrections
         join the training images after that. Mean and standard deviation are those of the training images. Pixels stay
         uint8 on disk: the scaling happens inside the network, so that it is part of the exported model.
"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.core import config, execution
from pipeline.core.errors import DataError
from pipeline.core.files import write_json
from pipeline.data import corrections
from pipeline.data.dataset import load_description, load_split
from pipeline.data.normalisation import NormaliseParams, split_validation, statistics

RAW: Final = Path("artifacts/download")
OWN: Final = Path("data")
OUT: Final = Path("artifacts/normalise")

Params = NormaliseParams


def check_polarity(images: npt.NDArray[np.uint8]) -> None:
    """Raise DataError if the corners of the images are bright: they show paper, which is 0 here."""
    corners = float(np.median(images[:, [0, 0, -1, -1], [0, -1, 0, -1]]))
    if corners > 127:
        raise DataError(f"{RAW}/train_images.npy: got bright corners ({corners:.0f}), expected 0 = paper, 255 = ink")


def main() -> None:
    params = config.load("normalise", Params)
    description = load_description(RAW / "dataset.json")
    raw = load_split(RAW, "train", len(description.classes))
    if description.preprocessing != "none":  # else the paper has any colour
        check_polarity(raw.images)
    train, validation = split_validation(raw, params)
    if params.corrections_share and description.is_digits and description.is_ink:
        corrected = corrections.read(OWN / corrections.FOLDER)
        train = corrections.join(train, corrected, params.corrections_share)
    scaling = statistics(train.images, params)
    train.save(OUT, "train")
    validation.save(OUT, "validation")
    write_json(
        OUT / "statistics.json",
        scaling._asdict() | {"train_images": len(train), "validation_images": len(validation)},
    )
    print(
        f"{len(train):,} training and {len(validation):,} validation images; "
        f"mean {scaling.mean:.4f}, deviation {scaling.standard_deviation:.4f}"
    )


if __name__ == "__main__":
    execution.run_stage("normalise", main)
