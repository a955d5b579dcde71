"""Images in colour: how they are made of grey ones, and the way of three channels from the archive to the ONNX file."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from pipeline.core.errors import DataError, ParamsError
from pipeline.data.colours import (
    MIN_DISTANCE,
    apply,
    class_inks,
    distant_colours,
    from_hsv,
    paint,
    random_colours,
    to_grey,
)
from pipeline.data.corruptions import corrupt
from pipeline.data.dataset import DIGITS, Description, Split, load_split
from pipeline.data.image import preprocess
from pipeline.export import OUTPUTS, check_agreement, golden_pictures, to_onnx, trace
from pipeline.model import classifier
from pipeline.model.classifier import to_images, to_pixels
from pipeline.model.summary import list_layers
from pipeline.training import fit
from pipeline.training.augmentation import AugmentationParams, augment
from pipeline.training.fitted import FittedModel
from pipeline.training.outliers import make_outliers
from tests.support.pictures import encoded

MNIST = Description("mnist", DIGITS, {})
STILL = AugmentationParams(shift=0, rotation=0, scale=0, shear=0, elastic=0, stroke=0, erase=0, mirror=False)


@pytest.fixture(scope="module")
def coloured(digits: Split) -> Split:
    return paint(digits, "class", 10, seed=1)


@pytest.fixture(scope="module")
def fitted(coloured: Split) -> FittedModel:
    return fit(
        coloured.images,
        coloured.labels,
        cnn={"widths": [4, 8, 8], "dropout": 0.0},
        epochs=3,
        batch=20,
        outliers=0.1,
    )


def test_the_same_seed_gives_the_same_colours_and_another_one_others(digits: Split) -> None:
    one, again, other = (paint(digits, "random", 10, seed=seed).images for seed in (1, 1, 2))

    assert one.shape == (200, 28, 28, 3)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_pixel_lies_between_paper_and_ink_as_it_does_in_the_archive(digits: Split) -> None:
    pages = np.zeros((1, 28, 28), np.uint8)
    pages[0, 5, 5:8] = (255, 128, 0)

    painted = paint(Split(pages, np.zeros(1, np.uint8)), "random", 10, seed=1).images[0].astype(float)

    ink, half, paper = painted[5, 5:8]
    assert np.linalg.norm(ink - paper) >= MIN_DISTANCE - 1
    assert half == pytest.approx((ink * 128 + paper * 127) / 255, abs=1)
    assert np.array_equal(painted[0, 0], paper)


def test_ink_and_paper_always_differ() -> None:
    rng = np.random.default_rng(1)
    inks = random_colours(5000, rng)

    distances = np.linalg.norm(distant_colours(inks, rng) - inks, axis=1)

    assert distances.min() >= MIN_DISTANCE


def test_the_colour_wheel_starts_at_red_and_ends_there() -> None:
    hues = np.array([0, 1 / 6, 1 / 3, 2 / 3, 1])

    colours = from_hsv(hues, np.ones(5), np.ones(5))

    expected = [[255, 0, 0], [255, 255, 0], [0, 255, 0], [0, 0, 255], [255, 0, 0]]
    assert colours == pytest.approx(np.array(expected), abs=1e-3)
    assert from_hsv(np.array([0.3]), np.zeros(1), np.array([0.5])) == pytest.approx(127.5)  # grey


def test_an_ink_says_something_about_its_class_and_not_all() -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), 500)
    inks = class_inks(labels, 10, np.random.default_rng(1))
    means = np.stack([inks[labels == label].mean(axis=0) for label in range(10)])

    nearest = np.linalg.norm(inks[:, None] - means, axis=2).argmin(axis=1)

    assert 0.2 < (nearest == labels).mean() < 0.6


def test_grey_is_what_the_service_makes_of_the_picture(coloured: Split) -> None:
    grey = to_grey(coloured)

    assert grey.images.shape == (200, 28, 28)
    assert np.array_equal(grey.images[7], preprocess(encoded(coloured.images[7]), "none").image)


def test_a_picture_keeps_its_colours_for_three_channels(coloured: Split) -> None:
    assert np.array_equal(preprocess(encoded(coloured.images[7]), "none", 3).image, coloured.images[7])
    wide = np.full((30, 60, 3), (200, 30, 90), np.uint8)
    image = preprocess(encoded(wide), "none", 3).image
    assert image[14].tolist() == [[200, 30, 90]] * 28
    assert not image[:7].any()


def test_the_parameters_decide_about_colours_and_channels(digits: Split) -> None:
    grey = apply((MNIST, digits, digits), "none", 1)
    coloured = apply((MNIST, digits, digits), "random", 3)
    one_channel = apply((MNIST, digits, digits), "random", 1)

    assert grey == (MNIST, digits, digits)
    assert (coloured[0].name, coloured[0].preprocessing, coloured[1].channels) == ("mnist_random_colours", "none", 3)
    assert not np.array_equal(coloured[1].images, coloured[2].images)  # training and test images have other colours
    assert np.array_equal(one_channel[2].images, to_grey(coloured[2]).images)


def test_what_the_images_do_not_have_is_refused(digits: Split, coloured: Split) -> None:
    with pytest.raises(ParamsError, match=r"download\.channels: got 3, expected 1 for the grey images of mnist, or a"):
        apply((MNIST, digits, digits), "none", 3)
    with pytest.raises(ParamsError, match=r"download\.colouring: got random, expected none for images in colour"):
        apply((MNIST, coloured, coloured), "random", 3)


def test_images_in_colour_are_saved_and_loaded(tmp_path: Path, coloured: Split) -> None:
    coloured.save(tmp_path, "train")

    assert load_split(tmp_path, "train", 10).channels == 3
    np.save(tmp_path / "train_images.npy", coloured.images[..., :2])
    with pytest.raises(
        DataError, match=r"expected an array of uint8 \(N, 28, 28\) or \(N, 28, 28, 3\), got uint8 \(200"
    ):
        load_split(tmp_path, "train", 10)


def test_pixels_and_images_are_each_others_inverse(digits: Split, coloured: Split) -> None:
    for split in (digits, coloured):
        images = torch.from_numpy(split.images)
        assert to_pixels(images).shape == (200, split.channels, 28, 28)
        assert torch.equal(to_images(to_pixels(images)), images)


def test_a_moved_image_shows_more_of_its_paper(coloured: Split) -> None:
    pixels = to_pixels(torch.from_numpy(coloured.images))
    params = STILL.model_copy(update={"shift": 4.0})

    moved = augment(pixels, params, torch.Generator().manual_seed(1))

    corners = [pixels[:, :, 0, 0], moved[:, :, 0, 0]]
    assert torch.allclose(*corners, atol=1e-5)


def test_outliers_have_colours_too(coloured: Split) -> None:
    pixels, labels = to_pixels(torch.from_numpy(coloured.images)), torch.from_numpy(coloured.labels)

    made = make_outliers(pixels, labels, 100, False, torch.Generator().manual_seed(1))

    assert made.shape == (100, 3, 28, 28)
    assert (made.amax(dim=1) - made.amin(dim=1)).amax(dim=(1, 2)).min() > 0


def test_a_corruption_is_the_same_in_each_channel(digits: Split) -> None:
    alike = np.repeat(digits.images[:5, ..., None], 3, axis=3)

    corrupted = corrupt(alike, "rotate", np.random.default_rng(1))

    assert corrupted.shape == (5, 28, 28, 3)
    expected = corrupt(digits.images[:5], "rotate", np.random.default_rng(1))
    assert all(np.array_equal(corrupted[..., channel], expected) for channel in range(3))


def test_a_network_takes_its_channels_from_the_images(fitted: FittedModel, digits: Split) -> None:
    layers = list_layers(fitted.classifier)

    assert fitted.architecture.channels == 3
    assert layers[0][2:] == (3 * 4 * 25, 3 * 4 * 25 * 24**2)
    assert fit(digits.images, digits.labels, epochs=1, batch=20).architecture.channels == 1


def test_a_saved_network_of_one_channel_is_written_as_before_there_were_three(
    tmp_path: Path, fitted: FittedModel, digits: Split
) -> None:
    fitted.save(tmp_path / "three")
    fit(digits.images, digits.labels, epochs=1, batch=20).save(tmp_path / "one")

    assert classifier.load(tmp_path / "three").channels == 3
    assert classifier.load(tmp_path / "one").channels == 1
    assert "channels" not in (tmp_path / "one" / "architecture.json").read_text(encoding="utf-8")


def test_the_exported_model_answers_images_in_colour_as_the_trained_one(fitted: FittedModel, coloured: Split) -> None:
    golden = golden_pictures(fitted.classifier, coloured, 10, "none")
    content = to_onnx(trace(fitted.classifier), 20, golden)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    assert session.get_inputs()[0].shape == ["N", 28, 28, 3]
    exported = session.run(OUTPUTS, {"images": coloured.images})
    trained = [fitted.probabilities(coloured.images), fitted.scores(coloured.images)]
    assert check_agreement(trained, exported) < 1e-4
