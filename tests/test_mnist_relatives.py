"""EMNIST and QMNIST are read from their own archives."""

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pipeline import download
from pipeline.core.errors import FetchError
from pipeline.core.files import file_md5
from pipeline.data import mnist_relatives
from pipeline.data.dataset import DIGITS, Split
from pipeline.data.mnist_relatives import EMNIST, QMNIST, Published, torchvision_published
from tests.support.project_clone import idx


def put(folder: Path, archives: dict[str, bytes], classes: tuple[str, ...], patch: pytest.MonkeyPatch) -> str:
    """Publish the archives at a mirror, whose URL is returned."""
    folder.mkdir(parents=True)
    for name, content in archives.items():
        (folder / name).write_bytes(content)
    published = Published(classes, {name: file_md5(folder / name) for name in archives})
    patch.setattr(mnist_relatives, "torchvision_published", lambda name: published)
    return folder.parent.as_uri() + "/{dataset}"


def emnist(arrays: dict[str, npt.NDArray[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, array in arrays.items():
            file.writestr(f"gzip/emnist-{name}.gz", idx(array))
    return buffer.getvalue()


@pytest.mark.parametrize(("split", "first"), [("letters", 1), ("balanced", 0)])
def test_images_of_emnist_are_upright_and_its_labels_start_at_0(
    tmp_path: Path, digits: Split, monkeypatch: pytest.MonkeyPatch, split: str, first: int
) -> None:
    stored = {}
    for part, chosen in (("train", digits.take(np.arange(20))), ("test", digits.take(np.arange(20, 30)))):
        stored[f"{split}-{part}-images-idx3-ubyte"] = chosen.images.transpose(0, 2, 1).copy()
        stored[f"{split}-{part}-labels-idx1-ubyte"] = chosen.labels + np.uint8(first)
    mirror = put(tmp_path / "emnist", {EMNIST: emnist(stored)}, tuple("abcdefghij"), monkeypatch)

    description, train, test = download.load(f"emnist_{split}", tmp_path / "cache", mirror)

    assert (description.name, description.classes[0], description.is_digits) == (f"emnist_{split}", "a", False)
    assert np.array_equal(np.concatenate([train.images, test.images]), digits.images[:30])
    assert np.array_equal(np.concatenate([train.labels, test.labels]), digits.labels[:30])
    monkeypatch.setattr(mnist_relatives, "torchvision_published", None)  # would raise if called
    assert download.load(f"emnist_{split}", tmp_path / "cache", None)[0] == description


def test_an_archive_of_emnist_without_the_split_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = put(tmp_path / "emnist", {EMNIST: emnist({})}, ("a", "b"), monkeypatch)
    with pytest.raises(FetchError, match=r"gzip\.zip: expected a zip file of EMNIST's IDX files, got .*letters-train"):
        download.load("emnist_letters", tmp_path / "cache", mirror)


def test_the_class_is_the_first_column_of_the_labels_of_qmnist(
    tmp_path: Path, digits: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(8, dtype=">i4") * np.ones((10, 1), ">i4")
    rows[:, 0] = digits.labels[:10]
    labels = gzip.compress(bytes([0, 0, 12, 2, 0, 0, 0, 10, 0, 0, 0, 8]) + rows.astype(">i4").tobytes(), mtime=0)
    archives = dict(zip(QMNIST, (idx(digits.images[:10]), labels) * 2, strict=True))

    description, train, test = download.load(
        "qmnist", tmp_path / "cache", put(tmp_path / "qmnist", archives, DIGITS, monkeypatch)
    )

    assert description.is_digits
    for split in (train, test):
        assert np.array_equal(split.images, digits.images[:10])
        assert np.array_equal(split.labels, digits.labels[:10])


@pytest.mark.parametrize(
    ("name", "count", "archives"),
    [
        ("emnist_letters", 26, {EMNIST}),
        ("emnist_balanced", 47, {EMNIST}),
        ("emnist_byclass", 62, {EMNIST}),
        ("emnist_digits", 10, {EMNIST}),
        ("qmnist", 10, set(QMNIST)),
    ],
)
def test_classes_and_checksums_are_those_of_torchvision(name: str, count: int, archives: set[str]) -> None:
    published = torchvision_published(name)
    assert (len(published.classes), set(published.md5)) == (count, archives)
    assert (published.classes == DIGITS) == (count == 10)
