"""Your own labelled images: an .npz file as Keras writes them, or a folder of pictures in a subfolder for each class.

The checksum in params.yaml says which data these are: other data are refused, and DVC computes again when it changes.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.core.config import Section
from pipeline.core.errors import DataError, FetchError, ParamsError, PictureError, StorageError
from pipeline.data.dataset import Description, Split
from pipeline.data.handwriting import read_picture, visible_files
from pipeline.data.image import preprocess
from pipeline.data.ink import BLANK
from pipeline.data.limits import COLOURS, Preprocessing, image_shape
from pipeline.data.mnist_archives import try_download
from pipeline.data.own_arrays import read_npz
from pipeline.data.validation_split import validation_mask

KEY: Final = "params.yaml: download.own"
MAX_SIZE: Final = 2**30  # bytes of an .npz file
MAX_PICTURES: Final = 100_000  # some milliseconds each
MAX_CLASSES: Final = 256  # a label is a byte
SPLITS: Final = ("train", "test")


class OwnParams(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,50}$")]
    """In the model's file and card."""
    source: Annotated[str, Field(min_length=1)] | None
    """A path, relative to the repository, or a URL."""
    checksum: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None
    """SHA-256 of the file; of a folder, see `folder_sha256`."""
    preprocessing: Preprocessing
    classes: Annotated[list[str], Field(min_length=2, max_length=MAX_CLASSES)] | None
    """In the order of their labels; null: the names of the folders, sorted, or the labels of an .npz file."""
    test_share: Annotated[float, Field(gt=0, lt=1)]
    """Share of each class that becomes the test split, if the source has none."""
    seed: Annotated[int, Field(ge=0)]


class Labelled(NamedTuple):
    """Images with their labels, 0 for the first of the classes; `test` is None if the source has no test split."""

    classes: tuple[str, ...]
    train: Split
    test: Split | None


def load(params: OwnParams, root: Path, cache: Path, channels: int = 1) -> tuple[Description, Split, Split]:
    """Description, training and test split; a path is relative to `root`, what is fetched is kept in `cache`. Pictures
    are read in as many channels; arrays are as they are in the file.

    Raises ParamsError, FetchError or DataError.
    """
    if params.source is None:
        raise ParamsError(f"{KEY}.source: got null, expected the path or URL of the data set")
    source = _locate(params.source, params.checksum, root, cache)
    _check_sum(params.source, _sha256(source), params.checksum)
    names = tuple(params.classes) if params.classes else None
    if names and len(set(names)) < len(names):
        raise ParamsError(f"{KEY}.classes: got a name twice, expected each class once")
    if channels == COLOURS:
        _check_preprocessing(params)
    is_folder = source.is_dir()
    read = read_folder(source, names, params.preprocessing, channels) if is_folder else _read_file(source, names)
    _check_classes(params.source, read)
    if COLOURS in _check_channels(params.source, read):
        _check_preprocessing(params)
    description = Description(
        params.name, read.classes, {Path(params.source).name: params.checksum or ""}, params.preprocessing
    )
    if read.test is not None:
        return description, read.train, read.test
    mask = validation_mask(read.train.labels, params.test_share, params.seed, "download.own.test_share")
    return description, read.train.take(np.flatnonzero(~mask)), read.train.take(np.flatnonzero(mask))


def _sha256(source: Path) -> str:
    try:
        return folder_sha256(source) if source.is_dir() else file_sha256(source)
    except OSError as error:
        raise DataError(f"{error.filename}: expected a file that can be read, got: {error.strerror}") from error


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha256(folder: Path) -> str:
    """SHA-256 over the path, from the folder on, and the SHA-256 of each file that is not hidden, sorted by path."""
    lines = (f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in _files_of(folder))
    return hashlib.sha256(
        "".join(sorted(lines, key=lambda line: line[66:])).encode(errors="surrogateescape")
    ).hexdigest()


def _files_of(folder: Path) -> list[Path]:
    files = visible_files(folder)
    if len(files) > MAX_PICTURES:
        raise DataError(f"{folder}: got {len(files):,} files, expected at most {MAX_PICTURES:,} pictures")
    return files


def _check_sum(source: str, got: str, expected: str | None) -> None:
    if expected is None:
        raise ParamsError(f"{KEY}.checksum: got null, expected the SHA-256 of {source}, which is {got}")
    if got != expected:
        raise DataError(f"{source}: got SHA-256 {got}, expected {expected} ({KEY}.checksum)")


