"""The training loop: the data set on the device as one tensor, cross-entropy on logits, best epoch by validation.

Every random draw starts from a seed derived from the seed, the purpose and the number of the draw. So the state of an
unfinished run is a position, weights and sums, and all processes of a run draw the same numbers.
"""

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from pipeline.core.errors import TrainingError
from pipeline.data.dataset import Split
from pipeline.model.classifier import Classifier, to_pixels
from pipeline.model.networks import Architecture
from pipeline.training.augmentation import augment
from pipeline.training.config import TrainConfig
from pipeline.training.device import Precision, autocast
from pipeline.training.distributed import SINGLE_PROCESS, ProcessGroup
from pipeline.training.drawn_characters import draw_digits
from pipeline.training.losses import mean_loss
from pipeline.training.optimizers import build_lr_scheduler, build_optimizer
from pipeline.training.outliers import make_outliers
from pipeline.training.state import EpochRow, Row, StepRow, TrainState

MAX_STEP_ROWS = 400  # more points than a chart of the loss has pixels to show


@dataclass(frozen=True)
class TensorSplit:
    """Images `(N, 28, 28[, 3]) uint8` and labels `(N,) int64` as tensors on one device."""

    images: Tensor
    labels: Tensor


def to_device(split: Split, device: torch.device) -> TensorSplit:
    return TensorSplit(torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device).long())


def derive_seed(seed: int, purpose: Literal["shuffle", "step"], number: int) -> int:
    """A seed for one draw, below 2**63."""
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose} {number}".encode()).digest()[:8], "big") // 2


def evaluate(classifier: nn.Module, split: TensorSplit, precision: Precision) -> tuple[float, float]:
    """Mean loss and accuracy of a `Classifier` among its classes; it is left in evaluation mode."""
    assert isinstance(classifier, Classifier)
    classifier.eval()
    with torch.inference_mode(), autocast(split.images.device, precision):
        logits = torch.cat([classifier.logits(batch) for batch in split.images.split(250)]).float()
    logits = logits[:, : classifier.classes]
    loss = F.cross_entropy(logits, split.labels)
    return loss.item(), (logits.argmax(dim=1) == split.labels).float().mean().item()


