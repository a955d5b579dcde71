"""The validation split is stratified and seeded; the statistics are those of the training pixels."""

import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.data.dataset import Split
from pipeline.normalise import check_polarity, split, statistics

MIXED = np.random.default_rng(0).choice(3, 600, p=[0.6, 0.3, 0.1]).astype(np.uint8)


@pytest.mark.parametrize("share", [0.05, 0.25, 0.9])
def test_each_class_gives_the_same_share(share: float) -> None:
    validates = split(MIXED, share, seed=1)
    for label in range(3):
        assert validates[label == MIXED].sum() == round(share * np.count_nonzero(label == MIXED))


def test_every_image_is_in_one_part_and_in_one_alone(digits: Split) -> None:
    validates = split(digits.labels, 0.25, seed=1)
    assert validates.shape == (len(digits),)
    train, validation = digits.take(np.flatnonzero(~validates)), digits.take(np.flatnonzero(validates))
    assert (len(train), len(validation)) == (150, 50)
    shown = sorted(image.tobytes() for part in (train, validation) for image in part.images)
    assert shown == sorted(image.tobytes() for image in digits.images)


def test_the_seed_decides_which_images_validate() -> None:
    assert np.array_equal(split(MIXED, 0.25, seed=1), split(MIXED, 0.25, seed=1))
    assert not np.array_equal(split(MIXED, 0.25, seed=1), split(MIXED, 0.25, seed=2))


def test_the_images_of_a_class_that_validate_are_drawn_not_the_first(digits: Split) -> None:
    first = np.flatnonzero(split(digits.labels, 0.5, seed=1))
    assert 90 < first.mean() < 110


def test_a_class_gives_at_least_one_image() -> None:
    validates = split(np.array([0] * 100 + [1] * 2, np.uint8), 0.01, seed=1)
    assert (validates[:100].sum(), validates[100:].sum()) == (1, 1)


@pytest.mark.parametrize(("labels", "share"), [([0, 0, 1], 0.1), ([0] * 10 + [1] * 100, 0.96)])
def test_a_share_that_leaves_nothing_to_train_on_is_refused(labels: list[int], share: float) -> None:
    with pytest.raises(DataError, match=rf"normalise\.validation_share: got {share}, which leaves none of the"):
        split(np.array(labels, np.uint8), share, seed=1)


def test_the_statistics_are_those_of_numpy(digits: Split) -> None:
    mean, deviation = statistics(digits.images)
    pixels = digits.images / 255
    assert mean == pytest.approx(pixels.mean(), rel=1e-12)
    assert deviation == pytest.approx(pixels.std(), rel=1e-12)


def test_the_synthetic_digits_have_statistics_like_those_of_mnist(digits: Split) -> None:
    assert statistics(digits.images) == pytest.approx((0.1307, 0.3081), abs=0.02)


@pytest.mark.parametrize("grey", [0, 51, 255])
def test_a_flat_image_has_no_deviation(grey: int) -> None:
    assert statistics(np.full((2, 28, 28), grey, np.uint8)) == pytest.approx((grey / 255, 0), abs=1e-12)


def test_white_ink_on_black_paper_has_the_right_polarity(digits: Split) -> None:
    check_polarity(digits.images)


def test_dark_ink_on_bright_paper_is_refused(digits: Split) -> None:
    with pytest.raises(DataError, match=r"train_images\.npy: got bright corners \(255\), expected 0 = paper"):
        check_polarity(255 - digits.images)
