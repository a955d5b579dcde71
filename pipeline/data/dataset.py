"""Labelled images on disk: two arrays per split, and the description of their data set."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self, get_args

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import DataError
from pipeline.core.files import read_array, read_json, write_array, write_json
from pipeline.data.limits import COLOURS, SIDE, Preprocessing

DIGITS = tuple("0123456789")
SHAPES: Final = ((None, SIDE, SIDE), (None, SIDE, SIDE, COLOURS))  # of arrays of images


@dataclass(frozen=True)
class Split:
    """Images `(N, 28, 28) uint8, 0 = paper, 255 = ink`, or in colour `(N, 28, 28, 3) uint8`, red, green and blue as on
    the picture, with their labels `(N,) uint8`."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def channels(self) -> int:
        return channels_of(self.images)

    def take(self, index: npt.NDArray[np.int64]) -> Self:
        return type(self)(self.images[index], self.labels[index])

    def save(self, folder: Path, name: str) -> None:
        """Write `<name>_images.npy` and `<name>_labels.npy`."""
        write_array(folder / f"{name}_images.npy", self.images)
        write_array(folder / f"{name}_labels.npy", self.labels)


def channels_of(images: npt.NDArray[np.uint8]) -> int:
    """1, or 3 of images in colour."""
    return COLOURS if images.ndim == len(SHAPES[1]) else 1


def load_split(folder: Path, name: str, classes: int) -> Split:
    """Load what `Split.save` wrote, of a data set with this number of classes.

    Raises DataError if a file is missing, damaged or empty, the two differ in length, or a label is out of range.
    """
    images = read_array(folder / f"{name}_images.npy", np.uint8, *SHAPES)
    labels = read_array(folder / f"{name}_labels.npy", np.uint8, (None,))
    if len(images) != len(labels):
        raise DataError(f"{folder}/{name}_labels.npy: got {len(labels)} labels for {len(images)} images")
    if not len(labels) or labels.max() >= classes:
        got = f"the label {labels.max()}" if len(labels) else "no label"
        raise DataError(f"{folder}/{name}_labels.npy: got {got}, expected labels from 0 to {classes - 1}")
    return Split(images, labels)


@dataclass(frozen=True)
class Description:
    """The data set's name, its classes in the order of their labels, each source file's published checksum, and how
    pictures are brought to images like those of the data set."""

    name: str
    classes: tuple[str, ...]
    sources: dict[str, str]
    preprocessing: Preprocessing = "ink"

    @property
    def is_digits(self) -> bool:
        return self.classes == DIGITS

    @property
    def is_ink(self) -> bool:
        """Whether pictures are reduced to their ink: only then drawn digits and those in data/ are like its images."""
        return self.preprocessing == "ink"

    def save(self, path: Path) -> None:
        write_json(path, asdict(self))


def load_description(path: Path) -> Description:
    value = read_json(path, "name", "classes", "sources", "preprocessing")
    if not isinstance(value["classes"], list):
        raise DataError(f"{path}: classes: expected a list of names, got {value['classes']!r}")
    if value["preprocessing"] not in get_args(Preprocessing):
        expected = ", ".join(get_args(Preprocessing))
        raise DataError(f"{path}: preprocessing: expected one of {expected}, got {value['preprocessing']!r}")
    return Description(value["name"], tuple(value["classes"]), value["sources"], value["preprocessing"])
