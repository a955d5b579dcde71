"""Your own images become a data set; what is wrong with them is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import download
from pipeline.core import config
from pipeline.core.errors import DataError, FetchError, ParamsError, PipelineError
from pipeline.data import own_arrays, own_data, own_source
from pipeline.data.colours import paint
from pipeline.data.dataset import Description, Split
from pipeline.data.own_data import OwnParams
from pipeline.data.own_source import file_sha256, folder_sha256
from pipeline.packaging.model_name import dataset_name
from tests.support.made_letters import write_letters
from tests.support.pictures import encoded

Loaded = tuple[Description, Split, Split]
DEFAULTS: dict[str, Any] = {"name": "mine", "preprocessing": "ink", "classes": None, "test_share": 0.25, "seed": 1}
ONE = np.zeros((1, 28, 28), np.uint8)


def load(source: Path, /, **values: Any) -> Loaded:
    """Load what is at the path as params.yaml with its right checksum would."""
    checksum = folder_sha256(source) if source.is_dir() else file_sha256(source)
    params = OwnParams(**(DEFAULTS | {"source": source.as_posix(), "checksum": checksum} | values))
    return own_data.load(params, source.parent, source.parent / "cache")


def npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "mine.npz", **arrays)
    return folder / "mine.npz"


def arrays_of(digits: Split) -> dict[str, Any]:
    return {"x_train": digits.images[:100], "y_train": digits.labels[:100], "x_test": digits.images[100:120],
            "y_test": digits.labels[100:120]}  # fmt: skip


def test_an_npz_file_is_loaded_with_its_splits(tmp_path: Path, digits: Split) -> None:
    description, train, test = load(npz(tmp_path, **arrays_of(digits)))
    assert (description.name, description.preprocessing, description.is_digits) == ("mine", "ink", True)
    assert list(description.sources) == ["mine.npz"]
    assert np.array_equal(train.images, digits.images[:100])
    assert np.array_equal(test.labels, digits.labels[100:120])


def test_without_a_test_split_a_share_of_each_class_becomes_one(tmp_path: Path, digits: Split) -> None:
    arrays = arrays_of(digits)
    path = npz(tmp_path, x_train=arrays["x_train"], y_train=arrays["y_train"].astype(np.int64)[:, None])
    _, train, test = load(path, test_share=0.3)
    assert np.bincount(test.labels).tolist() == [3] * 10
    assert np.bincount(train.labels).tolist() == [7] * 10
    assert np.array_equal(test.images, load(path, test_share=0.3)[2].images)
    assert not np.array_equal(test.images, load(path, test_share=0.3, seed=2)[2].images)


def test_a_folder_of_pictures_is_loaded_with_the_names_of_its_folders(tmp_path: Path) -> None:
    folder = write_letters(tmp_path / "letters", 8)
    (folder / "L" / ".hidden").write_bytes(b"no picture")
    description, train, test = load(folder)
    assert (description.classes, description.is_digits) == (("L", "T", "X"), False)
    assert np.bincount(train.labels).tolist() == [6, 6, 6]
    assert np.bincount(test.labels).tolist() == [2, 2, 2]
    assert load(folder, classes=["X", "L", "T"])[0].classes == ("X", "L", "T")


def test_a_folder_may_have_a_test_split(tmp_path: Path) -> None:
    write_letters(tmp_path / "letters" / "train", 3)
    write_letters(tmp_path / "letters" / "test", 2, seed=2)
    description, train, test = load(tmp_path / "letters")
    assert (description.classes, len(train), len(test)) == (("L", "T", "X"), 9, 6)


def test_a_url_is_fetched_once(tmp_path: Path, digits: Split) -> None:
    path = npz(tmp_path, **arrays_of(digits))
    url, checksum = path.as_uri(), file_sha256(path)
    assert len(load(path, source=url)[1]) == 100
    path.unlink()
    params = OwnParams(**DEFAULTS, source=url, checksum=checksum)
    assert len(own_data.load(params, tmp_path, tmp_path / "cache")[1]) == 100
    with pytest.raises(FetchError, match=r"expected an \.npz file .*got: .*mine\.npz: "):
        own_data.load(params, tmp_path, tmp_path / "elsewhere")


@pytest.mark.parametrize("change", ["name", "content", "class"])
def test_the_checksum_of_a_folder_depends_on_names_and_contents(tmp_path: Path, change: str) -> None:
    folder = write_letters(tmp_path / "letters", 1)
    before = folder_sha256(folder)
    assert folder_sha256(write_letters(tmp_path / "copy", 1)) == before
    picture = folder / "L" / "0000.png"
    if change == "content":
        picture.write_bytes(b"other")
    else:
        picture.rename(folder / ("L/1.png" if change == "name" else "T/1.png"))
    assert folder_sha256(folder) != before


def test_the_error_for_a_wrong_checksum_has_the_right_one(tmp_path: Path) -> None:
    folder = write_letters(tmp_path / "letters", 1)
    right = folder_sha256(folder)
    with pytest.raises(DataError, match=rf"letters: got SHA-256 {right}, expected 0+ \(params.yaml: download.own.che"):
        load(folder, checksum="0" * 64)
    with pytest.raises(ParamsError, match=rf"download\.own\.checksum: got null, .* which is {right}"):
        load(folder, checksum=None)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda a: a | {"x_train": np.zeros((100, 32, 32), np.uint8)}, r"x_train: got uint8 \(100, 32, 32\), expected"),
        (lambda a: a | {"x_train": a["x_train"] / 255}, r"x_train: got float64 \(100, 28, 28\), expected uint8 \(N"),
        (lambda a: {"images": a["x_train"]}, "got the arrays images without x_train, y_train, expected x_train, y_"),
        (lambda a: {key: a[key] for key in a if key != "y_test"}, "without y_test, expected x_train"),
        (lambda a: a | {"y_train": a["y_train"].astype(object)}, "y_train: expected an array of numbers, not pickled"),
        (lambda a: a | {"y_train": a["y_train"][:9]}, r"y_train: got uint8 \(9,\), expected whole numbers \(100,\)"),
        (lambda a: a | {"y_train": a["y_train"] - 1.0}, r"y_train: got float64 \(100,\), expected whole numbers"),
        (lambda a: a | {"y_train": a["y_train"].astype(int) - 1}, "y_train: got the label -1, expected labels from 0"),
        (lambda a: a | {"y_train": a["y_train"].astype(int) + 300}, "y_train: got the label 309, expected labels"),
        (lambda a: {"x_train": a["x_train"], "y_train": 0 * a["y_train"]}, "got 1 class, expected 2 to 256"),
        (lambda a: a | {"y_train": a["y_train"] + 1}, r"got no training image of class '0' \(label 0\)"),
        (lambda a: a | {"x_test": ONE[:0], "y_test": a["y_test"][:0]}, "got no test image, expected some"),
        (lambda a: {"x_train": ONE[:0], "y_train": a["y_train"][:0]}, "got no train image, expected some"),
        (lambda a: {"x_train": a["x_train"][:4], "y_train": a["y_train"][:4]}, r"download\.own\.test_share: got 0\.25"),
    ],
)
def test_what_is_wrong_in_an_npz_file_is_named(
    tmp_path: Path, digits: Split, change: Callable[[dict[str, Any]], dict[str, Any]], expected: str
) -> None:
    with pytest.raises(DataError, match=expected):
        load(npz(tmp_path, **change(arrays_of(digits))))


def test_labels_beyond_the_names_of_the_classes_are_refused(tmp_path: Path, digits: Split) -> None:
    path = npz(tmp_path, **arrays_of(digits))
    with pytest.raises(DataError, match=r"train: got the label 9, expected labels from 0 to 1, for 2 classes"):
        load(path, classes=["a", "b"])
    with pytest.raises(ParamsError, match=r"download\.own\.classes: got a name twice"):
        load(path, classes=["a", "a"])


@pytest.mark.parametrize("content", [b"", b"no zip file", b"PK\x03\x04" + bytes(40)])
def test_a_file_that_is_no_npz_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"mine\.npz: expected an \.npz file, got"):
        load(tmp_path / "mine.npz")


def test_sizes_are_limited(tmp_path: Path, digits: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    path = npz(tmp_path, **arrays_of(digits))
    monkeypatch.setattr(own_arrays, "MAX_VALUES", 1000)
    with pytest.raises(DataError, match=r"x_train: got 78,528 bytes, expected at most 1,000"):
        load(path)
    monkeypatch.setattr(own_source, "MAX_SIZE", 1000)
    with pytest.raises(DataError, match=r"mine\.npz: got .* bytes, expected at most 1,000"):
        load(path)
    with pytest.raises(FetchError, match=r"more than 1,000 bytes"):
        load(path, source=path.as_uri())
    monkeypatch.setattr(own_source, "MAX_PICTURES", 5)
    with pytest.raises(DataError, match=r"letters: got 6 files, expected at most 5 pictures"):
        load(write_letters(tmp_path / "letters", 2))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("L/a.png", b"no picture", r"L/a\.png: got 10 bytes that are not a picture"),
        ("a.png", b"", r"a\.png: expected pictures as .*/<class>/<name>\.png"),
        ("L/old/a.png", b"", r"L/old/a\.png: expected pictures as"),
        ("Z/.hidden", b"", r"Z: expected pictures of class 'Z', got none"),
    ],
)
def test_what_is_wrong_in_a_folder_is_named(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    folder = write_letters(tmp_path / "letters", 2)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=expected):
        load(folder)


def test_a_folder_must_have_the_classes_that_are_named_and_more_than_one(tmp_path: Path) -> None:
    folder = write_letters(tmp_path / "letters", 2)
    with pytest.raises(DataError, match=r"letters/X: got a folder of this name, expected one of L, T"):
        load(folder, classes=["L", "T"])
    with pytest.raises(DataError, match=r"letters/Z: expected pictures of class 'Z', got none"):
        load(folder, classes=["L", "T", "X", "Z"])
    (tmp_path / "one").mkdir()
    (folder / "L").rename(tmp_path / "one" / "L")
    with pytest.raises(DataError, match=r"one: got 1 class, expected 2 to 256"):
        load(tmp_path / "one")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (None, r"download\.own\.source: got null, expected the path or URL"),
        ("nowhere", r"nowhere: expected an \.npz file, a folder of pictures or one of IDX files .*, got no such file"),
        ("ftp://example.org/a.npz", r"download\.own\.source: got 'ftp://.*', expected a path or a URL of http, https"),
    ],
)
def test_a_source_that_cannot_be_read_is_named(tmp_path: Path, source: str | None, expected: str) -> None:
    with pytest.raises(PipelineError, match=expected):
        own_data.load(OwnParams(**DEFAULTS, source=source, checksum="0" * 64), tmp_path, tmp_path / "cache")


def test_own_data_are_not_named_like_published_ones() -> None:
    params = config.read()
    wrong = params | {"download": params["download"] | {"own": params["download"]["own"] | {"name": "mnist"}}}
    with pytest.raises(
        ParamsError, match=r"download\.own: got .*'mnist'.*, expected another name than those of the pub"
    ):
        config.validate("download", download.Params, wrong, Path("params.yaml"))


@pytest.mark.parametrize(("dataset", "expected"), [("own", "mine"), ("mnist", "mnist")])
def test_models_are_registered_by_the_name_of_their_data(dataset: str, expected: str) -> None:
    assert dataset_name({"dataset": dataset, "own": {"name": "mine"}}) == expected


def test_arrays_in_colour_keep_their_channels(tmp_path: Path, digits: Split) -> None:
    coloured = paint(digits, "random", 10, seed=1)
    path = npz(tmp_path, **arrays_of(coloured))

    description, train, test = load(path, preprocessing="none")

    assert (description.preprocessing, train.channels, test.channels) == ("none", 3, 3)
    assert np.array_equal(train.images, arrays_of(coloured)["x_train"])
    with pytest.raises(ParamsError, match=r"download\.own\.preprocessing: got ink, expected none for images in colour"):
        load(path)
    mixed = npz(tmp_path, **arrays_of(coloured) | {"x_test": arrays_of(digits)["x_test"]})
    with pytest.raises(DataError, match=r"mine\.npz: got one split in colour and one that is not, expected both alike"):
        load(mixed, preprocessing="none")


def test_pictures_in_a_folder_keep_their_colours_for_three_channels(tmp_path: Path, digits: Split) -> None:
    coloured = paint(digits, "random", 10, seed=1)
    for index in range(20):
        path = tmp_path / "mine" / str(coloured.labels[index] % 2) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(coloured.images[index]))
    settings = DEFAULTS | {"preprocessing": "none", "source": "mine", "checksum": folder_sha256(tmp_path / "mine")}
    params = OwnParams(**settings)

    _, train, test = own_data.load(params, tmp_path, tmp_path, channels=3)

    assert (train.channels, test.channels) == (3, 3)
    assert {image.tobytes() for image in train.images} < {image.tobytes() for image in coloured.images}
