"""How far a training is from its arithmetic, and where its time goes."""

import statistics
import time
from typing import Any

import torch
from torch.profiler import profile

from benchmarks.datasets import data, trainer
from pipeline.core import profiles
from pipeline.model.summary import layers_of
from pipeline.train import Params, architecture
from pipeline.training.device import choose
from pipeline.training.trainer import OnDevice


def product_rate() -> float:
    """Multiplications and additions a second, in a large product of float32 matrices."""
    a, b = torch.rand(2, 2048, 2048, device=choose("auto")).unbind()
    times = []
    for _ in range(7):
        started = time.perf_counter()
        torch.mm(a, b)[0, 0].item()
        times.append(time.perf_counter() - started)
    return 2 * 2048**3 / statistics.median(times)


def arithmetic(name: str, seconds: float) -> str:
    """How far the training is from its arithmetic: three times the forward pass's, as gradients cost twice that."""
    tree = profiles.tree(name)
    settings, given = Params.model_validate(tree["train"]), data(tree)
    classifier = architecture(settings, 10, given.statistics).build().eval()
    layers = layers_of(classifier)
    flop = 2 * sum(layer.multiplications for layer in layers)
    total = 3 * flop * len(given.train.labels) * settings.epochs
    rate = product_rate()
    return (
        f"{name}: {sum(layer.parameters for layer in layers):,} parameters, {flop / 1e6:.2f} MFLOP an image; "
        f"training does {total / seconds / 1e9:.0f} GFLOP/s, a large matrix product {rate / 1e9:.0f}: "
        f"{seconds * rate / total:.1f} times its arithmetic"
    )


def where(name: str) -> str:
    """The operations that take most of a training's time, by torch's profiler, over 30 steps."""
    tree = profiles.tree(name, {"train.epochs": 1})
    settings, given = Params.model_validate(tree["train"]), data(tree)
    short = OnDevice(given.train.images[: 30 * settings.batch], given.train.labels[: 30 * settings.batch])
    going = trainer(settings, given._replace(train=short))
    with profile() as seen:
        going.run(lambda row: None, lambda: None)
    found: Any = sorted(seen.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in found)
    shares = (f"{event.key.removeprefix('aten::')} {event.self_cpu_time_total / total:.0%}" for event in found[:8])
    return f"{name}, where the time goes: {', '.join(shares)}"
