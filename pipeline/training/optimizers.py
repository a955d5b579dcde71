"""Optimizers and learning-rate schedulers by their names in params.yaml."""

from typing import Annotated, Literal

from pydantic import Field
from torch import nn, optim
from torch.optim import lr_scheduler

from pipeline.core.config import Section


class OptimizerParams(Section):
    name: Literal["sgd", "adam", "adamw", "adadelta", "adagrad", "rmsprop"]
    learning_rate: Annotated[float, Field(gt=0, le=10)]
    """The maximum rate of the schedule."""
    momentum: Annotated[float, Field(ge=0, lt=1)]
    """Nesterov momentum for `sgd`, plain momentum for `rmsprop`; the others have none."""
    weight_decay: Annotated[float, Field(ge=0, lt=1)]


class ScheduleParams(Section):
    name: Literal["constant", "step", "exponential", "cosine", "one_cycle"]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    """`one_cycle`: share of the steps during which the rate rises."""
    gamma: Annotated[float, Field(gt=0, le=1)]
    """`step`, `exponential`: factor by which the rate is multiplied."""
    step_epochs: Annotated[int, Field(ge=1)]
    """`step`: epochs between two reductions."""


def build_optimizer(params: OptimizerParams, network: nn.Module) -> optim.Optimizer:
    rate, decay, momentum = params.learning_rate, params.weight_decay, params.momentum
    weights = network.parameters()
    match params.name:
        case "sgd":
            return optim.SGD(weights, rate, momentum=momentum, nesterov=momentum > 0, weight_decay=decay)
        case "adam":
            return optim.Adam(weights, rate, weight_decay=decay)
        case "adamw":
            return optim.AdamW(weights, rate, weight_decay=decay)
        case "adadelta":
            return optim.Adadelta(weights, rate, weight_decay=decay)
        case "adagrad":
            return optim.Adagrad(weights, rate, weight_decay=decay)
        case "rmsprop":
            return optim.RMSprop(weights, rate, momentum=momentum, weight_decay=decay)


def build_lr_scheduler(
    params: ScheduleParams, optimizer: optim.Optimizer, epochs: int, steps_per_epoch: int
) -> lr_scheduler.LRScheduler:
    """A scheduler that is stepped after every batch."""
    steps = epochs * steps_per_epoch
    match params.name:
        case "constant":
            return lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        case "step":
            return lr_scheduler.StepLR(optimizer, params.step_epochs * steps_per_epoch, params.gamma)
        case "exponential":
            return lr_scheduler.LambdaLR(optimizer, lambda step: params.gamma ** (step // steps_per_epoch))
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, steps)
        case "one_cycle":
            # Smith and Topin, "Super-convergence", 2018; linear up and down.
            return lr_scheduler.LambdaLR(optimizer, lambda step: _triangle(step / steps, params.warmup))


def _triangle(progress: float, warmup: float) -> float:
    rise = progress / warmup if warmup else 1.0
    return max(1e-3, min(rise, (1 - progress) / (1 - warmup)))
