"""What training minimises."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

LossName = Literal["cross_entropy", "squared_error"]


def mean_loss(name: LossName, logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """The loss of logits `(N, C)` and labels `(N,)`, averaged over the batch.

    cross_entropy: minus the logarithm of the label's probability. squared_error: the squared distance between the
    probabilities and the label's one-hot vector, from 0 to 2, also known as the Brier score.
    """
    if name == "cross_entropy":
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    classes = logits.shape[1]
    target = F.one_hot(labels, classes) * (1 - label_smoothing) + label_smoothing / classes
    return (logits.softmax(dim=1) - target).square().sum(dim=1).mean()
