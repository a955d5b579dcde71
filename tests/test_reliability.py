"""Measures of calibration, compared with values calculated by hand and with scikit-learn's."""

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.reports.calibration import (
    Bin,
    auroc,
    brier_score,
    coverage_accuracy,
    expected_calibration_error,
    reliability,
)
from pipeline.reports.plots import coverage_curve, reliability_diagram


def floats(*values: float) -> npt.NDArray[np.float64]:
    return np.array(values)


def hits(*values: int) -> npt.NDArray[np.bool_]:
    return np.array(values, np.bool_)


def test_a_bin_has_the_mean_confidence_and_the_accuracy_of_its_images() -> None:
    bins = reliability(floats(0.5, 0.75, 1.0, 0.1), hits(1, 0, 1, 0), bins=4)

    assert bins == [Bin(1, 1, 0.1, 0.0), Bin(3, 1, 0.5, 1.0), Bin(4, 2, 0.875, 0.5)]


def test_a_confidence_between_two_bins_belongs_to_the_upper_one_and_certainty_to_the_last() -> None:
    assert [part.number for part in reliability(floats(0.0, 0.5, 1.0), hits(0, 0, 1), bins=2)] == [1, 2]


def test_the_calibration_error_equals_that_calculated_by_hand() -> None:
    bins = reliability(floats(0.5, 0.75, 1.0, 0.1), hits(1, 0, 1, 0), bins=4)

    assert expected_calibration_error(bins) == pytest.approx((0.1 + 0.5 + 2 * 0.375) / 4)


def test_confidences_that_say_how_often_they_are_right_have_no_calibration_error() -> None:
    assert expected_calibration_error(reliability(floats(*[0.75] * 4), hits(1, 1, 0, 1))) == 0
    assert expected_calibration_error([]) == 0


def test_the_brier_score_is_0_for_certainty_and_2_for_certainty_of_another_class() -> None:
    probabilities = np.array([[1, 0], [0, 1], [0.5, 0.5]], np.float32)

    assert brier_score(probabilities, np.array([0, 0, 0])) == pytest.approx((0 + 2 + 0.5) / 3)


def test_the_most_confident_answers_are_covered_first() -> None:
    curve = coverage_accuracy(floats(0.2, 0.9, 0.8, 0.4), hits(0, 1, 1, 1), steps=4)

    assert curve.tolist() == [1, 1, 1, 0.75]


def test_a_curve_of_few_images_has_all_its_steps() -> None:
    assert coverage_accuracy(floats(0.2), hits(1)).tolist() == [1] * 100


def test_the_auroc_counts_pairs_in_the_right_order_and_ties_as_half() -> None:
    assert auroc(floats(0.9, 0.5), floats(0.1, 0.5)) == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    assert auroc(floats(1, 1), floats(1, 1, 1)) == 0.5


def test_the_auroc_equals_that_of_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(4)
    positive, negative = rng.random(80).round(1), (0.8 * rng.random(50)).round(1)
    labels = [1] * 80 + [0] * 50

    assert auroc(positive, negative) == pytest.approx(roc_auc_score(labels, [*positive, *negative]))


def test_the_figures_are_pictures_and_the_same_each_time() -> None:
    def draw() -> list[bytes]:
        bins = {"test": reliability(floats(0.5, 0.9), hits(0, 1)), "handwriting": []}
        return [reliability_diagram(bins), coverage_curve({"test": coverage_accuracy(floats(0.5, 0.9), hits(0, 1))})]

    assert draw() == draw()
    assert all(figure.startswith(b"\x89PNG") for figure in draw())
