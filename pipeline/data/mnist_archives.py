"""The official archives of MNIST and its relatives: fetched once, checked against the published checksums, kept.

Where they are and what their checksums should be is torchvision's knowledge; what it said is kept beside the archives,
because importing it takes longer than reading them. They lie outside DVC's outs, so that what was fetched stays when
a later file fails, and a stage that runs again fetches nothing.
"""

import contextlib
import errno
import gzip
import hashlib
import http.client
import tempfile
import urllib.request
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pipeline.core.errors import DataError, FetchError, StorageError
from pipeline.data.dataset import DIGITS, Description, Split, load_description

TIMEOUT: Final = 30  # seconds without a byte
CHUNK: Final = 1 << 16  # bytes
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EEXIST)
TRAIN: Final = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
TEST: Final = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")


def published(name: str) -> Any:
    """torchvision's class of the data set called `name`, with its `mirrors`, `resources` and `classes`."""
    # Importing torchvision takes 8 s, and it is needed only until the archives are at hand.
    from torchvision import datasets

    return {"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST, "kmnist": datasets.KMNIST}[name]


def describe(name: str) -> Description:
    """Classes of the data set called `name` and the MD5 sums that its authors published."""
    source = published(name)
    classes = DIGITS if name == "mnist" else tuple(source.classes)  # torchvision says "0 - zero"
    return Description(name, classes, dict(source.resources))


def mirrors(name: str, own: str | None) -> list[str]:
    """Base URLs to try in order: the mirror in `own`, an URL with `{dataset}` in it, then the official ones.

    Raises FetchError when `own` is no such URL.
    """
    if own is None:
        return list(published(name).mirrors)
    if "{dataset}" not in own or "://" not in own:
        raise FetchError(f"DATASET_MIRROR: got {own!r}, expected an URL with {{dataset}} in it")
    return [own.replace("{dataset}", name).rstrip("/") + "/", *published(name).mirrors]


def is_whole(archive: Path, md5: str) -> bool:
    return archive.is_file() and hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest() == md5


def fetch(filename: str, md5: str, sources: list[str], folder: Path) -> Path:
    """Fetch an archive into `folder/filename` from the first source that gives it with the right checksum.

    Raises FetchError when none does, saying what each of them gave, and StorageError when it cannot be written here.
    """
    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source in sources:
            with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as partial:
                archive = Path(partial) / filename
                if (failure := _failure(source + filename, archive)) is not None:
                    failures.append(f"{source} ({failure})")
                elif is_whole(archive, md5):
                    return archive.replace(folder / filename)
                else:
                    size = archive.stat().st_size
                    failures.append(f"{source} (its {size} bytes do not have the published MD5 {md5})")
    except OSError as error:
        raise StorageError(f"cannot write {folder / filename}: {error.strerror or error}") from error
    raise FetchError(
        f"could not fetch {filename}: {'; '.join(failures)}. "
        "Set DATASET_MIRROR to an URL with {dataset} in it (file:// works too), "
        "or type `make demo`, which needs no network"
    )


def _failure(url: str, path: Path) -> object | None:
    """Download; why it failed, None where it did not. Raises OSError when the file cannot be written."""
    try:
        _download(url, path)
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError is an OSError
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        return getattr(error, "reason", error)
    return None


def _download(url: str, path: Path) -> None:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response, path.open("wb") as file:
        size = int(response.headers.get("Content-Length", 0)) or None
        with tqdm(total=size, unit="B", unit_scale=True, desc=path.name, leave=False) as bar:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))


def read_idx(archive: Path) -> npt.NDArray[np.uint8]:
    """The array in a gzipped IDX file of unsigned bytes (format: http://yann.lecun.com/exdb/mnist).

    Raises FetchError when it holds something else.
    """
    try:
        content = gzip.decompress(archive.read_bytes())
        dimensions = content[3]
        shape = np.frombuffer(content, ">u4", count=dimensions, offset=4).tolist()
        if content[:3] != b"\0\0\x08":
            raise ValueError("other types than unsigned bytes")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise FetchError(f"{archive}: expected an IDX file of unsigned bytes, got {error}") from error


def _described(receipt: Path) -> Description | None:
    """What `load` has noted beside the archives; None when it is not there, damaged or not of all of them."""
    with contextlib.suppress(DataError):
        description = load_description(receipt)
        if set(description.sources) == {*TRAIN, *TEST}:
            return description
    return None


def load(name: str, folder: Path, own_mirror: str | None) -> tuple[Description, Split, Split]:
    """Description, training and test split of a published data set, from the archives in `folder`.

    Fetches what is not there whole; see `mirrors` and `fetch` for `own_mirror` and the errors raised.
    """
    receipt = folder / "dataset.json"
    description = _described(receipt) or describe(name)
    for filename, md5 in description.sources.items():
        if not is_whole(folder / filename, md5):
            fetch(filename, md5, mirrors(name, own_mirror), folder)
    description.save(receipt)
    train, test = (Split(*(read_idx(folder / filename) for filename in pair)) for pair in (TRAIN, TEST))
    return description, train, test
