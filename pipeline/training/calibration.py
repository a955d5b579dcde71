"""Calibration of a trained classifier on the validation images: the temperature, and the threshold of the score."""

import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.model.classifier import Classifier
from pipeline.training.trainer import TensorSplit, Trainer

MAX_THRESHOLD: Final = 0.5  # where an image is as likely an outlier as not
TEMPERATURES: Final = (0.2, 5.0)  # the lowest and the highest
GOLDEN: Final = (math.sqrt(5) - 1) / 2


def calibrate_best(trainer: Trainer) -> tuple[float, float]:
    """Give the trainer's classifier the weights of the best epoch, calibrate it, and return temperature and threshold.

    It is left in evaluation mode.
    """
    trainer.classifier.load_state_dict(trainer.state.weights)
    return calibrate(trainer.classifier.eval(), trainer.validation_split, trainer.config.refused)


def calibrate(classifier: Classifier, validation: TensorSplit, refused: float) -> tuple[float, float]:
    """Set the temperature and the threshold of a classifier in evaluation mode, and return them.

    At most this share of the validation images is refused: scores below the threshold.
    """
    with torch.inference_mode():
        logits = torch.cat([classifier.logits(batch) for batch in torch.split(validation.images, 250)]).double()
    temperature = fit_temperature(logits[:, : classifier.classes], validation.labels)
    scores = 1 - (logits / temperature).softmax(dim=1)[:, classifier.classes :].sum(dim=1)
    has_scores = logits.shape[1] > classifier.classes
    threshold = min(MAX_THRESHOLD, highest_threshold(scores, refused)) if has_scores else 0.0
    classifier.temperature.fill_(temperature)
    classifier.threshold.fill_(threshold)
    return temperature, threshold


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The divisor of the logits with the lowest mean cross-entropy, to four digits.

    Guo et al., "On calibration of modern neural networks", 2017. The loss has one minimum over the inverse of the
    temperature, which is found by golden-section search over its logarithm. One image more, of an unknown class, is
    counted: without a single mistake among few images, certainty would be best (Platt, "Probabilistic outputs for
    support vector machines", 1999).
    """
    low, high = (math.log(limit) for limit in TEMPERATURES)
    unknown = 1 / (len(labels) + 1)

    def loss(log_temperature: float) -> float:
        return F.cross_entropy(logits / math.exp(log_temperature), labels, label_smoothing=unknown).item()

    while high - low > 1e-5:
        one, other = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        low, high = (low, other) if loss(one) < loss(other) else (one, high)
    return float(f"{math.exp((low + high) / 2):.4g}")


def highest_threshold(scores: Tensor, refused: float) -> float:
    """The highest threshold below which at most this share of the scores `(N,)` lies."""
    return float(scores.sort().values[int(refused * len(scores))])
