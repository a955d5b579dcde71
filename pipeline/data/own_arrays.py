"""Arrays of images and labels in an .npz file, as Keras writes its data sets. Nothing in it is unpickled."""

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import DataError
from pipeline.data.dataset import Split
from pipeline.data.limits import COLOURS, SIDE, image_shape

TRAIN: Final = ("x_train", "y_train")
TEST: Final = ("x_test", "y_test")
MAX_VALUES: Final = 2**30  # bytes of an array; a million images have 784 million
ERRORS: Final = (
    *(OSError, ValueError, EOFError, MemoryError, KeyError, NotImplementedError, RuntimeError),
    *(tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


def read_npz(path: Path) -> tuple[Split, Split | None]:
    """Training split, and test split if the file has one: images `(N, 28, 28) uint8`, or in colour `(N, 28, 28, 3)`,
    and labels `(N,)` or `(N, 1)`.

    Raises DataError, naming the array, if one is missing, too large, pickled or of another type or shape.
    """
    try:
        with zipfile.ZipFile(path) as file:
            sizes = {info.filename.removesuffix(".npy"): info.file_size for info in file.infolist()}
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise DataError(f"{path}: expected an .npz file, got {error}") from error
    has_test = any(name in sizes for name in TEST)
    names = (*TRAIN, *(TEST if has_test else ()))
    if missing := [name for name in names if name not in sizes]:
        got = ", ".join(sorted(sizes)[:20]) or "none"
        raise DataError(
            f"{path}: got the arrays {got} without {', '.join(missing)}, expected {', '.join((*TRAIN, *TEST))}, "
            "or the first two alone"
        )
    for name in names:
        if sizes[name] > MAX_VALUES:
            raise DataError(f"{path}: {name}: got {sizes[name]:,} bytes, expected at most {MAX_VALUES:,}")
    return _read_split(path, *TRAIN), _read_split(path, *TEST) if has_test else None


def _read_split(path: Path, images_name: str, labels_name: str) -> Split:
    images, labels = _read(path, images_name), _read(path, labels_name)
    return to_split(images, labels, f"{path}: {images_name}", f"{path}: {labels_name}")


def to_split(images: npt.NDArray[Any], labels: npt.NDArray[Any], images_name: str, labels_name: str) -> Split:
    """The arrays as a split. Raises DataError, with the name of the array, for another type or shape."""
    if images.dtype != np.uint8 or images.shape[1:] not in map(image_shape, (1, COLOURS)):
        expected = f"uint8 (N, {SIDE}, {SIDE}), 0 = paper, 255 = ink, or (N, {SIDE}, {SIDE}, {COLOURS})"
        raise DataError(f"{images_name}: got {images.dtype.name} {images.shape}, expected {expected}")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or len(labels) != len(images):
        got = f"{labels.dtype.name} {labels.shape}"
        raise DataError(f"{labels_name}: got {got}, expected whole numbers ({len(images)},), one for each image")
    for label in (labels.min(initial=0), labels.max(initial=0)):
        if not 0 <= label <= 255:
            raise DataError(f"{labels_name}: got the label {label}, expected labels from 0, below 256")
    return Split(images, labels.astype(np.uint8))


def _read(path: Path, name: str) -> npt.NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            array: npt.NDArray[Any] = arrays[name]
    except ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: {name}: expected an array of numbers, not pickled, got: {reason}") from error
    return array
