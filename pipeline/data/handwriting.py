"""The user's own handwriting: `data/<digit>/<name>.<png, jpg, …>`, preprocessed to 28×28 as in the service.

Corrections by users, which `make review` keeps in the same folder, are read by `pipeline.data.corrections`.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import DataError, PictureError
from pipeline.data.corrections import FOLDER as CORRECTIONS
from pipeline.data.dataset import DIGITS, Split
from pipeline.data.image import preprocess
from pipeline.data.ink import BLANK
from pipeline.data.limits import MAX_FILE, SIDE


@dataclass(frozen=True)
class Handwriting:
    """Images with their labels, and the file of each image as a path relative to the folder."""

    split: Split
    files: tuple[str, ...]


EMPTY: Final = Handwriting(Split(np.zeros((0, SIDE, SIDE), np.uint8), np.zeros(0, np.uint8)), ())


def read(folder: Path) -> Handwriting:
    """Read all pictures in `folder`, in the order of their paths; hidden files and corrections are skipped.

    Raises DataError if `folder` does not exist, a file is not at `<digit>/<name>` in it, something cannot be read,
    or a file is larger than the service accepts or not a picture with ink on it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with pictures of handwriting, got none")
    files = [path for path in visible_files(folder) if path.relative_to(folder).parts[0] != CORRECTIONS]
    images, labels = [], []
    for path in files:
        parts = path.relative_to(folder).parts
        if len(parts) != 2 or parts[0] not in DIGITS:
            raise DataError(f"{path}: expected pictures as {folder}/<digit>/<name>.png with a digit from 0 to 9")
        try:
            image, reason, _ = preprocess(read_picture(path))
            if reason == "blank_page":
                raise PictureError(*BLANK)
            images.append(image)
        except PictureError as error:
            raise DataError(f"{path}: {error}") from error
        except OSError as error:
            raise DataError(f"{path}: expected a picture, got a file that cannot be read: {error.strerror}") from error
        labels.append(int(parts[0]))
    pixels: npt.NDArray[np.uint8] = np.array(images, np.uint8).reshape(-1, SIDE, SIDE)
    names = tuple(str(path.relative_to(folder)) for path in files)
    return Handwriting(Split(pixels, np.array(labels, np.uint8)), names)


def visible_files(folder: Path) -> list[Path]:
    """All files in `folder` and below, sorted, without hidden ones. Raises DataError if a folder cannot be read."""
    return sorted(path for path in _files(folder) if not _is_hidden(path.relative_to(folder)))


def _files(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: expected a folder that can be read, got: {error.strerror}") from error

    for parent, _, names in os.walk(folder, onerror=refuse):
        yield from (path for name in names if (path := Path(parent) / name).is_file())


def read_picture(path: Path) -> bytes:
    """The content of a picture file. Raises OSError, or DataError if it is larger than the service accepts."""
    with path.open("rb") as file:
        content = file.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise DataError(f"{path}: expected a picture of at most {MAX_FILE / 2**20:g} MB, got a larger file")
    return content


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
