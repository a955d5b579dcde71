"""Stage `download`: the raw images and labels of the data set named in params.yaml.

Reads    the published archives (from DATASET_MIRROR if it is set), scikit-learn's embedded digits, or your own data.
Writes   artifacts/download/: dataset.json, {train,test}_{images,labels}.npy.
Decides  nothing about the images: the split into training and test set is the publisher's (of scikit-learn's digits,
         every fifth image is a test image; of your own, the share `own.test_share` of each class, if it has no split).
         Grey images may get colours, made with a fixed seed.
"""

import os
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
from PIL import Image
from pydantic import field_validator

from pipeline.core import config, execution
from pipeline.data import colours, mnist_archives, mnist_relatives, own_data
from pipeline.data.dataset import DIGITS, Description, Split
from pipeline.data.image import scale_and_center
from pipeline.data.limits import Channels

OUT: Final = Path("artifacts/download")
ENLARGED: Final = (80, 80)  # pixels; 8×8 pictures are enlarged to this before they are scaled like any other


class Params(config.Section):
    dataset: Literal[
        "mnist", "fashion_mnist", "kmnist", "qmnist", "emnist_byclass", "emnist_bymerge", "emnist_balanced",
        "emnist_letters", "emnist_digits", "emnist_mnist", "digits", "own",
    ]  # fmt: skip
    channels: Channels
    """Of the images, and so of the network: 1, grey or ink alone, or 3, with colours."""
    colouring: colours.Colouring
    """Of grey images: see `colours.paint`."""
    own: own_data.OwnParams
    """Of the data set `own`."""

    @field_validator("own")
    @classmethod
    def _check_name(cls, own: own_data.OwnParams) -> own_data.OwnParams:
        """Models are registered by the names of their data sets, and compared with earlier ones of that name."""
        if own.name in get_args(cls.model_fields["dataset"].annotation) and own.name != "own":
            raise ValueError("another name than those of the published data sets")
        return own


def embedded_digits() -> tuple[Split, Split]:
    """The 1,797 digits of 43 people that come with scikit-learn, scaled from 8×8 to 28×28: training and test split.

    Source: Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI, 1998.
    """
    from sklearn.datasets import load_digits  # takes seconds to import, and only this data set needs it

    pixels, labels = load_digits(return_X_y=True)
    pictures = np.round(pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    enlarged = (Image.fromarray(picture).resize(ENLARGED, Image.Resampling.BICUBIC) for picture in pictures)
    images = np.stack([scale_and_center(np.asarray(picture)) for picture in enlarged])
    both = Split(images, labels.astype(np.uint8))
    is_test = np.arange(len(labels)) % 5 == 4
    return both.take(np.flatnonzero(~is_test)), both.take(np.flatnonzero(is_test))


def load(name: str, cache: Path, own_mirror: str | None) -> tuple[Description, Split, Split]:
    """Description, training split and test split of a data set. Raises FetchError."""
    if name == "digits":
        return Description("digits", DIGITS, {}), *embedded_digits()
    if name == "qmnist" or name.startswith("emnist_"):
        return mnist_relatives.load(name, cache, own_mirror)
    return mnist_archives.load(name, cache / name, own_mirror)


def main() -> None:
    params = config.load("download", Params)
    # A queued experiment runs in a temporary folder; it shares the downloaded archives with the main one.
    root = Path(os.environ.get("DVC_ROOT", "."))
    cache = root / ".cache" / "archives"
    if params.dataset == "own":
        dataset = own_data.load(params.own, root, cache / "own", params.channels)
    else:
        dataset = load(params.dataset, cache, os.environ.get("DATASET_MIRROR"))
    description, train, test = colours.apply(dataset, params.colouring, params.channels)
    train.save(OUT, "train")
    test.save(OUT, "test")
    description.save(OUT / "dataset.json")
    print(f"{description.name}: {len(train):,} training and {len(test):,} test images")


if __name__ == "__main__":
    execution.run_stage("download", main)
