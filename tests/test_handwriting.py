"""The user's own handwriting: the pictures committed in data/, and how such a folder must look."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.core.errors import DataError
from pipeline.data.handwriting import EMPTY, read
from pipeline.data.image import preprocess
from tests.support.pictures import encoded
from tests.support.synthetic_digits import draw, pictures

DATA = Path(__file__).parent.parent / "data"


def picture(digit: int) -> bytes:
    return encoded(draw(digit, np.random.default_rng(digit), "paint"))


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_the_committed_handwriting_has_at_least_ten_pictures_of_each_digit() -> None:
    own = read(DATA)
    counts = Counter(own.split.labels.tolist())
    assert set(counts) == set(range(10))
    assert min(counts.values()) >= 10
    assert len(own.files) == len(own.split) >= 100
    assert own.split.images.any(axis=(1, 2)).all()


def test_the_committed_handwriting_is_drawn_by_the_script() -> None:
    drawn = pictures(0)
    assert {str(path.relative_to(DATA)) for path in DATA.rglob("*.*")} == set(drawn)
    for name in (name for name in drawn if name.endswith(".png")):  # JPEG is decoded differently on other machines
        committed, fresh = Image.open(DATA / name), Image.open(io.BytesIO(drawn[name]))
        with committed, fresh:
            assert committed.mode == fresh.mode
            assert np.array_equal(np.asarray(committed), np.asarray(fresh)), name


def test_pictures_are_read_in_the_order_of_their_paths_as_the_service_reads_them(tmp_path: Path) -> None:
    for name, digit in {"3/b.png": 3, "3/a.png": 8, "0/c.png": 0}.items():
        write(tmp_path / name, picture(digit))
    own = read(tmp_path)
    assert own.files == ("0/c.png", "3/a.png", "3/b.png")
    assert own.split.labels.tolist() == [0, 3, 3]
    assert np.array_equal(own.split.images, [preprocess(picture(digit)).image for digit in (0, 8, 3)])


@pytest.mark.parametrize("name", ["three/a.png", "10/a.png", "-1/a.png", "a.png", "3/old/a.png", "old/3/a.png"])
def test_a_picture_outside_a_digits_folder_is_named_in_the_error(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, picture(3))
    with pytest.raises(DataError, match=rf"{name}: expected pictures as .*/<digit>/<name>\.png"):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"a three, in words", picture(3)[:100]])
def test_a_file_that_is_not_a_picture_is_named_in_the_error(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "3" / "a.png", content)
    with pytest.raises(DataError, match=r"3/a\.png: got .*picture"):
        read(tmp_path)


def test_a_blank_picture_is_named_in_the_error(tmp_path: Path) -> None:
    write(tmp_path / "3" / "a.png", encoded(Image.new("L", (100, 100), 255)))
    with pytest.raises(DataError, match=r"3/a\.png: got a picture with nothing on it, expected a digit"):
        read(tmp_path)


def test_hidden_files_are_skipped(tmp_path: Path) -> None:
    write(tmp_path / "3" / ".DS_Store", b"Finder")
    write(tmp_path / ".gitignore", b"*.tmp")
    assert read(tmp_path).files == ()


def test_an_empty_folder_gives_no_images(tmp_path: Path) -> None:
    (tmp_path / "3").mkdir()
    own = read(tmp_path)
    assert (own.files, len(own.split)) == ((), 0)
    assert own.split.images.shape == EMPTY.split.images.shape == (0, 28, 28)


def test_corrections_by_users_are_no_handwriting_of_ones_own(tmp_path: Path) -> None:
    write(tmp_path / "3" / "a.png", picture(3))
    write(tmp_path / "corrections" / "8" / "b.png", picture(8))
    assert read(tmp_path).files == ("3/a.png",)
