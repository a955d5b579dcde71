"""`make bench-training`: our profiles beside the recipe of pytorch/examples, on this machine, one after another.

Takes the archives from .cache/archives, as `make repro` does, and fetches those that are not there. Settings and epochs
were chosen on validation images; the test set is scored once for each training that is printed. The time to an accuracy
is that on the validation images, after an epoch. The peer's test accuracy is shown after each epoch: nothing of ours is
chosen by it. `--jobs 2` trains two seeds at a time, each on its share of the cores: sooner done, but no times to quote.
"""

import argparse
import io
import os
import platform
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch.profiler import ProfilerActivity, profile

from benchmarks import peer, profiles
from pipeline import download, handwriting, normalise
from pipeline.classifier import Classifier, predict
from pipeline.dataset import DIGITS, Split
from pipeline.device import choose, describe
from pipeline.files import write_bytes
from pipeline.image import canonical
from pipeline.layers import layers_of
from pipeline.train import Params, architecture
from pipeline.training import EpochRow, OnDevice, Row, Trainer, to_device
from tests import pen

MARKS: Final = (0.99, 0.992, 0.995)
PLOT: Final = Path("docs/images/training.png")
Curve = list[tuple[float, float]]  # seconds, validation accuracy


class Result(NamedTuple):
    """One training: what it took, its curve, and its accuracies, NaN where a data set has no such pictures."""

    seconds: float
    curve: Curve
    test: float
    own: float = float("nan")
    drawn: float = float("nan")


class Data(NamedTuple):
    """What is trained on, and what is judged by; `drawn` are pictures that are neither in `data/` nor seen before."""

    train: OnDevice
    validation: OnDevice
    statistics: dict[str, float]
    test: Split
    own: Split
    drawn: Split


@cache
def data(name: str) -> Data:
    """The data set `name`, divided as params.yaml says, on the device at hand."""
    description, raw, test = download.load(name, Path(".cache/archives"), os.environ.get("DATASET_MIRROR"))
    settings = normalise.Params.model_validate(profiles.tree("default")["normalise"])
    validates = normalise.split(raw.labels, settings.validation_share, settings.seed)
    train, validation = raw.take(np.flatnonzero(~validates)), raw.take(np.flatnonzero(validates))
    mean, deviation = normalise.statistics(train.images)
    own, drawn = handwriting.NOTHING.split, handwriting.NOTHING.split
    if description.classes == DIGITS:
        own, drawn = handwriting.read(Path("data")).split, drawings()
    device = choose("auto")
    test = Split(test.images.copy(), test.labels.copy())  # torch warns of arrays that cannot be written to
    scaling = {"subtract": mean, "divide_by": deviation}
    return Data(to_device(train, device), to_device(validation, device), scaling, test, own, drawn)


def drawings() -> Split:
    """1,200 digits drawn as those in `data/` are, by other seeds, each by the road that a picture takes."""
    files = [(path, file) for seed in range(101, 111) for path, file in pen.pictures(seed).items()]
    images = np.stack([canonical(file) for _, file in files])
    return Split(images, np.array([int(path[0]) for path, _ in files], np.uint8))


def accuracy(classifier: Classifier, split: Split) -> float:
    """0 to 1; NaN of nothing."""
    if not len(split):
        return float("nan")
    found = predict(classifier, torch.from_numpy(split.images)).argmax(dim=1).numpy()
    return float((found == split.labels).mean())


def data_of(name: str) -> Data:
    return data(profiles.tree(name)["download"]["dataset"])


def trainer(settings: Params, given: Data) -> Trainer:
    torch.manual_seed(settings.seed)
    built = architecture(settings, 10, given.statistics).build()
    return Trainer(built, given.train, given.validation, settings)


def ours(name: str, seed: int) -> Result:
    """The profile `name`, trained with `seed`."""
    given = data_of(name)
    going = trainer(Params.model_validate(profiles.tree(name)["train"] | {"seed": seed}), given)
    curve: Curve = []

    def follow(row: Row) -> None:
        if isinstance(row, EpochRow):
            curve.append((time.perf_counter() - started, row.validation_accuracy))

    started = time.perf_counter()
    training = going.run(follow, lambda: None)
    going.classifier.load_state_dict(training.weights)
    kept = going.classifier.cpu().eval()
    result = Result(training.seconds, curve, *(accuracy(kept, split) for split in (given.test, given.own, given.drawn)))
    print(f"  {name}, seed {seed}: {result.test:.2%} after {result.seconds:.1f} s", flush=True)
    return result


