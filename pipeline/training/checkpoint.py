"""Checkpoints: the state of an unfinished training run in one file; a resumed run ends with the same bytes.

The file is `Trainer.state_dict()` in safetensors format: the tensors, and everything else as JSON, whose bytes are one
more tensor. DVC does not track it; its name contains the hash of all that the stage reads.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from pipeline.core.errors import DataError
from pipeline.core.files import parse_json, write_bytes
from pipeline.training.state import Row, TrainState
from pipeline.training.trainer import Trainer

JSON: Final = "json"  # name of the tensor that holds everything but tensors


def save(path: Path, trainer: Trainer) -> None:
    """Write the trainer's state. Raises StorageError."""
    tensors: dict[str, Tensor] = {}
    values = _encode(trainer.state_dict(), "state", tensors)
    tensors[JSON] = torch.frombuffer(bytearray(json.dumps(values).encode()), dtype=torch.uint8)
    write_bytes(path, safetensors.torch.save(tensors))


def load(content: bytes, path: Path, trainer: Trainer) -> None:
    """Load `content`, which `save` wrote, into `trainer`. Raises DataError, naming `path`, if it is damaged."""
    try:
        tensors = safetensors.torch.load(content)
        trainer.load_state_dict(_decode(parse_json(bytes(tensors.pop(JSON).tolist())), tensors))
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: expected a checkpoint of this training run, got: {reason}; delete it to start again"
        ) from error


def resume(trainer: Trainer, path: Path, report_row: Callable[[Row], None]) -> TrainState:
    """Train to the end, from the checkpoint at `path` if there is one. Only rank 0 writes, and calls `report_row`."""
    content = trainer.group.broadcast_bytes(path.read_bytes() if path.is_file() else b"", trainer.device)
    if content:
        load(content, path, trainer)
    if trainer.group.rank:
        return trainer.run(lambda row: None, lambda: None)
    if content:
        print(f"resuming after step {trainer.step}, from {path}", flush=True)
    history: list[Row] = [*trainer.state.steps, *trainer.state.epochs]
    for row in history:
        report_row(row)
    return trainer.run(report_row, lambda: save(path, trainer))


def _encode(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON, its tensors moved to `tensors`. Dicts become pairs: torch's optimizers have integer keys."""
    match value:
        case Tensor():
            tensors[name] = value.detach().cpu().clone().contiguous()
            return {"tensor": name}
        case dict():
            return {"items": [[key, _encode(item, f"{name}/{key}", tensors)] for key, item in value.items()]}
        case list() | tuple():
            return [_encode(item, f"{name}/{n}", tensors) for n, item in enumerate(value)]
    return value


def _decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `_encode`, except that tuples become lists."""
    match value:
        case {"tensor": name}:
            return tensors[name]
        case {"items": items}:
            return {key: _decode(item, tensors) for key, item in items}
        case list():
            return [_decode(item, tensors) for item in value]
    return value
