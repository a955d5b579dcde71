"""The training loop: the data set on the device as one tensor, cross-entropy on logits, best epoch by validation.

Every draw of random numbers begins from the seed, its purpose and its number. So the state of an unfinished training
is a position, weights and sums; and processes that share a training draw alike and take each its own part.
"""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from pipeline.core.config import Section
from pipeline.core.errors import TrainingError
from pipeline.data.dataset import Split
from pipeline.model.classifier import Classifier
from pipeline.training.augmentation import AugmentationParams, augment
from pipeline.training.device import Precision, autocast
from pipeline.training.distributed import ALONE, Ranks
from pipeline.training.optimizers import OptimizerParams, ScheduleParams, optimizer, schedule

MAX_STEP_ROWS = 400  # more points than a chart of the loss has pixels to show


class Recipe(Section):
    """Everything about the training that is not the network, the data or the device."""

    optimizer: OptimizerParams
    schedule: ScheduleParams
    augmentation: AugmentationParams
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    """Share of each label's probability that is spread over all classes."""
    averaging: Annotated[float, Field(ge=0, lt=1)]
    """What the kept weights remember from one step to the next, of a moving average of the trained ones; 0: nothing,
    the kept weights are the trained ones."""
    epochs: Annotated[int, Field(ge=1, le=1000)]
    batch: Annotated[int, Field(ge=2)]
    """Images a step, all processes together."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    precision: Precision
    checkpoint_steps: Annotated[int, Field(ge=1)]
    """Steps between two checkpoints: what is lost at most when a training is killed."""


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


Row = StepRow | EpochRow


@dataclass
class Training:
    """How far it has come: the best epoch so far and its weights, on the CPU, the history, and the seconds it took."""

    best: EpochRow | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    epochs: list[EpochRow] = field(default_factory=list)
    steps: list[StepRow] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class OnDevice:
    """Images `(N, 28, 28) uint8` and labels `(N,) int64` as tensors."""

    images: Tensor
    labels: Tensor


def to_device(split: Split, device: torch.device) -> OnDevice:
    return OnDevice(torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device).long())


def drawn(seed: int, purpose: Literal["shuffle", "step"], number: int) -> int:
    """A seed for one draw, below 2**63."""
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose} {number}".encode()).digest()[:8], "big") // 2


def evaluate(classifier: nn.Module, split: OnDevice, precision: Precision) -> tuple[float, float]:
    """Mean loss and accuracy of a `Classifier`, set to predict."""
    assert isinstance(classifier, Classifier)
    classifier.eval()
    with torch.inference_mode(), autocast(split.images.device, precision):
        logits = torch.cat([classifier.logits(part) for part in split.images.split(250)]).float()
    loss = F.cross_entropy(logits, split.labels)
    return loss.item(), (logits.argmax(dim=1) == split.labels).float().mean().item()


class Trainer:
    """A classifier on its way. Every batch is full; an epoch leaves out the rest of its own shuffle.

    Raises TrainingError when a batch takes more images than there are or cannot be shared by the processes.
    """

    def __init__(
        self, classifier: Classifier, split: OnDevice, validation: OnDevice, recipe: Recipe, ranks: Ranks = ALONE
    ) -> None:
        self.device = split.images.device
        self.classifier = classifier.to(self.device).to(memory_format=torch.channels_last)
        self.split, self.validation, self.recipe, self.ranks = split, validation, recipe, ranks
        if not ranks.size <= recipe.batch <= len(split.labels) or recipe.batch % ranks.size:
            shared = f" and a multiple of {ranks.size}, the number of processes" if ranks.size > 1 else ""
            raise TrainingError(
                f"params.yaml: train.batch: got {recipe.batch}, expected at most {len(split.labels)}, one epoch{shared}"
            )
        self.steps_per_epoch = len(split.labels) // recipe.batch
        self.optimizer = optimizer(recipe.optimizer, classifier)
        self.schedule = schedule(recipe.schedule, self.optimizer, recipe.epochs, self.steps_per_epoch)
        self.average = AveragedModel(
            self.classifier, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging), use_buffers=True
        )
        self.logits = ranks.parallel(self.classifier)
        self.generator = torch.Generator(self.device)
        self.step = 0
        self.sums = torch.zeros(3, device=self.device)  # loss and hits of the epoch, loss since the last row
        self.training = Training()
        self._window = -(-self.steps_per_epoch * recipe.epochs // MAX_STEP_ROWS)

    def run(self, follow: Callable[[Row], None], save: Callable[[], None]) -> Training:
        """Go on to the end; `follow` sees each new row of the history, `save` is called when a checkpoint is due.

        Raises TrainingError if the loss diverges, or another process of the same training is gone.
        """
        started = time.perf_counter() - self.training.seconds
        hidden = True if self.ranks.rank else None  # where no terminal is, tqdm hides itself
        for epoch in range(self.step // self.steps_per_epoch, self.recipe.epochs):
            batches, done = self._batches(epoch), self.step % self.steps_per_epoch
            title = f"epoch {epoch + 1}/{self.recipe.epochs}"
            for index in tqdm(batches[done:], title, len(batches), initial=done, leave=False, disable=hidden):
                rate = float(self.schedule.get_last_lr()[0])
                self._learn(self.split.images[index], self.split.labels[index])
                self.step += 1
                self.training.seconds = time.perf_counter() - started
                if self.step % self._window == 0:
                    follow(self._note_steps(rate))
                if self.step % self.steps_per_epoch == 0:
                    follow(self._note_epoch(epoch + 1))
                if self.step % self.recipe.checkpoint_steps == 0:
                    self.sums = self.ranks.mean(self.sums)  # whichever of them goes on has the sums of all
                    save()
        self.training.seconds = time.perf_counter() - started
        return self.training

    def _batches(self, epoch: int) -> Sequence[Tensor]:
        """Indices of the images of each step of an epoch, counted from 0."""
        self.generator.manual_seed(drawn(self.recipe.seed, "shuffle", epoch))
        order = torch.randperm(len(self.split.labels), generator=self.generator, device=self.device)
        return order[: self.steps_per_epoch * self.recipe.batch].view(self.steps_per_epoch, self.recipe.batch).unbind()

    def _learn(self, images: Tensor, labels: Tensor) -> None:
        self.classifier.train()
        seed = drawn(self.recipe.seed, "step", self.step)
        self.generator.manual_seed(seed)
        torch.manual_seed(seed + self.ranks.rank)  # dropout draws from torch's own generator
        pixels = augment(images.unsqueeze(1).float() / 255, self.recipe.augmentation, self.generator)
        pixels, labels = self.ranks.part(pixels), self.ranks.part(labels)
        with autocast(self.device, self.recipe.precision):
            logits = self.logits(pixels.contiguous(memory_format=torch.channels_last)).float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        if self.recipe.averaging:
            self.average.update_parameters(self.classifier)
        hits = (logits.detach().argmax(dim=1) == labels).sum()
        self.sums += torch.stack([loss.detach(), hits, loss.detach()])  # read seldom: reading makes a GPU wait

    def _take(self, places: slice, over: int) -> list[float]:
        """Means over `over` steps and all processes of the sums at `places`, which begin again."""
        means = self.ranks.mean(self.sums[places] / over).tolist()
        self.sums[places] = 0
        return [float(mean) for mean in means]

    def _note_steps(self, rate: float) -> StepRow:
        (loss,) = self._take(slice(2, 3), self._window)
        check_finite(loss, self.step)
        self.training.steps.append(StepRow(self.step, loss, rate))
        return self.training.steps[-1]

    def _note_epoch(self, epoch: int) -> EpochRow:
        loss, hits = self._take(slice(0, 2), self.steps_per_epoch)
        kept = self.average.module if self.recipe.averaging else self.classifier
        validated = evaluate(kept, self.validation, self.recipe.precision)
        row = EpochRow(epoch, loss, hits * self.ranks.size / self.recipe.batch, *validated)
        check_finite(row.validation_loss, self.step)
        self.training.epochs.append(row)
        # By loss: accuracy on a few thousand images moves in steps that are larger than what an epoch adds.
        if self.training.best is None or row.validation_loss < self.training.best.validation_loss:
            self.training.best = row
            self.training.weights = {
                name: tensor.cpu().clone().contiguous() for name, tensor in kept.state_dict().items()
            }
        return row


def check_finite(loss: float, step: int) -> None:
    """Raise TrainingError when the loss is no number any more."""
    if not math.isfinite(loss):
        raise TrainingError(f"params.yaml: train.optimizer.learning_rate: the loss is {loss} by step {step}; lower it")
