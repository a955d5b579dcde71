"""Your own labelled images: an .npz file as Keras writes them, IDX files as MNIST's, or a folder of pictures in a
subfolder for each class.

The checksum in params.yaml says which data these are: other data are refused, and DVC computes again when it changes.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from pipeline.core.config import Section
from pipeline.core.errors import DataError, ParamsError
from pipeline.data.dataset import Description, Split
from pipeline.data.limits import COLOURS, Preprocessing
from pipeline.data.own_arrays import read_npz
from pipeline.data.own_idx import is_idx, read_idx
from pipeline.data.own_pictures import MAX_CLASSES, SPLITS, check_count, read_folder
from pipeline.data.own_source import KEY, locate
from pipeline.data.validation_split import validation_mask


class OwnParams(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,50}$")]
    """Of the data set, and so in the model's file and card, and of the registered model."""
    source: Annotated[str, Field(min_length=1)] | None
    """A path, relative to the repository, or a URL, which ends in `/` if it is that of a folder of IDX files."""
    checksum: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None
    """SHA-256 of the file; of a folder, see `own_source.folder_sha256`."""
    preprocessing: Preprocessing
    classes: Annotated[list[str], Field(min_length=2, max_length=MAX_CLASSES)] | None
    """In the order of their labels; null: the names of the folders, sorted, or the labels of arrays."""
    test_share: Annotated[float, Field(gt=0, lt=1)]
    """Share of each class that becomes the test split, if the source has none."""
    seed: Annotated[int, Field(ge=0)]


def load(params: OwnParams, root: Path, cache: Path, channels: int = 1) -> tuple[Description, Split, Split]:
    """Description, training and test split; a path is relative to `root`, what is fetched is kept in `cache`. Pictures
    are read in as many channels; arrays are as they are in the file.

    Raises ParamsError, FetchError or DataError.
    """
    if params.source is None:
        raise ParamsError(f"{KEY}.source: got null, expected the path or URL of the data set")
    source = locate(params.source, params.checksum, root, cache)
    names = tuple(params.classes) if params.classes else None
    if names and len(set(names)) < len(names):
        raise ParamsError(f"{KEY}.classes: got a name twice, expected each class once")
    if channels == COLOURS:
        _check_preprocessing(params)
    if source.is_dir() and not is_idx(source):
        classes, train, test = read_folder(source, names, params.preprocessing, channels)
    else:
        train, test = read_idx(source) if source.is_dir() else read_npz(source)
        classes = names or _labels(train, test)
    _check_classes(params.source, classes, train, test)
    if COLOURS in _check_channels(params.source, train, test):
        _check_preprocessing(params)
    sources = {Path(params.source).name: params.checksum or ""}
    description = Description(params.name, classes, sources, params.preprocessing)
    if test is not None:
        return description, train, test
    mask = validation_mask(train.labels, params.test_share, params.seed, "download.own.test_share")
    return description, train.take(np.flatnonzero(~mask)), train.take(np.flatnonzero(mask))


def _labels(train: Split, test: Split | None) -> tuple[str, ...]:
    """All labels up to the largest."""
    largest = max(split.labels.max(initial=0) for split in (train, test) if split is not None)
    return tuple(map(str, range(int(largest) + 1)))


def _check_preprocessing(params: OwnParams) -> None:
    """Raise ParamsError unless pictures are seen as they are, with their colours."""
    if params.preprocessing != "none":
        raise ParamsError(f"{KEY}.preprocessing: got {params.preprocessing}, expected none for images in colour")


def _check_channels(source: str, train: Split, test: Split | None) -> set[int]:
    """The channels of both splits. Raises DataError if they differ."""
    channels = {split.channels for split in (train, test) if split is not None}
    if len(channels) > 1:
        raise DataError(f"{source}: got one split in colour and one that is not, expected both alike")
    return channels


def _check_classes(source: str, classes: tuple[str, ...], train: Split, test: Split | None) -> None:
    """Raise DataError unless there are at least two classes, all labels are theirs, and each has training images."""
    count = len(classes)
    for name, split in zip(SPLITS, (train, test), strict=True):
        if split is not None and not len(split):
            raise DataError(f"{source}: got no {name} image, expected some of each class")
        if split is not None and split.labels.max() >= count:
            raise DataError(
                f"{source}: {name}: got the label {split.labels.max()}, expected labels from 0 to {count - 1}, "
                f"for {count} classes"
            )
    check_count(source, count)
    numbers = np.bincount(train.labels, minlength=count)
    if not numbers.all():
        label = int(numbers.argmin())
        raise DataError(
            f"{source}: got no training image of class {classes[label]!r} (label {label}), expected some of each"
        )