def all_of(name: str, seeds: Sequence[int], jobs: int) -> list[Result]:
    """The profile `name` with each of the seeds, `jobs` at a time."""
    if jobs == 1:
        return [ours(name, seed) for seed in seeds]
    threads = max(1, torch.get_num_threads() // jobs)
    with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        return list(pool.map(partial(ours, name), seeds))


def example(seed: int, epochs: int) -> Result:
    """The peer's recipe, trained with `seed`; its accuracies on the test set are printed."""
    given = data("mnist")
    curve: Curve = []
    tested, test = [], to_device(given.test, given.train.images.device)
    for seconds, trained in peer.train(given.train, seed, epochs):
        curve.append((seconds, peer.accuracy(trained, given.validation)))
        tested.append((seconds, peer.accuracy(trained, test)))
        print(f"  peer, seed {seed}, test accuracy after {seconds:.0f} s: {tested[-1][1]:.2%}", flush=True)
    return Result(curve[-1][0], curve, tested[-1][1])


def reached(curve: Curve, mark: float) -> float:
    """Seconds to the first epoch that was at least as accurate as `mark`; infinite if none was."""
    return next((seconds for seconds, score in curve if score >= mark), float("inf"))


def row(name: str, results: Sequence[Result]) -> str:
    tests = [100 * result.test for result in results]
    spread = statistics.stdev(tests) if len(tests) > 1 else 0.0
    marks = (statistics.median(reached(result.curve, mark) for result in results) for mark in MARKS)
    times = " | ".join("–" if mark == float("inf") else f"{mark:.1f}" for mark in marks)
    seconds = statistics.median(result.seconds for result in results)
    shares = (100 * statistics.fmean(shown) for shown in zip(*(result[-2:] for result in results), strict=True))
    pictures = " | ".join("–" if share != share else f"{share:.1f}" for share in shares)
    return (
        f"| {name} | {len(tests)} | {statistics.fmean(tests):.3f} ± {spread:.3f} | {min(tests):.2f} "
        f"| {pictures} | {seconds:.1f} | {times} |"
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


def arithmetic(name: str, result: Result) -> str:
    """How far the training is from its arithmetic: three times the forward pass's, as gradients cost twice that."""
    settings, given = Params.model_validate(profiles.tree(name)["train"]), data_of(name)
    classifier = architecture(settings, 10, given.statistics).build().eval()
    layers = layers_of(classifier)
    flop = 2 * sum(layer.multiplications for layer in layers)
    total = 3 * flop * len(given.train.labels) * settings.epochs
    rate = product_rate()
    return (
        f"{name}: {sum(layer.parameters for layer in layers):,} parameters, {flop / 1e6:.2f} MFLOP an image; "
        f"training does {total / result.seconds / 1e9:.0f} GFLOP/s, a large matrix product {rate / 1e9:.0f}: "
        f"{result.seconds * rate / total:.1f} times its arithmetic"
    )


def where(name: str) -> str:
    """The operations that take most of a training's time, by torch's profiler, over 30 steps."""
    settings, given = Params.model_validate(profiles.tree(name)["train"] | {"epochs": 1}), data_of(name)
    short = OnDevice(given.train.images[: 30 * settings.batch], given.train.labels[: 30 * settings.batch])
    going = trainer(settings, given._replace(train=short))
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
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--peer-seeds", type=int, default=1)
    parser.add_argument("--peer-epochs", type=int, default=peer.EPOCHS)
    parser.add_argument("--plot", type=Path, default=PLOT)
    asked = parser.parse_args()
    versions = f"Python {platform.python_version()}, torch {version('torch')}"
    print(f"{describe(choose('auto'))}, {platform.machine()}, {versions}")
    results: dict[str, list[Result]] = {}
    if asked.peer_seeds:
        results["peer"] = [example(seed, asked.peer_epochs) for seed in range(1, asked.peer_seeds + 1)]
    for name in asked.profiles:
        results[name] = all_of(name, range(1, asked.seeds + 1), asked.jobs)
    marks = " | ".join(f"s to {mark:.1%}" for mark in MARKS)
    print(f"\n| profile | seeds | test accuracy, % | worst | `data/`, % | drawn, % | s | {marks} |")
    print("|" + 10 * "---|")
    for name, trainings in results.items():
        print(row(name, trainings))
    print()
    for name in asked.profiles:
        print(arithmetic(name, results[name][0]))
        print(where(name))
    write_bytes(asked.plot, plot(results))
    print(f"{asked.plot} shows accuracy over time")


if __name__ == "__main__":
    main()
