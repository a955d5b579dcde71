"""The time of training compared with the arithmetic that it needs, and by operation."""

import statistics
import time
from typing import Any

import torch
from torch.profiler import profile

from benchmarks.datasets import build_trainer, load_data, load_params
from pipeline.model.classifier import Classifier
from pipeline.model.summary import list_layers
from pipeline.train import Params, build_architecture
from pipeline.training.device import select_device
from pipeline.training.trainer import TensorSplit


def matmul_rate() -> float:
    """FLOP/s of a large float32 matrix product."""
    a, b = torch.rand(2, 2048, 2048, device=select_device("auto")).unbind()
    times = []
    for _ in range(7):
        started = time.perf_counter()
        torch.mm(a, b)[0, 0].item()
        times.append(time.perf_counter() - started)
    return 2 * 2048**3 / statistics.median(times)


def arithmetic(name: str, seconds: float) -> str:
    """FLOP/s of training, which costs three times the forward pass: the gradients cost twice as much as that."""
    tree = load_params(name)
    params, data = Params.model_validate(tree["train"]), load_data(tree)
    classifier = Classifier.from_architecture(build_architecture(params, 10, 1, data.statistics)).eval()
    layers = list_layers(classifier)
    flop = 2 * sum(layer.multiplications for layer in layers)
    total = 3 * flop * len(data.train.labels) * params.epochs
    rate = matmul_rate()
    return (
        f"{name}: {sum(layer.parameters for layer in layers):,} parameters, {flop / 1e6:.2f} MFLOP an image; "
        f"training does {total / seconds / 1e9:.0f} GFLOP/s, a large matrix product {rate / 1e9:.0f}: "
        f"{seconds * rate / total:.1f} times its arithmetic"
    )


def profile_operations(name: str) -> str:
    """The operations that take most of the time of training, by torch's profiler, over 30 steps."""
    tree = load_params(name, {"train": {"epochs": 1}})
    params, data = Params.model_validate(tree["train"]), load_data(tree)
    short = TensorSplit(data.train.images[: 30 * params.batch], data.train.labels[: 30 * params.batch])
    trainer = build_trainer(params, data._replace(train=short))
    with profile() as profiler:
        trainer.run(lambda row: None, lambda: None)
    events: Any = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    shares = (f"{event.key.removeprefix('aten::')} {event.self_cpu_time_total / total:.0%}" for event in events[:8])
    return f"{name}, where the time goes: {', '.join(shares)}"
