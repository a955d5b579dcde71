"""`make bench-training`: our profiles beside the recipe of pytorch/examples, on this machine, one after another.

Needs the MNIST of `dvc repro normalise`. Settings and epochs were chosen on validation images; the test set is scored
once for each training that is printed. The time to an accuracy is that on the validation images, after an epoch. The
peer's test accuracy is shown after each epoch: nothing of ours is chosen by it.
"""

import argparse
import io
import platform
import statistics
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from matplotlib.figure import Figure
from torch.profiler import ProfilerActivity, profile

from benchmarks import peer, profiles
from pipeline import handwriting
from pipeline.classifier import Classifier, predict
from pipeline.dataset import Split, load_split
from pipeline.device import choose, describe
from pipeline.files import read_json, write_bytes
from pipeline.layers import layers_of
from pipeline.train import NORMALISED, RAW, Params, architecture
from pipeline.training import EpochRow, OnDevice, Row, Trainer, to_device

MARKS: Final = (0.99, 0.992, 0.995)
PLOT: Final = Path("docs/images/training.png")
Curve = list[tuple[float, float]]  # seconds, validation accuracy


class Result(NamedTuple):
    """One training: what it took, its curve, and its accuracies."""

    seconds: float
    curve: Curve
    test: float
    own: float


class Data(NamedTuple):
    train: OnDevice
    validation: OnDevice
    test: Split
    own: Split


def accuracy(classifier: Classifier, split: Split) -> float:
    found = predict(classifier, torch.from_numpy(split.images)).argmax(dim=1).numpy()
    return float((found == split.labels).mean())


def trainer(settings: Params, data: Data) -> Trainer:
    torch.manual_seed(settings.seed)
    built = architecture(settings, 10, read_json(NORMALISED / "statistics.json")).build()
    return Trainer(built, data.train, data.validation, settings)


def ours(name: str, seed: int, data: Data) -> Result:
    tree = profiles.tree(name)["train"]
    going = trainer(Params.model_validate(tree | {"seed": seed}), data)
    curve: Curve = []

    def follow(row: Row) -> None:
        if isinstance(row, EpochRow):
            curve.append((time.perf_counter() - started, row.validation_accuracy))

    started = time.perf_counter()
    training = going.run(follow, lambda: None)
    going.classifier.load_state_dict(training.weights)
    kept = going.classifier.cpu().eval()
    return Result(training.seconds, curve, accuracy(kept, data.test), accuracy(kept, data.own))


def example(seed: int, epochs: int, data: Data) -> Result:
    curve: Curve = []
    tested, test = [], to_device(data.test, data.train.images.device)
    for seconds, trained in peer.train(data.train, seed, epochs):
        curve.append((seconds, peer.accuracy(trained, data.validation)))
        tested.append((seconds, peer.accuracy(trained, test)))
    print("  peer, test accuracy by epoch: " + ", ".join(f"{score:.2%} ({after:.0f} s)" for after, score in tested))
    return Result(curve[-1][0], curve, tested[-1][1], float("nan"))


def reached(curve: Curve, mark: float) -> float:
    """Seconds to the first epoch that was at least as accurate as `mark`; infinite if none was."""
    return next((seconds for seconds, score in curve if score >= mark), float("inf"))


def row(name: str, results: Sequence[Result]) -> str:
    tests = [100 * result.test for result in results]
    spread = statistics.stdev(tests) if len(tests) > 1 else 0.0
    marks = (statistics.median(reached(result.curve, mark) for result in results) for mark in MARKS)
    times = " | ".join("–" if mark == float("inf") else f"{mark:.1f}" for mark in marks)
    seconds = statistics.median(result.seconds for result in results)
    own = 100 * statistics.fmean(result.own for result in results)
    return (
        f"| {name} | {len(tests)} | {statistics.fmean(tests):.3f} ± {spread:.3f} | {min(tests):.2f} "
        f"| {'–' if own != own else f'{own:.1f}'} | {seconds:.1f} | {times} |"
    )


