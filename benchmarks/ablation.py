"""A change of settings, tried on images held out of the training part; the test set is not looked at.

`python -m benchmarks.ablation train.cnn.dropout=0.3 train.epochs=15` trains on 50,000 of MNIST's training images,
judges on the other 10,000 and on the drawn pictures, and prints a row of the tables in docs/performance.md. Without a
change it tries the profile as it is. The last epoch's weights are judged: choosing an epoch would flatter the
settings.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from benchmarks.datasets import accuracy, data, trainer
from pipeline.core import profiles
from pipeline.model.classifier import Classifier
from pipeline.train import Params

HELD_OUT: Final = {"normalise.validation_share": 1 / 6, "normalise.seed": 7}
COLUMNS: Final = "| change | epochs | seeds | held out, % | loss | `data/`, % | drawn, % | s |"


class Trial(NamedTuple):
    """One training: accuracies from 0 to 1, NaN where a data set has no such pictures."""

    held_out: float
    loss: float
    own: float
    drawn: float
    seconds: float


def trial(tree: dict[str, Any]) -> Trial:
    """A training with these parameters."""
    given = data(tree)
    going = trainer(Params.model_validate(tree["train"]), given)
    started = time.perf_counter()
    last = going.run(lambda row: None, lambda: None).epochs[-1]
    seconds = time.perf_counter() - started
    kept = going.average.module if going.recipe.averaging else going.classifier
    assert isinstance(kept, Classifier)
    own, drawn = (accuracy(kept.cpu().eval(), split) for split in (given.own, given.drawn))
    return Trial(last.validation_accuracy, last.validation_loss, own, drawn, seconds)


def row(change: str, epochs: int, trials: Sequence[Trial]) -> str:
    held_out = [100 * trial.held_out for trial in trials]
    spread = f" ± {statistics.stdev(held_out):.3f}" if len(trials) > 1 else ""
    loss, own, drawn = (statistics.fmean(column) for column in list(zip(*trials, strict=True))[1:4])
    pictures = " | ".join("–" if share != share else f"{100 * share:.1f}" for share in (own, drawn))
    seconds = statistics.median(trial.seconds for trial in trials)
    return (
        f"| {change} | {epochs} | {len(trials)} | {statistics.fmean(held_out):.3f}{spread} | {loss:.4f} | {pictures} "
        f"| {seconds:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("changes", nargs="*", metavar="section.key=value")
    parser.add_argument("--profile", default="default")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    try:
        trees = [
            profiles.tree(asked.profile, HELD_OUT | profiles.parse(asked.changes) | {"train.seed": seed})
            for seed in range(1, asked.seeds + 1)
        ]
    except KeyError as error:
        sys.exit(f"error: expected settings of params.yaml, got {error}")
    trials = [trial(tree) for tree in trees]
    print(f"{COLUMNS}\n{row(' '.join(asked.changes) or 'none', trees[0]['train']['epochs'], trials)}")


if __name__ == "__main__":
    main()
