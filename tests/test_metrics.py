"""The metrics, compared with values calculated by hand and with scikit-learn's."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.data.dataset import Split
from pipeline.reports.metrics import confusion_matrix, cross_entropy, per_class
from pipeline.reports.predictions import Predictions, compute_metrics, draw_sheet, header, rows, worst_mistakes

LABELS = np.array([0, 0, 0, 0, 1, 1, 2], np.uint8)
DIGITS = np.array([0, 0, 1, 2, 1, 1, 1])


def predictions(*rows: list[float]) -> npt.NDArray[np.float32]:
    return np.array(rows, np.float32)


def sure(*rows: list[float]) -> Predictions:
    """Of images that all show one of the classes for certain."""
    return Predictions(predictions(*rows), np.ones(len(rows), np.float32), 0.5)


def blank(*labels: int) -> Split:
    return Split(np.zeros((len(labels), 28, 28), np.uint8), np.array(labels, np.uint8))


def test_the_confusion_matrix_has_a_row_per_label_and_a_column_per_prediction() -> None:
    assert confusion_matrix(LABELS, DIGITS, 3).tolist() == [[2, 1, 1], [0, 2, 0], [0, 1, 0]]


def test_the_confusion_matrix_has_room_for_classes_that_never_occur() -> None:
    assert confusion_matrix(LABELS, DIGITS, 10).shape == (10, 10)
    assert confusion_matrix(np.full(3, 255, np.uint8), np.full(3, 255), 256)[255, 255] == 3


def test_precision_recall_and_f1_equal_those_calculated_by_hand() -> None:
    classes = per_class(confusion_matrix(LABELS, DIGITS, 3))
    assert classes.precision.tolist() == [1, 0.5, 0]
    assert classes.recall.tolist() == [0.5, 1, 0]
    assert classes.f1.tolist() == pytest.approx([2 / 3, 2 / 3, 0])


def test_a_class_that_never_occurs_has_zeros_and_no_warning() -> None:
    classes = per_class(confusion_matrix(LABELS, DIGITS, 4))
    assert (classes.precision[3], classes.recall[3], classes.f1[3]) == (0, 0, 0)


def test_the_metrics_equal_those_of_scikit_learn() -> None:
    from sklearn.metrics import confusion_matrix as theirs
    from sklearn.metrics import precision_recall_fscore_support

    rng = np.random.default_rng(5)
    labels, digits = rng.integers(0, 10, 500, np.uint8), rng.integers(0, 10, 500)
    confusion = confusion_matrix(labels, digits, 10)
    ours = per_class(confusion)
    assert np.array_equal(confusion, theirs(labels, digits))
    expected = precision_recall_fscore_support(labels, digits)[:3]
    assert np.allclose([ours.precision, ours.recall, ours.f1], expected)


def test_cross_entropy_is_the_negative_log_of_the_labels_probability() -> None:
    losses = cross_entropy(predictions([0.5, 0.5], [0.25, 0.75], [0, 1]), np.array([0, 1, 1], np.uint8))
    assert losses.tolist() == pytest.approx([math.log(2), -math.log(0.75), 0])


def test_a_label_of_probability_0_has_a_large_but_finite_loss() -> None:
    (loss,) = cross_entropy(predictions([0, 1]), np.array([0], np.uint8))
    assert 80 < loss < 90


def test_the_worst_mistakes_come_first_and_correct_predictions_never() -> None:
    probabilities = sure([0.4, 0.6], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.7, 0.3])
    labels = blank(0, 0, 0, 0, 1)  # wrong, right, wrong, wrong, wrong
    assert worst_mistakes(labels, probabilities, 9).tolist() == [2, 3, 4, 0]
    assert worst_mistakes(labels, probabilities, 2).tolist() == [2, 3]


def test_mistakes_with_the_same_loss_come_in_the_order_of_the_images() -> None:
    assert worst_mistakes(blank(0, 0, 0), sure(*[[0.2, 0.8]] * 3), 2).tolist() == [0, 1]


def test_without_mistakes_the_list_is_empty() -> None:
    assert worst_mistakes(blank(0, 1), sure([0.9, 0.1], [0.1, 0.9]), 5).tolist() == []


def test_the_metrics_of_a_split_equal_those_calculated_by_hand() -> None:
    probabilities = sure([0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.5, 0.25])
    scores = compute_metrics(blank(0, 1, 1, 2), probabilities)
    assert scores == {
        "images": 4,
        "loss": pytest.approx((2 * math.log(2) + 2 * math.log(4)) / 4),
        "brier": pytest.approx((0.375 + 0.875 + 0.375 + 0.875) / 4),
        "accuracy": 0.5,
        "precision": pytest.approx((0.5 + 0.5 + 0) / 3),
        "recall": pytest.approx((1 + 0.5 + 0) / 3),
        "f1": pytest.approx((2 / 3 + 0.5 + 0) / 3),
        "refused": 0,
        "ece": 0,
    }


def test_a_refused_image_counts_for_the_accuracy_and_not_for_the_calibration_of_answers() -> None:
    scores = np.array([0.9, 0.2], np.float32)
    metrics = compute_metrics(blank(0, 0), Predictions(predictions([1, 0], [0, 1]), scores, 0.5))
    assert (metrics["refused"], metrics["accuracy"]) == (0.5, 0.5)
    assert metrics["ece"] == pytest.approx(0.1)


def test_the_confidence_is_the_probability_times_the_score() -> None:
    assert Predictions(predictions([0.75, 0.25]), np.array([0.5], np.float32), 0).confidences.tolist() == [0.375]


def test_a_row_of_the_table_has_label_prediction_confidence_score_and_probabilities() -> None:
    assert rows(["a.png"], blank(1), sure([0.75, 0.25])) == [
        ["a.png", 1, 0, "0.750000", "1.000000", "0.7500000", "0.2500000"]
    ]
    assert header(2) == ["label", "digit", "confidence", "score", "p0", "p1"]


def test_a_sheet_of_no_images_is_a_picture() -> None:
    nothing = sure([0.5, 0.5]).take(np.zeros(0, np.int64))
    assert draw_sheet(blank(), nothing, ("a", "b")).startswith(b"\x89PNG")