def product_rate() -> float:
    """Multiplications and additions a second, in a large product of float32 matrices."""
    a, b = torch.rand(2048, 2048), torch.rand(2048, 2048)
    times = []
    for _ in range(7):
        started = time.perf_counter()
        torch.mm(a, b)
        times.append(time.perf_counter() - started)
    return 2 * 2048**3 / statistics.median(times)


def arithmetic(name: str, result: Result, data: Data) -> str:
    """How far the training is from its arithmetic: three times the forward pass's, as gradients cost twice that."""
    settings = Params.model_validate(profiles.tree(name)["train"])
    classifier = architecture(settings, 10, read_json(NORMALISED / "statistics.json")).build().eval()
    layers = layers_of(classifier)
    flop = 2 * sum(layer.multiplications for layer in layers)
    total = 3 * flop * len(data.train.labels) * settings.epochs
    rate = product_rate()
    return (
        f"{name}: {sum(layer.parameters for layer in layers):,} parameters, {flop / 1e6:.2f} MFLOP an image; "
        f"training does {total / result.seconds / 1e9:.0f} GFLOP/s, a large matrix product {rate / 1e9:.0f}: "
        f"{result.seconds * rate / total:.1f} times its arithmetic"
    )


def where(name: str, data: Data) -> str:
    """The operations that take most of a training's time, by torch's profiler, over 30 steps."""
    settings = Params.model_validate(profiles.tree(name)["train"] | {"epochs": 1})
    short = OnDevice(data.train.images[: 30 * settings.batch], data.train.labels[: 30 * settings.batch])
    going = trainer(settings, data._replace(train=short))
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        going.run(lambda row: None, lambda: None)
    found: Any = sorted(seen.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in found)
    shares = (f"{event.key.removeprefix('aten::')} {event.self_cpu_time_total / total:.0%}" for event in found[:8])
    return f"{name}, where the time goes: {', '.join(shares)}"


def plot(results: dict[str, list[Result]]) -> bytes:
    """PNG: accuracy on the validation images over seconds of training, each training a line."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for n, (name, trainings) in enumerate(results.items()):
        for training in trainings:
            seconds, scores = zip(*training.curve, strict=True)
            label = name if training is trainings[0] else None
            axes.plot(seconds, [100 * (1 - score) for score in scores], "o-", ms=3, lw=1, color=f"C{n}", label=label)
    axes.set(xscale="log", yscale="log", xlabel="seconds of training", ylabel="wrong on validation images, %")
    axes.grid(which="both", color="0.92")
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", nargs="*", default=["fast", "default"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--peer-seeds", type=int, default=1)
    parser.add_argument("--peer-epochs", type=int, default=peer.EPOCHS)
    asked = parser.parse_args()
    device = choose("auto")
    train, validation = (to_device(load_split(NORMALISED, part), device) for part in ("train", "validation"))
    data = Data(train, validation, load_split(RAW, "test"), handwriting.read(Path("data")).split)
    print(f"{describe(device)}, {platform.machine()}, Python {platform.python_version()}, torch {version('torch')}")
    results: dict[str, list[Result]] = {
        "peer": [example(seed, asked.peer_epochs, data) for seed in range(1, asked.peer_seeds + 1)]
    }
    for name in asked.profiles:
        results[name] = [ours(name, seed, data) for seed in range(1, asked.seeds + 1)]
    marks = " | ".join(f"s to {mark:.1%}" for mark in MARKS)
    print(f"\n| profile | seeds | test accuracy, % | worst | `data/`, % | s | {marks} |")
    print("|" + 9 * "---|")
    for name, trainings in results.items():
        print(row(name, trainings))
    print()
    for name in asked.profiles:
        print(arithmetic(name, results[name][0], data))
        print(where(name, data))
    write_bytes(PLOT, plot(results))
    print(f"{PLOT} shows accuracy over time")


if __name__ == "__main__":
    main()
