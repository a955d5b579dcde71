"""EMNIST (Cohen et al., 2017) and QMNIST (Yadav and Bottou, 2019): NIST's characters in other archives than MNIST's.

EMNIST is one zip file of gzipped IDX files. Its images are stored transposed, and the labels of its letters start at 1.
QMNIST's labels are rows of 32-bit integers, the class first. Checksums and class names come from torchvision.
"""

import io
import zipfile
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from pipeline.core.errors import FetchError
from pipeline.data.dataset import DIGITS, Description, Split
from pipeline.data.mnist_archives import cached_description, fetch, has_md5, mirrors, parse_idx

EMNIST: Final = "gzip.zip"
EMNIST_URL: Final = "https://biometrics.nist.gov/cs_links/EMNIST/"
MAX_EMNIST: Final = 2**30  # bytes of its archive, and of an array in it; they have 562 and 547 million
QMNIST_URL: Final = "https://raw.githubusercontent.com/facebookresearch/qmnist/master/"
QMNIST: Final = tuple(
    f"qmnist-{part}-{array}.gz" for part in ("train", "test") for array in ("images-idx3-ubyte", "labels-idx2-int")
)


class Published(NamedTuple):
    """What torchvision knows of a data set."""

    classes: tuple[str, ...]
    md5: dict[str, str]
    """By the name of the archive."""


def torchvision_published(name: str) -> Published:
    """`name`: qmnist, or emnist_ and one of EMNIST's splits."""
    from torchvision import datasets  # takes seconds, and is needed only until the archives are cached

    if name == "qmnist":
        resources = datasets.QMNIST.resources
        pairs = [*resources["train"], *resources["test"]]
        return Published(DIGITS, {url.rpartition("/")[2]: md5 for url, md5 in pairs})
    names = datasets.EMNIST.classes_split_dict[name.removeprefix("emnist_")]
    return Published(tuple(each for each in names if each != "N/A"), {EMNIST: datasets.EMNIST.md5})


def load(name: str, cache: Path, own_mirror: str | None) -> tuple[Description, Split, Split]:
    """Description, training and test split of qmnist, or of emnist_ and one of EMNIST's splits; archives are kept in
    `cache`. Raises FetchError."""
    is_qmnist = name == "qmnist"
    dataset, url = ("qmnist", QMNIST_URL) if is_qmnist else ("emnist", EMNIST_URL)
    folder = cache / dataset
    description = cached_description(folder / f"{name}.json", QMNIST if is_qmnist else (EMNIST,))
    if description is None:
        published = torchvision_published(name)
        description = Description(name, published.classes, published.md5)
    for filename, md5 in description.sources.items():
        if not has_md5(folder / filename, md5):
            fetch(filename, md5, mirrors(dataset, own_mirror, [url]), folder, MAX_EMNIST)
    description.save(folder / f"{name}.json")
    if is_qmnist:
        return description, _qmnist_split(folder, *QMNIST[:2]), _qmnist_split(folder, *QMNIST[2:])
    split = name.removeprefix("emnist_")
    return (
        description,
        _emnist_split(folder / EMNIST, f"{split}-train"),
        _emnist_split(folder / EMNIST, f"{split}-test"),
    )


def _qmnist_split(folder: Path, images: str, labels: str) -> Split:
    with (folder / images).open("rb") as pixels, (folder / labels).open("rb") as rows:
        array = parse_idx(pixels, folder / images).astype(np.uint8, copy=False)
        return Split(array, parse_idx(rows, folder / labels, ">i4")[:, 0].astype(np.uint8))


def _emnist_split(archive: Path, part: str) -> Split:
    """The split with labels from 0, its images upright."""
    arrays = []
    try:
        with zipfile.ZipFile(archive) as file:
            for array in ("images-idx3-ubyte", "labels-idx1-ubyte"):
                member = f"gzip/emnist-{part}-{array}.gz"
                stream = io.BytesIO(file.read(member))  # the archive has its published checksum
                arrays.append(parse_idx(stream, f"{archive}: {member}", max_values=MAX_EMNIST))
    except (KeyError, zipfile.BadZipFile) as error:
        raise FetchError(f"{archive}: expected a zip file of EMNIST's IDX files, got {error}") from error
    images, labels = (array.astype(np.uint8, copy=False) for array in arrays)
    first = 1 if part.startswith("letters") else 0
    return Split(np.ascontiguousarray(images.transpose(0, 2, 1)), labels - np.uint8(first))
