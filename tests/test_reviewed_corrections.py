"""Reviewed corrections in data/corrections/: how they are read, and which of them join the training images."""

from pathlib import Path

import numpy as np
import pytest

from pipeline import normalise
from pipeline.core.errors import DataError
from pipeline.core.files import read_json, write_bytes
from pipeline.data.colours import paint
from pipeline.data.corrections import Pixels, digest, encode, file_of, join, read, trains, without_trained
from pipeline.data.dataset import DIGITS, Description, Split, load_split
from pipeline.data.limits import Preprocessing
from tests.support.pictures import encoded
from tests.support.project_clone import ROOT
from tests.support.synthetic_digits import synthetic_images

LABELS = np.tile(np.arange(10, dtype=np.uint8), 4)
IMAGES = synthetic_images(LABELS, np.random.default_rng(3))


def keep(folder: Path, label: object, image: Pixels, picture: str | None = None) -> Path:
    path = folder / file_of(str(label), picture or digest(image), image)
    write_bytes(path, encode(image))
    return path


def keep_all(folder: Path) -> None:
    for label, image in zip(LABELS, IMAGES, strict=True):
        keep(folder, label, image)


def test_the_images_are_read_pixel_by_pixel_with_label_picture_and_file(tmp_path: Path) -> None:
    seven = keep(tmp_path, 7, IMAGES[7], "0" * 16)
    none = keep(tmp_path, "none", IMAGES[0])
    (tmp_path / ".DS_Store").write_bytes(b"Finder")

    first, second = read(tmp_path)

    assert (first.label, first.picture, first.file) == ("7", "0" * 16, seven.relative_to(tmp_path).as_posix())
    assert (first.image == IMAGES[7]).all()
    assert (second.label, second.file) == ("none", none.relative_to(tmp_path).as_posix())
    assert read(tmp_path / "none" / "such") == []


@pytest.mark.parametrize("name", ["7/a.png", "a.png", "seven/{}.png", "7/old/{}.png", "7/{}.jpg", "10/{}.png"])
def test_a_file_that_the_review_did_not_write_is_named(tmp_path: Path, name: str) -> None:
    write_bytes(tmp_path / name.format(f"{digest(IMAGES[7])}-{digest(IMAGES[7])}"), encode(IMAGES[7]))

    with pytest.raises(DataError, match=r"expected .*/<label>/<picture>-<image>\.png with a digit or none as label"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "another file"),
        (encode(IMAGES[7])[:60], "another file"),
        (encoded(np.zeros((29, 28), np.uint8)), "28×29 of mode L"),
        (encoded(np.zeros((28, 28, 3), np.uint8)), "28×28 of mode RGB"),
        (encode(IMAGES[7]) + bytes(10_000), "another file"),
        (encode(IMAGES[8]), "hash .*, expected the one in its name"),
    ],
)
def test_a_file_that_is_another_image_is_named(tmp_path: Path, content: bytes, got: str) -> None:
    path = keep(tmp_path, 7, IMAGES[7])
    path.write_bytes(content)

    with pytest.raises(DataError, match=rf"{path.name}: .*{got}"):
        read(tmp_path)


def test_an_image_with_two_labels_is_named(tmp_path: Path) -> None:
    one, other = keep(tmp_path, 1, IMAGES[7], "1" * 16), keep(tmp_path, 7, IMAGES[7], "7" * 16)

    with pytest.raises(DataError, match=rf"expected each image once, got it as 1/{one.name} and as 7/{other.name}"):
        read(tmp_path)


def test_whether_a_picture_trains_depends_on_its_hash_and_the_share_alone() -> None:
    pictures = [digest(image) for image in synthetic_images(np.zeros(400, np.uint8), np.random.default_rng(1))]
    taken = {share: {picture for picture in pictures if trains(picture, share)} for share in (0.0, 0.3, 0.7)}

    assert taken[0.0] == set()
    assert taken[0.3] < taken[0.7]
    assert [len(taken[share]) / 400 for share in (0.3, 0.7)] == pytest.approx([0.3, 0.7], abs=0.07)


def test_of_a_picture_that_trains_no_image_is_scored(tmp_path: Path) -> None:
    keep_all(tmp_path)
    for image, picture in zip(255 - IMAGES[:6], ("0" * 16, "f" * 16) * 3, strict=True):
        keep(tmp_path, "none" if image[0, 0] == 0 else 5, image, picture)
    kept = read(tmp_path)
    nothing = Split(np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.uint8))

    joined = join(nothing, kept, 0.5)
    scored = without_trained(kept, joined.images)

    assert 10 < len(joined) < 36
    assert {one.picture for one in scored} == {one.picture for one in kept if not trains(one.picture, 0.5)}
    assert len(scored) + len(joined) == len(kept)
    assert not {one.image.tobytes() for one in scored} & {image.tobytes() for image in joined.images}
    assert [one.picture for one in scored].count("f" * 16) == 3


def run_normalise(
    folder: Path,
    share: float,
    classes: tuple[str, ...] = DIGITS,
    preprocessing: Preprocessing = "ink",
    images: Pixels = IMAGES,
) -> dict[str, bytes]:
    """Run the stage in the folder, and return the files that it wrote."""
    params = (ROOT / "params.yaml").read_text()
    assert "corrections_share: 0.0 " in params
    (folder / "params.yaml").write_text(params.replace("corrections_share: 0.0 ", f"corrections_share: {share} "))
    Description("tiny", classes, {}, preprocessing).save(folder / "artifacts/download/dataset.json")
    Split(255 - np.flip(images, 2) // 2 * 2, LABELS).save(folder / "artifacts/download", "test")
    Split(np.flip(images, 2).copy(), LABELS).save(folder / "artifacts/download", "train")
    normalise.main()
    return {path.name: path.read_bytes() for path in (folder / "artifacts/normalise").iterdir()}


def test_without_a_share_the_stage_writes_the_same_bytes_with_and_without_corrections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    without = run_normalise(tmp_path, 0.0)
    keep_all(tmp_path / "data" / "corrections")

    assert run_normalise(tmp_path, 0.0) == without
    assert run_normalise(tmp_path, 0.5, tuple("abcdefghij")) == without


def test_no_correction_joins_images_in_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    keep_all(tmp_path / "data" / "corrections")

    run_normalise(tmp_path, 0.5, preprocessing="none", images=paint(Split(IMAGES, LABELS), "random", 10, seed=1).images)

    train = load_split(tmp_path / "artifacts/normalise", "train", 10)
    assert (len(train), train.channels) == (30, 3)


def test_a_share_joins_the_training_images_and_no_validation_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    without = run_normalise(tmp_path, 0.0)
    keep_all(tmp_path / "data" / "corrections")
    keep(tmp_path / "data" / "corrections", "none", np.full((28, 28), 9, np.uint8), "0" * 16)

    joined = run_normalise(tmp_path, 0.5)

    train = load_split(tmp_path / "artifacts/normalise", "train", 10)
    expected = [one for one in read(tmp_path / "data/corrections") if one.label != "none" and trains(one.picture, 0.5)]
    assert 10 < len(expected) < 30
    assert (train.images[-len(expected) :] == [one.image for one in expected]).all()
    assert train.labels[-len(expected) :].tolist() == [int(one.label) for one in expected]
    assert {name for name in joined if joined[name] == without[name]} == {
        "validation_images.npy",
        "validation_labels.npy",
    }
    statistics = read_json(tmp_path / "artifacts/normalise/statistics.json")
    assert statistics["train_images"] == len(train) == 30 + len(expected)
