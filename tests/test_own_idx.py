"""Own data in IDX files: a folder with MNIST's four names, at a path or a URL."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.core.errors import DataError, FetchError
from pipeline.data import own_data, own_source
from pipeline.data.colours import paint
from pipeline.data.dataset import Description, Split
from pipeline.data.own_data import OwnParams
from pipeline.data.own_idx import NAMES
from pipeline.data.own_source import folder_sha256
from tests.support.project_clone import idx

DEFAULTS: dict[str, Any] = {"name": "mine", "preprocessing": "ink", "classes": None, "test_share": 0.25, "seed": 1}
ONE = np.zeros((1, 28, 28), np.uint8)


def write(folder: Path, arrays: dict[str, npt.NDArray[np.uint8]], is_gzipped: bool = True) -> Path:
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        content = idx(array)
        (folder / (f"{name}.gz" if is_gzipped else name)).write_bytes(
            content if is_gzipped else gzip.decompress(content)
        )
    return folder


def load(
    source: Path | str, folder: Path, checksum: str | None = None, **values: Any
) -> tuple[Description, Split, Split]:
    """Load the source as params.yaml with the checksum of the folder would."""
    params = OwnParams(**(DEFAULTS | {"source": str(source), "checksum": checksum or folder_sha256(folder)} | values))
    return own_data.load(params, folder, folder.parent / "cache")


@pytest.fixture
def arrays(digits: Split) -> dict[str, npt.NDArray[np.uint8]]:
    train, test = digits.take(np.arange(100)), digits.take(np.arange(100, 120))
    return dict(zip(NAMES, (train.images, train.labels, test.images, test.labels), strict=True))


@pytest.mark.parametrize("is_gzipped", [True, False])
def test_a_folder_of_idx_files_is_loaded_with_its_splits(
    tmp_path: Path, arrays: dict[str, npt.NDArray[np.uint8]], is_gzipped: bool
) -> None:
    folder = write(tmp_path / "idx", arrays, is_gzipped)
    description, train, test = load(folder, folder, classes=list("abcdefghij"))
    assert (description.name, description.classes) == ("mine", tuple("abcdefghij"))
    loaded = (train.images, train.labels, test.images, test.labels)
    assert all(np.array_equal(array, arrays[name]) for name, array in zip(NAMES, loaded, strict=True))
    assert load(folder, folder)[0].is_digits


def test_idx_files_may_be_in_colour(tmp_path: Path, arrays: dict[str, npt.NDArray[np.uint8]], digits: Split) -> None:
    coloured = paint(digits, "random", 10, seed=1).images
    folder = write(tmp_path / "idx", arrays | {NAMES[0]: coloured[:100], NAMES[2]: coloured[100:120]})

    _, train, test = load(folder, folder, preprocessing="none")

    assert (train.channels, test.channels) == (3, 3)
    assert np.array_equal(train.images, coloured[:100])


def test_without_test_files_a_share_of_each_class_becomes_the_test_split(
    tmp_path: Path, arrays: dict[str, npt.NDArray[np.uint8]]
) -> None:
    folder = write(tmp_path / "idx", {name: arrays[name] for name in NAMES[:2]})
    _, train, test = load(folder, folder, test_share=0.3)
    assert (len(train), len(test)) == (70, 30)


@pytest.mark.parametrize("is_gzipped", [True, False])
def test_a_url_that_ends_in_a_slash_is_a_folder_of_idx_files_and_is_fetched_once(
    tmp_path: Path, arrays: dict[str, npt.NDArray[np.uint8]], is_gzipped: bool
) -> None:
    folder = write(tmp_path / "idx", arrays, is_gzipped)
    url, checksum = f"{folder.as_uri()}/", folder_sha256(folder)
    with pytest.raises(DataError, match=rf"idx/: got SHA-256 {checksum}, expected 0+ \(params.yaml: download.own.che"):
        load(url, folder, "0" * 64)
    assert len(load(url, folder)[1]) == 100
    (folder / NAMES[0]).with_suffix(".gz" if is_gzipped else "").unlink()
    assert len(load(url, folder, checksum)[1]) == 100
    with pytest.raises(FetchError, match=r"expected MNIST's four IDX files .*images-idx3-ubyte\.gz: .*3-ubyte: "):
        load(url, folder, "0" * 64)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({NAMES[1]: None}, "idx: got no train-labels-idx1-ubyte, expected train-images-idx3-ubyte, train-labels-idx1"),
        ({NAMES[2]: None}, "idx: got no t10k-images-idx3-ubyte, expected"),
        ({NAMES[0]: np.zeros((100, 32, 32), np.uint8)}, r"images-idx3-ubyte\.gz: got uint8 \(100, 32, 32\), expected"),
        (
            {NAMES[1]: np.zeros((9,), np.uint8)},
            r"labels-idx1-ubyte\.gz: got uint8 \(9,\), expected whole numbers \(100",
        ),
        ({NAMES[2]: ONE[:0], NAMES[3]: ONE[:0, 0, 0]}, "got no test image, expected some of each class"),
    ],
)
def test_what_is_wrong_in_idx_files_is_named(
    tmp_path: Path, arrays: dict[str, npt.NDArray[np.uint8]], change: dict[str, Any], expected: str
) -> None:
    changed = {name: array for name, array in (arrays | change).items() if array is not None}
    folder = write(tmp_path / "idx", changed)
    with pytest.raises(DataError, match=expected):
        load(folder, folder)


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\0\0\x08\x03\xff\xff\xff\xff\0\0\0\x1c\0\0\0\x1c", b"\x1f\x8b\x08"]
)
def test_a_file_that_is_no_idx_file_is_named(
    tmp_path: Path, arrays: dict[str, npt.NDArray[np.uint8]], content: bytes
) -> None:
    folder = write(tmp_path / "idx", arrays, is_gzipped=False)
    (folder / NAMES[0]).write_bytes(content)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte: expected an IDX file of unsigned bytes, got"):
        load(folder, folder)


def test_a_file_that_is_there_twice_and_one_that_is_too_large_are_refused(
    tmp_path: Path, arrays: dict[str, npt.NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "idx", arrays)
    monkeypatch.setattr(own_source, "MAX_SIZE", 1000)
    with pytest.raises(FetchError, match=r"ubyte\.gz: more than 1,000 bytes"):
        load(f"{folder.as_uri()}/", folder)
    (folder / NAMES[0]).write_bytes(b"")
    with pytest.raises(DataError, match=r"got train-images-idx3-ubyte\.gz and train-images-idx3-ubyte, expected"):
        load(folder, folder)
