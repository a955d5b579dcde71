"""Where tensors live, in what precision and by how many threads; set up so that the same seed gives the same bytes."""

import os
from contextlib import AbstractContextManager
from typing import Annotated, Final, Literal

import torch
from pydantic import PlainValidator

from pipeline.core.errors import DeviceError

DeviceName = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]
MAX_THREADS: Final = 256


def _threads(value: object) -> object:
    if value == "auto" or (type(value) is int and 1 <= value <= MAX_THREADS):
        return value
    raise ValueError(f"'auto' or a whole number from 1 to {MAX_THREADS}")


Threads = Annotated[int | Literal["auto"], PlainValidator(_threads)]


def choose(name: DeviceName) -> torch.device:
    """The device called `name`; `auto` is the GPU where there is one, this process's own where torchrun has started
    several. Raises DeviceError where it is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("params.yaml: train.device: got 'cuda', but torch sees no GPU here; expected 'auto' or 'cpu'")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def describe(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def set_threads(threads: int | Literal["auto"] = "auto") -> None:
    """Compute on a CPU with so many threads; `auto` is one.

    Their number decides in which order numbers are summed, and so the bytes of a result: it depends neither on the
    number of cores nor on OMP_NUM_THREADS. One, because threads wait for each other in every layer of a network this
    small: two are 1.3 times as fast on a quiet machine and up to forty times as slow beside one other busy process.
    """
    torch.set_num_threads(1 if threads == "auto" else threads)


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
