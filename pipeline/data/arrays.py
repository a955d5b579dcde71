"""Labelled images that a caller has in memory, checked as strictly as those on disk."""

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import DataError
from pipeline.data.dataset import Split
from pipeline.data.limits import COLOURS, SIDE, image_shape


def as_split(images: object, labels: npt.ArrayLike, classes: int, prefix: str = "") -> Split:
    """Images and labels `(N,)`, whole numbers below `classes`. Raises DataError, with `prefix` before their names."""
    checked = as_images(images, f"{prefix}images")
    array = np.asarray(labels)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{prefix}labels: got {array.dtype} {array.shape}, expected whole numbers (N,)")
    if len(array) != len(checked):
        raise DataError(f"{prefix}labels: got {len(array)} for {len(checked)} images, expected one for each")
    if len(wrong := array[(array < 0) | (array >= classes)]):
        raise DataError(f"{prefix}labels: got {wrong[0]}, expected 0 to {classes - 1}: there are {classes} classes")
    return Split(checked, array.astype(np.uint8))


def as_images(images: object, name: str = "images") -> npt.NDArray[np.uint8]:
    """The images, contiguous; nothing else is converted. Raises DataError, which names them `name`."""
    expected = (
        f"expected a numpy array (N, {SIDE}, {SIDE}) uint8, 0 = paper, 255 = ink, or (N, {SIDE}, {SIDE}, {COLOURS}) in "
        "colour, and N at least 1"
    )
    if not isinstance(images, np.ndarray):
        raise DataError(f"{name}: got {type(images).__name__}, {expected}")
    if images.dtype != np.uint8 or images.shape[1:] not in map(image_shape, (1, COLOURS)) or not len(images):
        raise DataError(f"{name}: got {images.dtype} {images.shape}, {expected}")
    return np.ascontiguousarray(images)
