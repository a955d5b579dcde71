"""An unfinished training in one file, from which it goes on to the same weights, byte for byte, as if never stopped.

The file lies outside of what DVC knows, under a name made of the hash of all that the stage reads. It is a safetensors
file: the tensors, and everything else as JSON, whose bytes are one more tensor.
"""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from pipeline.core.errors import DataError
from pipeline.core.files import write_bytes
from pipeline.training.trainer import EpochRow, StepRow, Trainer, Training


def write(path: Path, trainer: Trainer) -> None:
    """Write where `trainer` stands. Raises StorageError."""
    training, optimizer = trainer.training, trainer.optimizer.state_dict()
    groups = {
        "weights": trainer.classifier.state_dict(),
        "average": trainer.average.state_dict(),
        "best": training.weights,
        "sums": {"": trainer.sums},
    }
    groups |= {f"optimizer{n}": state for n, state in optimizer["state"].items()}
    tensors = {
        f"{group}/{name}": tensor.detach().cpu().clone().contiguous()
        for group, members in groups.items()
        for name, tensor in members.items()
        if isinstance(tensor, Tensor)
    }
    position = {
        "step": trainer.step,
        "optimizer": optimizer["param_groups"],
        "schedule": trainer.schedule.state_dict(),
        "best": training.best,
        "epochs": training.epochs,
        "steps": training.steps,
        "seconds": training.seconds,
    }
    tensors["position"] = torch.frombuffer(bytearray(json.dumps(position).encode()), dtype=torch.uint8)
    write_bytes(path, safetensors.torch.save(tensors))


def restore(content: bytes, path: Path, trainer: Trainer) -> None:
    """Put `trainer` where the one stood that wrote `content`. Raises DataError, naming `path`, when it is damaged."""
    try:
        _restore(content, trainer)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{path}: expected a checkpoint of this training, got: {error}; delete it to begin anew"
        ) from error


def _restore(content: bytes, trainer: Trainer) -> None:
    tensors = safetensors.torch.load(content)
    position: dict[str, Any] = json.loads(bytes(tensors.pop("position").tolist()))
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        group, _, member = name.partition("/")
        groups.setdefault(group, {})[member] = tensor
    trainer.classifier.load_state_dict(groups["weights"])
    trainer.average.load_state_dict(groups["average"])
    layout = [parameter for group in trainer.optimizer.param_groups for parameter in group["params"]]
    state = {
        n: {name: _like(tensor, parameter) for name, tensor in groups.get(f"optimizer{n}", {}).items()}
        for n, parameter in enumerate(layout)
    }
    trainer.optimizer.load_state_dict({"state": state, "param_groups": position["optimizer"]})
    trainer.schedule.load_state_dict(position["schedule"])
    trainer.step = position["step"]
    trainer.sums.copy_(groups["sums"][""])
    trainer.training = Training(
        EpochRow(*position["best"]) if position["best"] else None,
        groups.get("best", {}),
        [EpochRow(*row) for row in position["epochs"]],
        [StepRow(*row) for row in position["steps"]],
        position["seconds"],
    )


def _like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """The tensor, laid out in memory as the parameter that it belongs to: products of both are then as fast."""
    return tensor.to(memory_format=torch.channels_last) if parameter.dim() == tensor.dim() == 4 else tensor
