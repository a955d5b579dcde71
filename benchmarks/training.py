"""`make bench-training`: our profiles compared with the example of pytorch/examples, on this machine, one at a time.

Takes the archives from .cache/archives, as `make repro` does, and downloads missing ones. Settings and epochs were
chosen on validation images; the test set is scored once for each run that is printed. The time to an accuracy is
measured on the validation images, after an epoch. The baseline's test accuracy is shown after each epoch: none of our
settings is chosen by it. `--jobs 2` trains two seeds at a time: finished sooner, but the times are not comparable.
`--whole 3` also times `dvc repro` from scratch with each profile, three times, in temporary clones.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import torch
from dvc.utils.serialize import dump_yaml

from benchmarks import pytorch_example
from benchmarks.comparison import Result, goals, plot, table
from benchmarks.costs import arithmetic, profile_operations
from benchmarks.datasets import accuracy, build_trainer, load_data, load_params
from benchmarks.hardware import hardware
from benchmarks.pipeline import clone, seconds
from pipeline.core.files import write_bytes
from pipeline.train import Params
from pipeline.training.device import describe, select_device
from pipeline.training.state import EpochRow, Row
from pipeline.training.trainer import TensorSplit, to_device

PLOT: Final = Path("docs/images/training.png")


def train_profile(name: str, seed: int) -> Result:
    """The profile `name`, trained with `seed`."""
    params = load_params(name, {"train": {"seed": seed}})
    data = load_data(params)
    trainer = build_trainer(Params.model_validate(params["train"]), data)
    curve: list[tuple[float, float]] = []

    def report(row: Row) -> None:
        if isinstance(row, EpochRow):
            curve.append((time.perf_counter() - started, row.validation_accuracy))

    started = time.perf_counter()
    state = trainer.run(report, lambda: None)
    trainer.classifier.load_state_dict(state.weights)
    classifier = trainer.classifier.cpu().eval()
    test, own, drawn = (accuracy(classifier, split) for split in (data.test, data.own, data.drawn))
    result = Result(state.seconds, curve, test, own, drawn)
    print(f"  {name}, seed {seed}: {result.test:.2%} after {result.seconds:.1f} s", flush=True)
    return result


def train_profiles(names: Sequence[str], seeds: Sequence[int], jobs: int) -> dict[str, list[Result]]:
    """The profiles with each of the seeds, `jobs` at a time."""
    runs = [(name, seed) for name in names for seed in seeds]
    if jobs == 1:
        results = [train_profile(name, seed) for name, seed in runs]
    else:
        with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
            results = list(pool.map(train_profile, *zip(*runs, strict=True)))
    return {name: results[n * len(seeds) : (n + 1) * len(seeds)] for n, name in enumerate(names)}


def train_baseline(seed: int, epochs: int) -> Result:
    """The baseline, trained with `seed` on all 60,000 images; its accuracies on the test set are printed."""
    data = load_data(load_params("default"))
    columns = zip(*((split.images, split.labels) for split in (data.train, data.validation)), strict=True)
    train, test = TensorSplit(*map(torch.cat, columns)), to_device(data.test, data.train.images.device)
    curve: list[tuple[float, float]] = []
    for elapsed, model in pytorch_example.train(train, seed, epochs):
        curve.append((elapsed, pytorch_example.accuracy(model, test)))
        print(f"  baseline, seed {seed}, test accuracy after {elapsed:.0f} s: {curve[-1][1]:.2%}", flush=True)
    return Result(curve[-1][0], curve, curve[-1][1])


def time_repro(name: str) -> float:
    """Seconds of `dvc repro` from scratch, archives downloaded, with the parameters of the profile `name`."""
    with tempfile.TemporaryDirectory() as folder:
        repository = clone(Path(folder))
        dump_yaml(repository.folder / "params.yaml", load_params(name))
        repository.commit()
        elapsed, _ = seconds(repository, "dvc", "repro")
    print(f"  dvc repro, {name}: {elapsed:.0f} s", flush=True)
    return elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", nargs="*", default=["fastest", "fast", "default"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--baseline-seeds", type=int, default=1)
    parser.add_argument("--baseline-epochs", type=int, default=pytorch_example.EPOCHS)
    parser.add_argument("--whole", type=int, default=0)
    parser.add_argument("--plot", type=Path, default=PLOT)
    arguments = parser.parse_args()
    print(f"{hardware('torch', 'dvc')}; on {describe(select_device('auto'))}")
    results: dict[str, list[Result]] = {}
    first = arguments.first_seed
    seeds, baseline_seeds = (range(first, first + n) for n in (arguments.seeds, arguments.baseline_seeds))
    if baseline_seeds:
        results["baseline"] = [train_baseline(seed, arguments.baseline_epochs) for seed in baseline_seeds]
    results |= train_profiles(arguments.profiles, seeds, arguments.jobs)
    repros = {
        name: statistics.median(time_repro(name) for _ in range(arguments.whole))
        for name in arguments.profiles
        if arguments.whole
    }
    print(f"\n{table(results, repros)}\n")
    for name in arguments.profiles:
        print(arithmetic(name, results[name][0].seconds))
        print(profile_operations(name))
    print("\n".join(goals(results)))
    write_bytes(arguments.plot, plot(results))
    print(f"{arguments.plot} shows accuracy over time")


if __name__ == "__main__":
    main()
