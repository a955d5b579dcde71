"""The processes that share one training: one alone, or as many as torchrun has started, on one machine or several.

Each has the whole data set, draws the same random numbers and takes its part of every batch; the gradients are
averaged (DistributedDataParallel, by NCCL between GPUs, by Gloo between CPUs). So the batch is the same whatever their
number; batch normalisation alone sees its part only. Rank 0 writes and tracks.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.core.errors import TrainingError
from pipeline.model.classifier import Classifier


class _Logits(nn.Module):
    """A classifier as it is trained: pixels to logits."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, pixels: Tensor) -> Tensor:
        return self.classifier.of_pixels(pixels)


@dataclass(frozen=True)
class Ranks:
    """This process's number, from 0, and that of all processes."""

    rank: int
    size: int

    def __str__(self) -> str:
        return f", {self.size} processes" if self.size > 1 else ""

    def part(self, batch: Tensor) -> Tensor:
        """This process's part of a batch, along the first axis; `size` divides its length."""
        return batch[self.rank :: self.size]

    def parallel(self, classifier: Classifier) -> Callable[[Tensor], Tensor]:
        """From pixels to logits, the gradients averaged over all processes; all begin with rank 0's weights."""
        if self.size == 1:
            return classifier.of_pixels
        return DistributedDataParallel(_Logits(classifier), forward_sync_buffers=False)

    def mean(self, values: Tensor) -> Tensor:
        """`values` averaged over all processes."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values / self.size

    def agree(self, content: bytes, device: torch.device) -> bytes:
        """What rank 0 has, for all: a checkpoint lies on one machine only."""
        if self.size == 1:
            return content
        length = torch.tensor(len(content), device=device)
        distributed.broadcast(length, 0)
        shared = torch.zeros(int(length), dtype=torch.uint8, device=device)
        if self.rank == 0 and content:
            shared.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        distributed.broadcast(shared, 0)
        return bytes(shared.tolist())


ALONE: Final = Ranks(0, 1)
WORDS: Final = ("gloo", "NCCL", "Connection", "peer", "rendezvous")  # in what torch says of other processes


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """This process among those that torchrun has started, if it has.

    Raises TrainingError when another of them is gone.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    except (RuntimeError, SystemExit) as error:  # torch has no class of its own for this
        told_to_end = isinstance(error, SystemExit)  # by torchrun, which may notice sooner
        if not told_to_end and not any(word in str(error) for word in WORDS):
            raise
        reason = (
            "torchrun ended it, for it was told to end itself or another process is gone"
            if told_to_end
            else f"another process of this training is gone, or cannot be reached ({str(error).splitlines()[0][:120]})"
        )
        raise TrainingError(
            f"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']}: {reason}; nothing was written, and the same "
            "command goes on from the last checkpoint"
        ) from error
    finally:
        with contextlib.suppress(RuntimeError):
            distributed.destroy_process_group()
