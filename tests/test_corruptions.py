"""The corruptions of MNIST-C, on synthetic digits."""

import numpy as np
import pytest

from pipeline.data.corruptions import CORRUPTIONS, corrupt
from pipeline.data.dataset import Split


def test_there_are_the_fifteen_of_mnist_c() -> None:
    assert len(CORRUPTIONS) == 15


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_changes_each_image_and_keeps_shape_and_type(digits: Split, name: str) -> None:
    before = digits.images.copy()

    corrupted = corrupt(digits.images, name, np.random.default_rng(1))

    assert corrupted.shape == digits.images.shape
    assert corrupted.dtype == np.uint8
    assert (corrupted != digits.images).any(axis=(1, 2)).all()
    assert np.array_equal(digits.images, before)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_seed_gives_the_same_images(digits: Split, name: str) -> None:
    one, other = (corrupt(digits.images[:20], name, np.random.default_rng(7)) for _ in range(2))

    assert np.array_equal(one, other)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_blank_image_can_be_corrupted(name: str) -> None:
    assert corrupt(np.zeros((2, 28, 28), np.uint8), name, np.random.default_rng(1)).shape == (2, 28, 28)


def test_a_moved_image_moves_by_whole_pixels(digits: Split) -> None:
    (moved,) = corrupt(digits.images[:1], "translate", np.random.default_rng(1))
    places = [np.roll(digits.images[0], (y, x), (0, 1)) for y in (-3, 3) for x in (-3, 3)]

    assert any(np.array_equal(moved, place) for place in places)


def test_a_stripe_leaves_the_middle_as_it_was(digits: Split) -> None:
    striped = corrupt(digits.images, "stripe", np.random.default_rng(1))

    assert np.array_equal(striped[:, :, 7:21], digits.images[:, :, 7:21])
    assert np.array_equal(striped[:, :, :7], 255 - digits.images[:, :, :7])


def test_edges_surround_a_stroke_and_leave_it_hollow() -> None:
    square = np.zeros((1, 28, 28), np.uint8)
    square[:, 8:20, 8:20] = 255

    (edges,) = corrupt(square, "canny_edges", np.random.default_rng(1))

    assert set(np.unique(edges)) == {0, 255}
    assert not edges[11:17, 11:17].any()
    assert edges[14, 6:10].any()
    assert edges[14, 18:22].any()
    assert not edges[:, :5].any()
