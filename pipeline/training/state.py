"""The results of a training run so far: its history, row by row, and the best weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from torch import Tensor


class StepRow(NamedTuple):
    """Mean loss over the steps since the last row, and the learning rate of this step."""

    step: int
    loss: float
    learning_rate: float


class EpochRow(NamedTuple):
    """Loss and accuracy, 0 to 1: on the augmented training images, made ones
    included, during the epoch, and on the validation images."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float


Row = StepRow | EpochRow


@dataclass
class TrainState:
    """The best epoch and its weights, on the CPU, the history, and the seconds of training so far."""

    best: EpochRow | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    epochs: list[EpochRow] = field(default_factory=list)
    steps: list[StepRow] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The state with these attributes; rows may be lists, as they are in JSON."""
        best = EpochRow(*values["best"]) if values["best"] else None
        epochs, steps = [EpochRow(*row) for row in values["epochs"]], [StepRow(*row) for row in values["steps"]]
        return cls(best, dict(values["weights"]), epochs, steps, float(values["seconds"]))
