"""A person's own handwriting: `data/<digit>/<name>.<png, jpg, …>`, each brought to 28×28 as the service would do it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import DataError, PictureError
from pipeline.data.dataset import DIGITS, Split
from pipeline.data.image import SIDE, canonical


@dataclass(frozen=True)
class Handwriting:
    """What was written, and the file of each image, as a path below the folder."""

    split: Split
    files: tuple[str, ...]


NOTHING: Final = Handwriting(Split(np.zeros((0, SIDE, SIDE), np.uint8), np.zeros(0, np.uint8)), ())


def read(folder: Path) -> Handwriting:
    """All pictures in `folder`, in the order of their paths.

    Raises DataError when there is no such folder, a folder in it is not named after a digit, a file lies outside of
    such a folder, something cannot be read, or a file holds no picture of a digit.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with pictures of handwriting, got none")
    files = sorted(path for path in _files(folder) if not _is_hidden(path.relative_to(folder)))
    images, labels = [], []
    for path in files:
        place = path.relative_to(folder)
        if len(place.parts) != 2 or place.parts[0] not in DIGITS:
            raise DataError(f"{path}: expected pictures as {folder}/<digit>/<name>.png with a digit from 0 to 9")
        try:
            images.append(canonical(path.read_bytes()))
        except PictureError as error:
            raise DataError(f"{path}: {error}") from error
        except OSError as error:
            raise DataError(f"{path}: expected a picture, got a file that cannot be read: {error.strerror}") from error
        labels.append(int(place.parts[0]))
    pixels: npt.NDArray[np.uint8] = np.array(images, np.uint8).reshape(-1, SIDE, SIDE)
    names = tuple(str(path.relative_to(folder)) for path in files)
    return Handwriting(Split(pixels, np.array(labels, np.uint8)), names)


def _files(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: expected a folder that can be read, got: {error.strerror}") from error

    for place, _, names in os.walk(folder, onerror=refuse):
        yield from (path for name in names if (path := Path(place) / name).is_file())


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
