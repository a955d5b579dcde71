"""The official archives of MNIST and its relatives: fetched once, verified against the published checksums, cached.

Mirrors and checksums come from torchvision; the checksums are cached next to the archives, because importing it takes
longer than reading them. The cache is outside DVC's outs: fetched archives are kept when a later one fails, and a stage
that runs again fetches nothing.
"""

import contextlib
import errno
import gzip
import http.client
import math
import tempfile
import time
import urllib.request
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pipeline.core.errors import DataError, FetchError, StorageError
from pipeline.core.files import file_md5
from pipeline.data.dataset import DIGITS, Description, Split, load_description

TIMEOUT: Final = 30  # seconds without a byte
CHUNK: Final = 1 << 16  # bytes per read
DISK_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EEXIST)
MAX_SIZE: Final = 2**25  # bytes of an archive; Fashion-MNIST's training images, the largest, have 26 million
MAX_SECONDS: Final = 3600  # for an archive
GZIP: Final = b"\x1f\x8b"  # the first bytes of a gzip file
MAX_VALUES: Final = 2**26  # bytes in an IDX file; 60,000 images of 28×28 have 47 million
TRAIN: Final = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
TEST: Final = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")


def torchvision_dataset(name: str) -> Any:
    """torchvision's class for the data set `name`, with its `mirrors`, `resources` and `classes`."""
    # Importing torchvision takes 8 s, and it is needed only until the archives are cached.
    from torchvision import datasets

    return {"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST, "kmnist": datasets.KMNIST}[name]


def describe(name: str) -> Description:
    """Classes of the data set `name` and the published MD5 sums of its archives."""
    source = torchvision_dataset(name)
    classes = DIGITS if name == "mnist" else tuple(source.classes)  # torchvision has "0 - zero"
    return Description(name, classes, dict(source.resources), "object" if name == "fashion_mnist" else "ink")


def mirrors(name: str, own_mirror: str | None, official: list[str] | None = None) -> list[str]:
    """Base URLs to try in order: `own_mirror`, a URL with `{dataset}` in it, then the official ones (torchvision's).

    Raises FetchError if `own_mirror` is not such a URL.
    """
    official = list(torchvision_dataset(name).mirrors) if official is None else official
    if own_mirror is None:
        return official
    if "{dataset}" not in own_mirror or "://" not in own_mirror:
        raise FetchError(f"DATASET_MIRROR: got {own_mirror!r}, expected a URL with {{dataset}} in it")
    return [own_mirror.replace("{dataset}", name).rstrip("/") + "/", *official]


def has_md5(archive: Path, md5: str) -> bool:
    return archive.is_file() and file_md5(archive) == md5


def fetch(filename: str, md5: str, sources: list[str], folder: Path, max_size: int = MAX_SIZE) -> Path:
    """Fetch an archive of at most `max_size` bytes into `folder/filename` from the first source that has it with the
    right checksum.

    Raises FetchError, with each source's failure, if none has it, and StorageError if it cannot be written.
    """
    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source in sources:
            with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as partial:
                archive = Path(partial) / filename
                if (failure := try_download(source + filename, archive, max_size)) is not None:
                    failures.append(f"{source} ({failure})")
                elif has_md5(archive, md5):
                    return archive.replace(folder / filename)
                else:
                    size = archive.stat().st_size
                    failures.append(f"{source} (its {size} bytes do not have the published MD5 {md5})")
    except OSError as error:
        raise StorageError(f"cannot write {folder / filename}: {error.strerror or error}") from error
    raise FetchError(
        f"could not fetch {filename}: {'; '.join(failures)}. "
        "Set DATASET_MIRROR to a URL with {dataset} in it (file:// works too), "
        "or run `make demo`, which needs no network"
    )


def try_download(url: str, path: Path, max_size: int = MAX_SIZE) -> object | None:
    """None, or the reason why the download failed. Raises OSError if the file cannot be written."""
    try:
        _download(url, path, max_size)
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError is an OSError
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise
        return getattr(error, "reason", error)
    return None


def _download(url: str, path: Path, max_size: int) -> None:
    """Raises OSError or ValueError as soon as it is clear that more is sent, or for longer, than an archive needs."""
    end = time.monotonic() + MAX_SECONDS
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response, path.open("wb") as file:
        size = int(response.headers.get("Content-Length", 0)) or None
        with tqdm(total=size, unit="B", unit_scale=True, desc=path.name, leave=False) as bar:
            while chunk := response.read1(CHUNK):
                if max(size or 0, bar.n + len(chunk)) > max_size:
                    raise ValueError(f"more than {max_size:,} bytes, the limit for an archive")
                if time.monotonic() > end:
                    raise TimeoutError(f"{bar.n:,} bytes in {MAX_SECONDS:,} s, the limit for an archive")
                file.write(chunk)
                bar.update(len(chunk))


def read_idx(archive: Path) -> npt.NDArray[np.uint8]:
    """The array in a gzipped IDX file of unsigned bytes. Raises FetchError if it contains anything else."""
    with _open(archive) as file:
        return parse_idx(file, archive).astype(np.uint8, copy=False)


def _open(archive: Path) -> IO[bytes]:
    try:
        return archive.open("rb")
    except OSError as error:
        raise FetchError(f"{archive}: expected an IDX file, got {error}") from error


def parse_idx(
    stream: IO[bytes], where: object, kind: str = "u1", max_values: int = MAX_VALUES
) -> npt.NDArray[np.uint8] | npt.NDArray[np.int32]:
    """The array in an IDX file, gzipped or not, of unsigned bytes, or of 32-bit integers if `kind` is `>i4` (format:
    http://yann.lecun.com/exdb/mnist).

    No more is read or decompressed than the file's head declares. Raises FetchError, naming `where`, if it contains
    anything else.
    """
    name, code = {"u1": ("unsigned bytes", 8), ">i4": ("32-bit integers", 12)}[kind]
    try:
        is_gzipped = stream.read(2) == GZIP
        stream.seek(0)
        with gzip.GzipFile(fileobj=stream) if is_gzipped else stream as file:
            head = file.read(4)
            if head[:3] != bytes([0, 0, code]):
                raise ValueError("another data type")
            shape = np.frombuffer(file.read(4 * head[3]), ">u4", count=head[3]).tolist()
            if math.prod(shape) > max_values:
                raise ValueError(f"{math.prod(shape):,} values, more than {max_values:,}")
            # One byte more: the end of the file, where its checksum is verified.
            content = file.read(math.prod(shape) * np.dtype(kind).itemsize + 1)
        return np.frombuffer(content, kind).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise FetchError(f"{where}: expected an IDX file of {name}, got {error}") from error


def cached_description(path: Path, filenames: Collection[str]) -> Description | None:
    """The description that `load` saved; None if it is missing, damaged or does not have exactly these files."""
    with contextlib.suppress(DataError):
        description = load_description(path)
        if set(description.sources) == set(filenames):
            return description
    return None


def load(name: str, folder: Path, own_mirror: str | None) -> tuple[Description, Split, Split]:
    """Description, training and test split of a published data set, from the archives in `folder`.

    Fetches those that are missing or damaged; see `mirrors` and `fetch` for `own_mirror` and the errors raised.
    """
    cached = folder / "dataset.json"
    description = cached_description(cached, (*TRAIN, *TEST)) or describe(name)
    for filename, md5 in description.sources.items():
        if not has_md5(folder / filename, md5):
            fetch(filename, md5, mirrors(name, own_mirror), folder)
    description.save(cached)
    train, test = (Split(*(read_idx(folder / filename) for filename in pair)) for pair in (TRAIN, TEST))
    return description, train, test
