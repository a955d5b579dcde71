"""Where tensors live and in what precision they are multiplied; set up so that the same seed gives the same bytes."""

import os
from contextlib import AbstractContextManager
from typing import Literal

import torch

from pipeline.errors import DeviceError

DeviceName = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]


def choose(name: DeviceName) -> torch.device:
    """The device called `name`; `auto` is the GPU where there is one, this process's own where torchrun has started
    several. Raises DeviceError where it is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("params.yaml: train.device: got 'cuda', but torch sees no GPU here; expected 'auto' or 'cpu'")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def describe(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def make_deterministic() -> None:
    # cuBLAS reads this when it is first used; without it torch refuses deterministic matrix products.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Same effect as torch.use_deterministic_algorithms(True), which imports torch's compiler first: 4 s.
    torch.set_deterministic_debug_mode("error")
    # It would also write NaN to all memory before its first use: nothing here reads memory that was not written, and a
    # training takes a tenth longer.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """A context in which products are taken in bfloat16; with `auto`, where the hardware has matrix units for it.

    AVX-512 BF16 alone does not count: on a Xeon without AMX it took 3.8 times as long as float32.
    """
    native = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_amx_tile_supported()
    wanted = precision == "bfloat16" or (precision == "auto" and native)
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)
