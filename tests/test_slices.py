"""Slices: pictures made of images of digits, and the scores of a network on them."""

import numpy as np
import pytest

from pipeline.data.dataset import Split
from pipeline.data.slices import PICTURE, SLICES, enlarge, see, skeleton, slice_images
from pipeline.model.classifier import Classifier
from pipeline.model.networks import CnnParams, cnn
from pipeline.reports.robustness import score_corruptions, score_slices, spread


@pytest.fixture
def network() -> Classifier:
    return Classifier(cnn(CnnParams(widths=[4, 8, 8], dropout=0.0), 11), 0.13, 0.31, classes=10).eval()


@pytest.mark.parametrize("name", SLICES)
def test_a_slice_is_a_picture_with_ink_and_paper(digits: Split, name: str) -> None:
    picture = SLICES[name](enlarge(digits.images[3]), np.random.default_rng(1))

    assert min(picture.shape) >= 8
    assert np.ptp(picture.round().clip(0, 255)) > 50


@pytest.mark.parametrize("name", SLICES)
def test_a_slice_is_the_same_each_time_and_has_an_image_for_each_image(digits: Split, name: str) -> None:
    (one, found), (other, _) = (slice_images(digits.images[:5], name, np.random.default_rng(1)) for _ in range(2))

    assert np.array_equal(one, other)
    assert one.shape == (5, 28, 28)
    assert one.dtype == np.uint8
    assert found.shape == (5,)


@pytest.mark.parametrize("name", SLICES)
def test_a_blank_image_makes_a_picture_too(name: str) -> None:
    assert slice_images(np.zeros((1, 28, 28), np.uint8), name, np.random.default_rng(1))[0].shape == (1, 28, 28)


def test_nothing_is_found_on_plain_paper() -> None:
    image, found = see(np.full((PICTURE, PICTURE), 250.0))

    assert not found
    assert not image.any()


def test_a_thin_pen_draws_thinner_and_a_thick_one_thicker(digits: Split) -> None:
    ink = {name: slice_images(digits.images[:20], name, np.random.default_rng(1))[0].mean() for name in SLICES}

    assert ink["pen_thin"] < digits.images[:20].mean() < ink["pen_thick"]


def test_a_skeleton_is_one_pixel_wide_and_as_long_as_its_stroke() -> None:
    stroke = np.zeros((20, 40), np.bool_)
    stroke[7:12, 5:35] = True

    thin = skeleton(stroke)

    assert thin.sum(axis=0).max() == 1
    assert 24 <= thin.sum() <= 30
    assert not (thin & ~stroke).any()


def test_a_ring_keeps_its_hole() -> None:
    y, x = np.mgrid[:40, :40] - 20
    ring = np.abs(np.hypot(y, x) - 12) < 3

    thin = skeleton(ring)

    assert thin.sum() < 0.4 * ring.sum()
    assert {int(np.hypot(y, x).round()) for y, x in np.argwhere(thin) - 20} <= {10, 11, 12, 13, 14}
    assert thin[20, :20].any()
    assert thin[20, 20:].any()


def test_each_slice_and_each_corruption_is_scored(digits: Split, network: Classifier) -> None:
    few = spread(digits, 4)

    slices, corruptions = score_slices(network, few, 1), score_corruptions(network, few, 1)

    assert [score.slice for score in slices] == list(SLICES)
    assert len(corruptions) == 15
    assert all(score.images == 4 and score.wrong + score.refused <= 1 for score in slices + corruptions)
    assert score_slices(network, few, 1) == slices


def test_a_network_that_refuses_everything_answers_nothing_wrong(digits: Split, network: Classifier) -> None:
    network.threshold.fill_(1.1)

    assert {(score.refused, score.wrong) for score in score_corruptions(network, spread(digits, 3), 1)} == {(1, 0)}


def test_images_are_taken_from_the_whole_split(digits: Split) -> None:
    assert np.array_equal(spread(digits, 2).images, digits.images[[0, -1]])
    assert len(spread(digits, 999)) == len(digits)
