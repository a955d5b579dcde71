"""Device, precision and threads, set up so that the same seed gives the same bytes."""

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


def select_device(name: DeviceName) -> torch.device:
    """The device called `name`; `auto` is the GPU if there is one, under torchrun the one of this process.

    Raises DeviceError if it is not available.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("params.yaml: train.device: got 'cuda', but torch finds no GPU; expected 'auto' or 'cpu'")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def describe(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def details(device: torch.device, precision: Precision) -> dict[str, str | int]:
    """Threads, precision and GPU of a computation as its execution has them; without a GPU its device is the processor,
    which is the default there."""
    gpu = {"device": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
    return {"threads": torch.get_num_threads(), "precision": select_precision(device, precision), **gpu}


def set_threads(threads: int | Literal["auto"] = "auto") -> None:
    """Set the number of CPU threads; `auto` is one.

    It decides in which order numbers are summed, and so the bytes of a result: hence it depends neither on the number
    of cores nor on OMP_NUM_THREADS. One, because threads wait for each other in every layer of a network this small:
    two are 1.3 times as fast on an idle machine and up to forty times as slow beside one other busy process.
    """
    torch.set_num_threads(1 if threads == "auto" else threads)


def make_deterministic() -> None:
    # cuBLAS reads this on first use; without it torch refuses matrix products in deterministic mode.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Same effect as torch.use_deterministic_algorithms(True), which imports torch's compiler first: 4 s.
    torch.set_deterministic_debug_mode("error")
    # It would also fill new memory with NaN: nothing here reads uninitialized memory, and it costs a tenth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def select_precision(device: torch.device, precision: Precision) -> Literal["float32", "bfloat16"]:
    """The precision of matrix products; `auto` is bfloat16 if the hardware has matrix units for it.

    AVX-512 BF16 alone does not count: on a Xeon without AMX it took 3.8 times as long as float32.
    """
    if precision != "auto":
        return precision
    native = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_amx_tile_supported()
    return "bfloat16" if native else "float32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """A context in which matrix products use the precision that `select_precision` gives."""
    enabled = select_precision(device, precision) == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
