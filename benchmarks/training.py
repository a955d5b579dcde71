"""`make bench-training`: our profiles beside the recipe of pytorch/examples, on this machine, one after another.

Takes the archives from .cache/archives, as `make repro` does, and fetches those that are not there. Settings and epochs
were chosen on validation images; the test set is scored once for each training that is printed. The time to an accuracy
is that on the validation images, after an epoch. The peer's test accuracy is shown after each epoch: nothing of ours is
chosen by it. `--jobs 2` trains two seeds at a time: sooner done, but no times to quote.
`--whole 3` also times `dvc repro` from nothing with each profile, three times, in temporary clones.
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
from benchmarks.costs import arithmetic, where
from benchmarks.datasets import accuracy, data, trainer
from benchmarks.hardware import hardware
from benchmarks.pipeline import clone, seconds
from pipeline.core import profiles
from pipeline.core.files import write_bytes
from pipeline.train import Params
from pipeline.training.device import choose, describe
from pipeline.training.trainer import EpochRow, OnDevice, Row, to_device

PLOT: Final = Path("docs/images/training.png")


def ours(name: str, seed: int) -> Result:
    """The profile `name`, trained with `seed`."""
    tree = profiles.tree(name, {"train.seed": seed})
    given = data(tree)
    going = trainer(Params.model_validate(tree["train"]), given)
    curve: list[tuple[float, float]] = []

    def follow(row: Row) -> None:
        if isinstance(row, EpochRow):
            curve.append((time.perf_counter() - started, row.validation_accuracy))

    started = time.perf_counter()
    training = going.run(follow, lambda: None)
    going.classifier.load_state_dict(training.weights)
    kept = going.classifier.cpu().eval()
    test, own, drawn = (accuracy(kept, split) for split in (given.test, given.own, given.drawn))
    result = Result(training.seconds, curve, test, own, drawn)
    print(f"  {name}, seed {seed}: {result.test:.2%} after {result.seconds:.1f} s", flush=True)
    return result


def all_of(names: Sequence[str], seeds: Sequence[int], jobs: int) -> dict[str, list[Result]]:
    """The profiles with each of the seeds, `jobs` at a time."""
    trainings = [(name, seed) for name in names for seed in seeds]
    if jobs == 1:
        found = [ours(name, seed) for name, seed in trainings]
    else:
        with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
            found = list(pool.map(ours, *zip(*trainings, strict=True)))
    return {name: found[n * len(seeds) : (n + 1) * len(seeds)] for n, name in enumerate(names)}


def example(seed: int, epochs: int) -> Result:
    """The peer's recipe, trained with `seed` on all 60,000 images; its accuracies on the test set are printed."""
    given = data(profiles.tree("default"))
    parts = zip(*((part.images, part.labels) for part in (given.train, given.validation)), strict=True)
    everything, test = OnDevice(*map(torch.cat, parts)), to_device(given.test, given.train.images.device)
    curve: list[tuple[float, float]] = []
    for took, trained in pytorch_example.train(everything, seed, epochs):
        curve.append((took, pytorch_example.accuracy(trained, test)))
        print(f"  peer, seed {seed}, test accuracy after {took:.0f} s: {curve[-1][1]:.2%}", flush=True)
    return Result(curve[-1][0], curve, curve[-1][1])


def whole(name: str) -> float:
    """Seconds of `dvc repro` from nothing, archives at hand, with the parameters of the profile `name`."""
    with tempfile.TemporaryDirectory() as folder:
        place = clone(Path(folder))
        dump_yaml(place.folder / "params.yaml", profiles.tree(name))
        place.commit()
        took, _ = seconds(place, "dvc", "repro")
    print(f"  dvc repro, {name}: {took:.0f} s", flush=True)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", nargs="*", default=["fastest", "fast", "default"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--peer-seeds", type=int, default=1)
    parser.add_argument("--peer-epochs", type=int, default=pytorch_example.EPOCHS)
    parser.add_argument("--whole", type=int, default=0)
    parser.add_argument("--plot", type=Path, default=PLOT)
    asked = parser.parse_args()
    print(f"{hardware('torch', 'dvc')}; on {describe(choose('auto'))}")
    results: dict[str, list[Result]] = {}
    seeds, peers = (range(asked.first_seed, asked.first_seed + n) for n in (asked.seeds, asked.peer_seeds))
    if peers:
        results["peer"] = [example(seed, asked.peer_epochs) for seed in peers]
    results |= all_of(asked.profiles, seeds, asked.jobs)
    repros = {
        name: statistics.median(whole(name) for _ in range(asked.whole)) for name in asked.profiles if asked.whole
    }
    print(f"\n{table(results, repros)}\n")
    for name in asked.profiles:
        print(arithmetic(name, results[name][0].seconds))
        print(where(name))
    print("\n".join(goals(results)))
    write_bytes(asked.plot, plot(results))
    print(f"{asked.plot} shows accuracy over time")


if __name__ == "__main__":
    main()
