"""Calibration: the temperature of the probabilities, and the threshold of the score."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.model.classifier import Classifier
from pipeline.training.calibration import calibrate, fit_temperature, highest_threshold
from pipeline.training.trainer import TensorSplit


def logits_and_labels(count: int = 4000) -> tuple[Tensor, Tensor]:
    """Logits whose probabilities are right: labels are drawn from them."""
    generator = torch.Generator().manual_seed(1)
    logits = 2 * torch.randn(count, 10, generator=generator, dtype=torch.float64)
    return logits, torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_factor_of_the_logits(factor: float) -> None:
    logits, labels = logits_and_labels()
    assert fit_temperature(factor * logits, labels) == pytest.approx(factor, rel=0.05)


def test_a_few_images_without_a_mistake_do_not_make_the_model_certain() -> None:
    logits = 4 * torch.eye(10, dtype=torch.float64).repeat(5, 1)
    labels = torch.arange(10).repeat(5)
    probabilities = (logits / fit_temperature(logits, labels)).softmax(dim=1).amax(dim=1)
    assert 0.95 < probabilities.min() < 0.99


@pytest.mark.parametrize(("refused", "count"), [(0.0, 0), (0.1, 100), (0.0999, 99)])
def test_the_threshold_refuses_the_given_share_of_the_scores(refused: float, count: int) -> None:
    scores = torch.rand(1000, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert (scores < highest_threshold(scores, refused)).sum() == count


class Linear(nn.Sequential):
    """A network of this many outputs, which are pixels of the image."""

    def __init__(self, outputs: int) -> None:
        layer = nn.Linear(784, outputs, bias=False)
        nn.init.eye_(layer.weight)
        super().__init__(nn.Flatten(), layer)


def one_hot(labels: Tensor) -> TensorSplit:
    images = torch.zeros(len(labels), 28, 28, dtype=torch.uint8)
    images[torch.arange(len(labels)), 0, labels] = 255
    return TensorSplit(images, labels)


def test_a_classifier_without_an_output_for_outliers_refuses_nothing() -> None:
    classifier = Classifier(Linear(10), 0, 0.1, classes=10).eval()
    _, threshold = calibrate(classifier, one_hot(torch.arange(10)), refused=0.1)
    _, scores = classifier(one_hot(torch.arange(10)).images)
    assert threshold == 0
    assert scores.tolist() == [1.0] * 10


def test_the_threshold_is_never_above_one_half_and_both_values_are_saved_with_the_weights() -> None:
    classifier = Classifier(Linear(11), 0, 0.1, classes=10).eval()
    temperature, threshold = calibrate(classifier, one_hot(torch.arange(10).repeat(20)), refused=0.05)
    probabilities, scores = classifier(one_hot(torch.tensor([3, 10])).images)
    saved = classifier.state_dict()
    assert threshold == saved["threshold"] == 0.5
    assert saved["temperature"].item() == pytest.approx(temperature)
    assert temperature != 1
    assert scores[0] > 0.99 > 0.1 > scores[1]
    assert probabilities.sum(dim=1).tolist() == pytest.approx([1, 1])
    assert torch.allclose(probabilities[1], torch.full((10,), 0.1))