class Trainer:
    """Trains a classifier. Every batch is full; an epoch drops the incomplete batch at the end of its shuffle.

    Raises TrainingError if a batch is larger than the training split, or cannot be sharded evenly over the processes.
    """

    def __init__(
        self,
        classifier: Classifier,
        train_split: TensorSplit,
        validation_split: TensorSplit,
        config: TrainConfig,
        group: ProcessGroup = SINGLE_PROCESS,
        is_digits: bool = False,
    ) -> None:
        self.device = train_split.images.device
        self.classifier = classifier.to(self.device).to(memory_format=torch.channels_last)
        self.train_split, self.validation_split, self.config, self.group = train_split, validation_split, config, group
        self.is_digits = is_digits
        self.drawn = round(config.drawn_digits * config.batch) if is_digits else 0
        self.outliers = round(config.outliers * config.batch)
        self.images_per_step = config.batch + self.drawn + self.outliers
        if not group.world_size <= config.batch <= len(train_split.labels) or self.images_per_step % group.world_size:
            made = self.images_per_step - config.batch
            multiple = f" and, with {made} made images, a multiple of {group.world_size}, the number of processes"
            raise TrainingError(
                f"params.yaml: train.batch: got {config.batch}, expected at most {len(train_split.labels)}, one epoch"
                f"{multiple if group.world_size > 1 else ''}"
            )
        self.steps_per_epoch = len(train_split.labels) // config.batch
        self.optimizer = build_optimizer(config.optimizer, classifier)
        self.lr_scheduler = build_lr_scheduler(config.schedule, self.optimizer, config.epochs, self.steps_per_epoch)
        self.averaged = AveragedModel(
            self.classifier, multi_avg_fn=get_ema_multi_avg_fn(config.averaging), use_buffers=True
        )
        self.model = group.wrap_ddp(self.classifier)
        self.generator = torch.Generator(self.device)
        self.step = 0
        self.sums = torch.zeros(3, device=self.device)  # loss and hits of the epoch, loss since the last row
        self.state = TrainState()
        self._steps_per_row = -(-self.steps_per_epoch * config.epochs // MAX_STEP_ROWS)

    def run(
        self, report: Callable[[Row], None], save_checkpoint: Callable[[], None], *, show_bar: bool = True
    ) -> TrainState:
        """Train to the end; `report` gets each new row of the history, `save_checkpoint` is called when one is due.

        A terminal shows a bar for each epoch.
        Raises TrainingError if the loss diverges, or another process of the run is lost.
        """
        started = time.perf_counter() - self.state.seconds
        hidden = True if self.group.rank or not show_bar else None  # None: tqdm hides the bar if there is no terminal
        for epoch in range(self.step // self.steps_per_epoch, self.config.epochs):
            batches, done = self._batches(epoch), self.step % self.steps_per_epoch
            title = f"epoch {epoch + 1}/{self.config.epochs}"
            for index in tqdm(batches[done:], title, len(batches), initial=done, leave=False, disable=hidden):
                rate = float(self.lr_scheduler.get_last_lr()[0])
                self.train_step(self.train_split.images[index], self.train_split.labels[index])
                self.step += 1
                self.state.seconds = time.perf_counter() - started
                if self.step % self._steps_per_row == 0:
                    report(self._log_steps(rate))
                if self.step % self.steps_per_epoch == 0:
                    report(self._log_epoch(epoch + 1))
                if self.step % self.config.checkpoint_steps == 0:
                    self.sums = self.group.mean(self.sums)  # one checkpoint holds the sums of all processes
                    save_checkpoint()
        self.state.seconds = time.perf_counter() - started
        return self.state

    def train_step(self, images: Tensor, labels: Tensor) -> None:
        """One step of the optimizer on a batch `(N, 28, 28[, 3]) uint8` of all processes; adds to the running sums."""
        self.classifier.train()
        seed = derive_seed(self.config.seed, "step", self.step)
        self.generator.manual_seed(seed)
        torch.manual_seed(seed + self.group.rank)  # dropout draws from torch's global generator
        pixels, labels = self.with_made_images(to_pixels(images), labels)
        pixels = augment(pixels, self.config.augmentation, self.generator)
        pixels, labels = self.group.shard(pixels), self.group.shard(labels)
        with autocast(self.device, self.config.precision):
            logits = self.model(pixels.contiguous(memory_format=torch.channels_last)).float()
        loss = mean_loss(self.config.loss, logits, labels, self.config.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.lr_scheduler.step()
        if self.config.averaging:
            self.averaged.update_parameters(self.classifier)
        hits = (logits.detach().argmax(dim=1) == labels).sum()
        self.sums += torch.stack([loss.detach(), hits, loss.detach()])  # read rarely: each read waits for the GPU

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed training needs: tensors and JSON values in dicts, lists and tuples."""
        return {
            "classifier": self.classifier.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "lr_scheduler": self.lr_scheduler.state_dict(),
            "step": self.step,
            "sums": self.sums,
            "progress": dict(vars(self.state)),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` of a trainer with the same configuration returned."""
        self.classifier.load_state_dict(state["classifier"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        for parameter, moments in self.optimizer.state.items():
            for name, value in moments.items():  # in the memory format of their parameter, else steps are slower
                if isinstance(value, Tensor) and value.dim() == parameter.dim() == 4:
                    moments[name] = value.to(memory_format=torch.channels_last)
        self.lr_scheduler.load_state_dict(state["lr_scheduler"])
        self.step = state["step"]
        self.sums.copy_(state["sums"])
        self.state = TrainState.from_dict(state["progress"])

    def with_made_images(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The batch with drawn digits and outliers, whose label is the one after those of the classes."""
        made = [(pixels, labels)]
        if self.drawn:
            made.append(draw_digits(self.drawn, self.generator))
        if self.outliers:
            outliers = make_outliers(pixels, labels, self.outliers, self.is_digits, self.generator)
            made.append((outliers, torch.full((self.outliers,), self.classifier.classes, device=self.device)))
        all_pixels, all_labels = zip(*made, strict=True)
        return torch.cat(all_pixels), torch.cat(all_labels)

    def _batches(self, epoch: int) -> Sequence[Tensor]:
        """Indices of the images of each step of an epoch, counted from 0."""
        self.generator.manual_seed(derive_seed(self.config.seed, "shuffle", epoch))
        order = torch.randperm(len(self.train_split.labels), generator=self.generator, device=self.device)
        return order[: self.steps_per_epoch * self.config.batch].view(self.steps_per_epoch, self.config.batch).unbind()

    def _pop_means(self, indices: slice, steps: int) -> list[float]:
        """The sums at `indices`, averaged over `steps` steps and all processes; they restart at 0."""
        means = self.group.mean(self.sums[indices] / steps).tolist()
        self.sums[indices] = 0
        return [float(mean) for mean in means]

    def _log_steps(self, rate: float) -> StepRow:
        (loss,) = self._pop_means(slice(2, 3), self._steps_per_row)
        check_finite(loss, self.step)
        self.state.steps.append(StepRow(self.step, loss, rate))
        return self.state.steps[-1]

    def _log_epoch(self, epoch: int) -> EpochRow:
        loss, hits = self._pop_means(slice(0, 2), self.steps_per_epoch)
        candidate = self.averaged.module if self.config.averaging else self.classifier
        validation = evaluate(candidate, self.validation_split, self.config.precision)
        row = EpochRow(epoch, loss, hits * self.group.world_size / self.images_per_step, *validation)
        check_finite(row.validation_loss, self.step)
        self.state.epochs.append(row)
        # By loss: accuracy on a few thousand images moves in steps that are larger than what an epoch adds.
        if self.state.best is None or row.validation_loss < self.state.best.validation_loss:
            self.state.best = row
            self.state.weights = {
                name: tensor.cpu().clone().contiguous() for name, tensor in candidate.state_dict().items()
            }
        return row


def build_trainer(
    params: TrainConfig,
    architecture: Architecture,
    train_split: TensorSplit,
    validation_split: TensorSplit,
    group: ProcessGroup = SINGLE_PROCESS,
    is_digits: bool = False,
) -> Trainer:
    """A trainer with a new network. It seeds torch's global generator, from which initial weights are drawn."""
    torch.manual_seed(params.seed)
    classifier = Classifier.from_architecture(architecture)
    return Trainer(classifier, train_split, validation_split, params, group, is_digits)


def check_finite(loss: float, step: int) -> None:
    """Raise TrainingError if the loss is NaN or infinite."""
    if not math.isfinite(loss):
        raise TrainingError(f"params.yaml: train.optimizer.learning_rate: the loss is {loss} by step {step}; lower it")
