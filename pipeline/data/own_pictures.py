"""A folder of pictures in a subfolder for each class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import DataError, PictureError
from pipeline.data.dataset import Split
from pipeline.data.handwriting import read_picture, visible_files
from pipeline.data.image import preprocess
from pipeline.data.limits import Preprocessing, image_shape
from pipeline.data.own_source import files_of

MAX_CLASSES: Final = 256  # a label is a byte
SPLITS: Final = ("train", "test")


def read_folder(
    folder: Path, names: Sequence[str] | None, method: Preprocessing, channels: int = 1
) -> tuple[tuple[str, ...], Split, Split | None]:
    """Classes, training split and, if there is one, test split: the pictures in `<class>/`, or in `train/<class>/` and
    `test/<class>/`, preprocessed as in the service.

    Raises DataError if a picture cannot be read or lies elsewhere, or a folder is not of one of the classes or empty.
    """
    folders = _subfolders(folder)
    if [path.name for path in folders] == sorted(SPLITS):
        parts = [folder / name for name in SPLITS]
        folders = _subfolders(parts[0])
    else:
        parts = [folder]
    classes = tuple(names or (path.name for path in folders))
    check_count(folder, len(classes))
    splits = [_read_part(part, classes, method, channels) for part in parts]
    return classes, splits[0], splits[1] if len(splits) == 2 else None


def check_count(source: object, count: int) -> None:
    """Raise DataError unless so many classes are possible."""
    if not 2 <= count <= MAX_CLASSES:
        raise DataError(f"{source}: got {count} class{'es' * (count != 1)}, expected 2 to {MAX_CLASSES}")


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _read_part(folder: Path, classes: tuple[str, ...], method: Preprocessing, channels: int) -> Split:
    for path in _subfolders(folder):
        if path.name not in classes:
            raise DataError(f"{path}: got a folder of this name, expected one of {', '.join(classes)}")
    for name in classes:
        if not (folder / name).is_dir() or not visible_files(folder / name):
            raise DataError(f"{folder / name}: expected pictures of class {name!r}, got none")
    images, labels = [], []
    for path in files_of(folder):
        parts = path.relative_to(folder).parts
        if len(parts) != 2:
            raise DataError(f"{path}: expected pictures as {folder}/<class>/<name>.png")
        images.append(_read_image(path, method, channels))
        labels.append(classes.index(parts[0]))
    return Split(np.array(images, np.uint8).reshape(-1, *image_shape(channels)), np.array(labels, np.uint8))


def _read_image(path: Path, method: Preprocessing, channels: int) -> npt.NDArray[np.uint8]:
    try:
        image, reason, _ = preprocess(read_picture(path), method, channels)
    except PictureError as error:
        raise DataError(f"{path}: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: expected a picture, got a file that cannot be read: {error.strerror}") from error
    if reason == "blank_page":
        raise DataError(f"{path}: got a picture with nothing on it, expected one of class {path.parent.name!r}")
    return image
