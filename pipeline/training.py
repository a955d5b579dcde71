"""The training loop: the data set on the device as one tensor, cross-entropy on logits, best epoch by validation."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from pipeline.augmentation import AugmentationParams, augment
from pipeline.classifier import Classifier
from pipeline.dataset import Split
from pipeline.device import Precision, autocast
from pipeline.errors import TrainingError
from pipeline.optimisation import OptimiserParams, ScheduleParams, optimiser, schedule

MAX_STEP_ROWS = 400  # more points than a chart of the loss has pixels to show


class StepRow(NamedTuple):
    """Mean loss over the steps since the last row, and the learning rate of this one."""

    step: int
    loss: float
    learning_rate: float


class EpochRow(NamedTuple):
    """Loss and accuracy, 0 to 1: on the augmented images as they were trained on, and on the validation images."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True)
class Recipe:
    """Everything about the training that is not the network or the data."""

    optimiser: OptimiserParams
    schedule: ScheduleParams
    augmentation: AugmentationParams
    label_smoothing: float
    epochs: int
    batch: int
    seed: int
    precision: Precision


@dataclass(frozen=True)
class Training:
    """What came of it: the best epoch and its weights, on the CPU, the history, and the time that the loop took."""

    best: EpochRow
    weights: dict[str, Tensor]
    epochs: list[EpochRow]
    steps: list[StepRow]
    seconds: float


@dataclass(frozen=True)
class OnDevice:
    """Images `(N, 28, 28) uint8` and labels `(N,) int64` as tensors."""

    images: Tensor
    labels: Tensor


def to_device(split: Split, device: torch.device) -> OnDevice:
    return OnDevice(torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device).long())


def evaluate(classifier: Classifier, split: OnDevice, precision: Precision) -> tuple[float, float]:
    """Mean loss and accuracy, with the classifier set to predict."""
    classifier.eval()
    with torch.inference_mode(), autocast(split.images.device, precision):
        logits = torch.cat([classifier.logits(part) for part in split.images.split(250)]).float()
    loss = F.cross_entropy(logits, split.labels)
    return loss.item(), (logits.argmax(dim=1) == split.labels).float().mean().item()


class Trainer:
    """A classifier on its way: epochs are asked for one at a time. Every batch is full; an epoch leaves out the rest
    of its own shuffle. Raises TrainingError when a batch takes more images than there are."""

    def __init__(self, classifier: Classifier, split: OnDevice, recipe: Recipe) -> None:
        device = split.images.device
        self.classifier = classifier.to(device).to(memory_format=torch.channels_last)
        self.split = split
        self.recipe = recipe
        self.steps_per_epoch = len(split.labels) // recipe.batch
        if not self.steps_per_epoch:
            raise TrainingError(
                f"params.yaml: train.batch: got {recipe.batch}, expected at most {len(split.labels)}, one epoch"
            )
        self.optimiser = optimiser(recipe.optimiser, classifier)
        self.schedule = schedule(recipe.schedule, self.optimiser, recipe.epochs, self.steps_per_epoch)
        self.generator = torch.Generator(device).manual_seed(recipe.seed)
        self.step = 0
        self._window = -(-self.steps_per_epoch * recipe.epochs // MAX_STEP_ROWS)

    def epoch(self, title: str, on_step: Callable[[StepRow], None]) -> tuple[float, float]:
        """Train on every image once; mean loss and accuracy over them. Raises TrainingError if the loss diverges."""
        self.classifier.train()
        device, batch = self.split.images.device, self.recipe.batch
        order = torch.randperm(len(self.split.labels), generator=self.generator, device=device)
        batches = order[: self.steps_per_epoch * batch].split(batch)
        loss_sum, right = torch.zeros(2, device=device)  # read once an epoch: reading makes a GPU wait
        window_sum = torch.zeros((), device=device)
        for index in tqdm(batches, desc=title, leave=False, disable=None):
            rate = float(self.schedule.get_last_lr()[0])
            loss, hits = self._batch(self.split.images[index], self.split.labels[index])
            self.step += 1
            loss_sum, right, window_sum = loss_sum + loss, right + hits, window_sum + loss
            if self.step % self._window == 0:
                mean = window_sum.item() / self._window
                check_finite(mean, self.step)
                on_step(StepRow(self.step, mean, rate))
                window_sum = torch.zeros((), device=device)
        return loss_sum.item() / len(batches), right.item() / (len(batches) * batch)

    def _batch(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        pixels = augment(images.unsqueeze(1).float() / 255, self.recipe.augmentation, self.generator)
        with autocast(images.device, self.recipe.precision):
            logits = self.classifier.of_pixels(pixels.contiguous(memory_format=torch.channels_last)).float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        return loss.detach(), (logits.argmax(dim=1) == labels).sum()


def check_finite(loss: float, step: int) -> None:
    """Raise TrainingError when the loss is no number any more."""
    if not math.isfinite(loss):
        raise TrainingError(f"params.yaml: train.optimiser.learning_rate: the loss is {loss} by step {step}; lower it")


def train(
    classifier: Classifier,
    train_split: Split,
    validation_split: Split,
    recipe: Recipe,
    device: torch.device,
    follow: Callable[[StepRow | EpochRow], None],
) -> Training:
    """Train `classifier` in place and keep the weights of the epoch with the lowest validation loss.

    The loss, because accuracy on a few thousand images moves in steps that are larger than what an epoch adds.

    `follow` sees each row of the history as it comes. Raises TrainingError as `Trainer` does.
    """
    trainer, validation = (
        Trainer(classifier, to_device(train_split, device), recipe),
        to_device(validation_split, device),
    )
    steps: list[StepRow] = []
    epochs: list[EpochRow] = []
    best, weights = None, {}

    def on_step(row: StepRow) -> None:
        steps.append(row)
        follow(row)

    started = time.perf_counter()
    for number in range(1, recipe.epochs + 1):
        training = trainer.epoch(f"epoch {number}/{recipe.epochs}", on_step)
        row = EpochRow(number, *training, *evaluate(classifier, validation, recipe.precision))
        check_finite(row.validation_loss, trainer.step)
        epochs.append(row)
        follow(row)
        if best is None or row.validation_loss < best.validation_loss:
            best = row
            weights = {name: tensor.cpu().clone().contiguous() for name, tensor in classifier.state_dict().items()}
    assert best is not None  # Recipe.epochs is at least 1
    return Training(best, weights, epochs, steps, time.perf_counter() - started)