def _locate(source: str, checksum: str | None, root: Path, cache: Path) -> Path:
    """The file or folder, fetched if `source` is a URL and the file in the cache is not it."""
    if "://" not in source:
        path = root / source
        if not path.is_dir() and not path.is_file():
            raise DataError(f"{path}: expected an .npz file or a folder of pictures ({KEY}.source), got no such file")
        if path.is_file() and path.stat().st_size > MAX_SIZE:
            raise DataError(f"{path}: got {path.stat().st_size:,} bytes, expected at most {MAX_SIZE:,}")
        return path
    if not source.startswith(("http://", "https://", "file://")):
        raise ParamsError(f"{KEY}.source: got {source!r}, expected a path or a URL of http, https or file")
    kept = cache / "own.npz"
    if kept.is_file() and file_sha256(kept) == checksum:
        return kept
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".fetching-") as partial:
            fetched = Path(partial) / kept.name
            if (failure := try_download(source, fetched, MAX_SIZE)) is not None:
                raise FetchError(f"{source}: expected an .npz file ({KEY}.source), got: {failure}")
            return fetched.replace(kept)
    except OSError as error:
        raise StorageError(f"cannot write {kept}: {error.strerror or error}") from error


def _read_file(path: Path, names: tuple[str, ...] | None) -> Labelled:
    train, test = read_npz(path)
    count = int(max(split.labels.max(initial=0) for split in (train, test) if split is not None)) + 1
    return Labelled(names or tuple(map(str, range(count))), train, test)


def _check_preprocessing(params: OwnParams) -> None:
    """Raise ParamsError unless pictures are seen as they are, with their colours."""
    if params.preprocessing != "none":
        raise ParamsError(f"{KEY}.preprocessing: got {params.preprocessing}, expected none for images in colour")


def _check_channels(source: str, read: Labelled) -> set[int]:
    """The channels of both splits. Raises DataError if they differ."""
    channels = {split.channels for split in (read.train, read.test) if split is not None}
    if len(channels) > 1:
        raise DataError(f"{source}: got one split in colour and one that is not, expected both alike")
    return channels


def _check_classes(source: str, read: Labelled) -> None:
    """Raise DataError unless there are at least two classes, all labels are theirs, and each has training images."""
    count = len(read.classes)
    for name, split in zip(SPLITS, (read.train, read.test), strict=True):
        if split is not None and not len(split):
            raise DataError(f"{source}: got no {name} image, expected some of each class")
        if split is not None and split.labels.max() >= count:
            raise DataError(
                f"{source}: {name}: got the label {split.labels.max()}, expected labels from 0 to {count - 1}, "
                f"for {count} classes"
            )
    check_count(source, count)
    numbers = np.bincount(read.train.labels, minlength=count)
    if not numbers.all():
        label = int(numbers.argmin())
        raise DataError(
            f"{source}: got no training image of class {read.classes[label]!r} (label {label}), expected some of each"
        )


def check_count(source: object, count: int) -> None:
    if not 2 <= count <= MAX_CLASSES:
        raise DataError(f"{source}: got {count} class{'es' * (count != 1)}, expected 2 to {MAX_CLASSES}")


def read_folder(folder: Path, names: Sequence[str] | None, method: Preprocessing, channels: int = 1) -> Labelled:
    """The pictures in `<class>/`, or in `train/<class>/` and `test/<class>/`, preprocessed as in the service.

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
    return Labelled(classes, splits[0], splits[1] if len(splits) == 2 else None)


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
    for path in _files_of(folder):
        parts = path.relative_to(folder).parts
        if len(parts) != 2:
            raise DataError(f"{path}: expected pictures as {folder}/<class>/<name>.png")
        images.append(_read_image(path, method, channels))
        labels.append(classes.index(parts[0]))
    return Split(np.array(images, np.uint8).reshape(-1, *image_shape(channels)), np.array(labels, np.uint8))


def _read_image(path: Path, method: Preprocessing, channels: int) -> npt.NDArray[np.uint8]:
    try:
        image, reason, _ = preprocess(read_picture(path), method, channels)
        if reason == "blank_page":
            raise PictureError(*BLANK)
    except PictureError as error:
        raise DataError(f"{path}: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: expected a picture, got a file that cannot be read: {error.strerror}") from error
    return image
