"""Optimizers and learning-rate schedules by their names in params.yaml."""

from typing import Annotated, Literal

from pydantic import Field
from torch import nn, optim
from torch.optim import lr_scheduler

from pipeline.core.config import Section


class OptimizerParams(Section):
    name: Literal["sgd", "adam", "adamw", "adadelta", "adagrad", "rmsprop"]
    learning_rate: Annotated[float, Field(gt=0, le=10)]
    """The highest rate that the schedule reaches."""
    momentum: Annotated[float, Field(ge=0, lt=1)]
    """Nesterov's momentum for `sgd`, plain momentum for `rmsprop`; the others have their own."""
    weight_decay: Annotated[float, Field(ge=0, lt=1)]


class ScheduleParams(Section):
    name: Literal["constant", "step", "exponential", "cosine", "one_cycle"]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    """`one_cycle`: share of the training during which the rate rises."""
    gamma: Annotated[float, Field(gt=0, le=1)]
    """`step`, `exponential`: factor by which the rate falls."""
    step_epochs: Annotated[int, Field(ge=1)]
    """`step`: epochs between two falls."""


def optimizer(settings: OptimizerParams, network: nn.Module) -> optim.Optimizer:
    rate, decay, momentum = settings.learning_rate, settings.weight_decay, settings.momentum
    weights = network.parameters()
    match settings.name:
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


def schedule(
    settings: ScheduleParams, optimizer: optim.Optimizer, epochs: int, steps_per_epoch: int
) -> lr_scheduler.LRScheduler:
    """A schedule that is stepped after every batch."""
    steps = epochs * steps_per_epoch
    match settings.name:
        case "constant":
            return lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        case "step":
            return lr_scheduler.StepLR(optimizer, settings.step_epochs * steps_per_epoch, settings.gamma)
        case "exponential":
            return lr_scheduler.LambdaLR(optimizer, lambda step: settings.gamma ** (step // steps_per_epoch))
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, steps)
        case "one_cycle":
            # Smith and Topin, "Super-convergence", 2018; linear both ways.
            return lr_scheduler.LambdaLR(optimizer, lambda step: _triangle(step / steps, settings.warmup))


def _triangle(progress: float, warmup: float) -> float:
    rise = progress / warmup if warmup else 1.0
    return max(1e-3, min(rise, (1 - progress) / (1 - warmup)))
