"""Images and labels in a folder of IDX files with MNIST's four names, gzipped or not."""

from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from pipeline.core.errors import DataError, FetchError
from pipeline.data import mnist_archives
from pipeline.data.dataset import Split
from pipeline.data.own_arrays import MAX_VALUES, to_split

TRAIN, TEST = (tuple(name.removesuffix(".gz") for name in pair) for pair in (mnist_archives.TRAIN, mnist_archives.TEST))
NAMES: Final = (*TRAIN, *TEST)


def is_idx(folder: Path) -> bool:
    """Whether one of the files is in the folder."""
    return any(_variants(folder, name) for name in NAMES)


def read_idx(folder: Path) -> tuple[Split, Split | None]:
    """Training split, and test split if the folder has one: images `(N, 28, 28) uint8`, or in colour
    `(N, 28, 28, 3)`, and labels `(N,)`.

    Raises DataError, naming the file, if one is missing, there twice, or not such an array.
    """
    has_test = any(_variants(folder, name) for name in TEST)
    paths = [_path(folder, name) for name in (NAMES if has_test else TRAIN)]
    return _read_split(*paths[:2]), _read_split(*paths[2:]) if has_test else None


def _variants(folder: Path, name: str) -> list[Path]:
    return [path for path in (folder / f"{name}.gz", folder / name) if path.is_file()]


def _path(folder: Path, name: str) -> Path:
    found = _variants(folder, name)
    if len(found) != 1:
        got = " and ".join(path.name for path in found) or f"no {name}"
        raise DataError(f"{folder}: got {got}, expected {', '.join(NAMES)}, or the first two, each gzipped or not")
    return found[0]


def _read_split(images: Path, labels: Path) -> Split:
    return to_split(_read(images), _read(labels), str(images), str(labels))


def _read(path: Path) -> npt.NDArray[Any]:
    try:
        with path.open("rb") as file:
            return mnist_archives.parse_idx(file, path, max_values=MAX_VALUES)
    except FetchError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(f"{path}: expected an IDX file, got: {error.strerror}") from error
