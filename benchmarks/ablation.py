"""A change of settings, evaluated on images held out from the training split; the test set is not used.

`python -m benchmarks.ablation train.cnn.dropout=0.3 train.epochs=15` trains on 50,000 of MNIST's training images,
evaluates on the other 10,000 and on the drawn pictures, and prints a row of the tables in docs/performance.md. Without
a change it evaluates the profile itself. The weights of the last epoch are evaluated: choosing an epoch on the same
images would bias the result.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from benchmarks.datasets import accuracy, build_trainer, load_data
from pipeline.core import entrypoint, profiles
from pipeline.core.config import PARAMS_FILE
from pipeline.experiments.run import apply_settings, profile_settings
from pipeline.model.classifier import Classifier
from pipeline.train import Params

HELD_OUT: Final = {"validation_share": 1 / 6, "seed": 7}  # of section `normalise`
COLUMNS: Final = "| change | epochs | seeds | held out, % | loss | `data/`, % | drawn, % | s |"


class Trial(NamedTuple):
    """One training run: accuracies from 0 to 1, NaN if a data set has no such pictures."""

    held_out: float
    loss: float
    own: float
    drawn: float
    seconds: float


def run_trial(params: dict[str, Any]) -> Trial:
    """Train with these parameters."""
    data = load_data(params)
    trainer = build_trainer(Params.model_validate(params["train"]), data)
    started = time.perf_counter()
    last = trainer.run(lambda row: None, lambda: None).epochs[-1]
    seconds = time.perf_counter() - started
    classifier = trainer.averaged.module if trainer.config.averaging else trainer.classifier
    assert isinstance(classifier, Classifier)
    own, drawn = (accuracy(classifier.cpu().eval(), split) for split in (data.own, data.drawn))
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
    parser.add_argument("--profile", default=profiles.DEFAULT)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    base = apply_settings([*profile_settings(arguments.profile), *arguments.changes])
    overlays = ({"normalise": HELD_OUT, "train": {"seed": seed}} for seed in range(1, arguments.seeds + 1))
    trials = [run_trial(profiles.merge(base, overlay, PARAMS_FILE)) for overlay in overlays]
    print(f"{COLUMNS}\n{row(' '.join(arguments.changes) or 'none', base['train']['epochs'], trials)}")


if __name__ == "__main__":
    entrypoint.run(main)
