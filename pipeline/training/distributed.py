"""The processes of one training run: a single one, or those that torchrun started, on one machine or several.

Each has the whole data set, draws the same random numbers and takes its shard of every batch; the gradients are
averaged (DistributedDataParallel, with NCCL between GPUs, Gloo between CPUs). So the batch is the same for any number
of processes; only batch normalization is computed per shard. Only rank 0 writes files and logs metrics.
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
    """The forward pass of training as a module, for DistributedDataParallel: pixels to logits."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, pixels: Tensor) -> Tensor:
        return self.classifier.logits_from_pixels(pixels)


@dataclass(frozen=True)
class ProcessGroup:
    """This process's rank, from 0, and the number of processes."""

    rank: int
    world_size: int

    def shard(self, batch: Tensor) -> Tensor:
        """This process's part of a batch, along the first axis; `world_size` divides its length."""
        return batch[self.rank :: self.world_size]

    def wrap_ddp(self, classifier: Classifier) -> Callable[[Tensor], Tensor]:
        """From pixels to logits, with gradients averaged over all processes; all start with rank 0's weights."""
        if self.world_size == 1:
            return classifier.logits_from_pixels
        return DistributedDataParallel(_Logits(classifier), forward_sync_buffers=False)

    def mean(self, values: Tensor) -> Tensor:
        """`values` averaged over all processes."""
        if self.world_size > 1:
            distributed.all_reduce(values)
        return values / self.world_size

    def broadcast_bytes(self, content: bytes, device: torch.device) -> bytes:
        """Rank 0's `content`, in every process: a checkpoint is on one machine only."""
        if self.world_size == 1:
            return content
        length = torch.tensor(len(content), device=device)
        distributed.broadcast(length, 0)
        shared = torch.zeros(int(length), dtype=torch.uint8, device=device)
        if self.rank == 0 and content:
            shared.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        distributed.broadcast(shared, 0)
        return bytes(shared.tolist())


SINGLE_PROCESS: Final = ProcessGroup(0, 1)
LOST_PEER: Final = ("gloo", "NCCL", "Connection", "peer", "rendezvous")  # in torch's messages about other processes


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[ProcessGroup]:
    """Join the process group that torchrun started; without torchrun, this process alone.

    Raises TrainingError if another process is lost.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield SINGLE_PROCESS
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        yield ProcessGroup(distributed.get_rank(), distributed.get_world_size())
    except (RuntimeError, SystemExit) as error:  # torch has no exception class of its own for this
        terminated = isinstance(error, SystemExit)  # SIGTERM from torchrun, which may detect the loss first
        if not terminated and not any(word in str(error) for word in LOST_PEER):
            raise
        reason = (
            "terminated by torchrun, which was stopped or lost another process"
            if terminated
            else f"lost another process of this run, or cannot reach it ({str(error).splitlines()[0][:120]})"
        )
        raise TrainingError(
            f"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']}: {reason}; nothing was written; run the same "
            "command to resume from the last checkpoint"
        ) from error
    finally:
        with contextlib.suppress(RuntimeError):
            distributed.destroy_process_group()
