"""The validation split is stratified and seeded; the statistics are those of the training pixels."""

import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.data.dataset import Split
from pipeline.data.normalisation import pixel_statistics
from pipeline.data.validation_split import validation_mask
from pipeline.normalise import check_polarity

MIXED = np.random.default_rng(0).choice(3, 600, p=[0.6, 0.3, 0.1]).astype(np.uint8)


@pytest.mark.parametrize("share", [0.05, 0.25, 0.9])
def test_each_class_contributes_the_same_share(share: float) -> None:
    mask = validation_mask(MIXED, share, seed=1)
    for label in range(3):
        assert mask[label == MIXED].sum() == round(share * np.count_nonzero(label == MIXED))


def test_every_image_is_in_exactly_one_split(digits: Split) -> None:
    mask = validation_mask(digits.labels, 0.25, seed=1)
    assert mask.shape == (len(digits),)
    train, validation = digits.take(np.flatnonzero(~mask)), digits.take(np.flatnonzero(mask))
    assert (len(train), len(validation)) == (150, 50)
    found = sorted(image.tobytes() for split in (train, validation) for image in split.images)
    assert found == sorted(image.tobytes() for image in digits.images)


def test_the_seed_decides_which_images_validate() -> None:
    assert np.array_equal(validation_mask(MIXED, 0.25, seed=1), validation_mask(MIXED, 0.25, seed=1))
    assert not np.array_equal(validation_mask(MIXED, 0.25, seed=1), validation_mask(MIXED, 0.25, seed=2))


def test_the_validation_images_of_a_class_are_drawn_at_random_not_the_first(digits: Split) -> None:
    first = np.flatnonzero(validation_mask(digits.labels, 0.5, seed=1))
    assert 90 < first.mean() < 110


def test_a_class_contributes_at_least_one_image() -> None:
    mask = validation_mask(np.array([0] * 100 + [1] * 2, np.uint8), 0.01, seed=1)
    assert (mask[:100].sum(), mask[100:].sum()) == (1, 1)


@pytest.mark.parametrize(("labels", "share"), [([0, 0, 1], 0.1), ([0] * 10 + [1] * 100, 0.96)])
def test_a_share_that_leaves_nothing_to_train_on_is_rejected(labels: list[int], share: float) -> None:
    with pytest.raises(DataError, match=rf"normalise\.validation_share: got {share}, which leaves none of the"):
        validation_mask(np.array(labels, np.uint8), share, seed=1)


def test_the_statistics_equal_numpys(digits: Split) -> None:
    mean, deviation = pixel_statistics(digits.images)
    pixels = digits.images / 255
    assert mean == pytest.approx(pixels.mean(), rel=1e-12)
    assert deviation == pytest.approx(pixels.std(), rel=1e-12)


def test_the_synthetic_digits_have_statistics_similar_to_mnists(digits: Split) -> None:
    assert pixel_statistics(digits.images) == pytest.approx((0.1307, 0.3081), abs=0.02)


@pytest.mark.parametrize("grey", [0, 51, 255])
def test_a_uniform_image_has_no_deviation(grey: int) -> None:
    assert pixel_statistics(np.full((2, 28, 28), grey, np.uint8)) == pytest.approx((grey / 255, 0), abs=1e-12)


def test_bright_ink_on_dark_paper_has_the_right_polarity(digits: Split) -> None:
    check_polarity(digits.images)


def test_dark_ink_on_bright_paper_is_rejected(digits: Split) -> None:
    with pytest.raises(DataError, match=r"train_images\.npy: got bright corners \(255\), expected 0 = paper"):
        check_polarity(255 - digits.images)
