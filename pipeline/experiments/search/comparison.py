"""Whether the best trial beats params.yaml: both trained with fresh seeds, in full, and compared seed by seed."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import optuna
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import TrialState

from pipeline.experiments.search.space import Search, Settings, digest
from pipeline.experiments.search.study import HISTORY
from pipeline.training.state import EpochRow

FIRST_SEED: Final = 1001  # no seed of params.yaml or of a profile
SIGNIFICANCE: Final = 0.05
DEFAULT, BEST = "default", "best"
METRICS: Final = ("validation_loss", "validation_accuracy")


def open_comparison(search: Search, storage: BaseStorage, study_name: str, best: Settings, seeds: int) -> Study:
    """A study with a trial for each of the two and each seed; those that are there from an earlier call are kept."""
    name = f"{study_name}-compared-{digest([best, search.params['train']])}"
    study = optuna.create_study(
        storage=storage, study_name=name, load_if_exists=True, direction=search.declaration.direction
    )
    for seed, candidate in itertools.product(range(FIRST_SEED, FIRST_SEED + seeds), (DEFAULT, BEST)):
        study.enqueue_trial({"candidate": candidate, "seed": seed}, skip_if_exists=True)
    return study


def kept_epochs(study: Study) -> dict[str, dict[int, EpochRow]]:
    """The row of the epoch that is kept, by candidate and seed."""
    found: dict[str, dict[int, EpochRow]] = {DEFAULT: {}, BEST: {}}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        rows = [EpochRow(*row) for row in trial.user_attrs[HISTORY]]
        kept = min(rows, key=lambda row: row.validation_loss)
        found[trial.params["candidate"]][trial.params["seed"]] = kept
    return found


def sign_flip(gains: Sequence[float]) -> float:
    """The probability of a mean gain as high as this one if only chance decides: one-sided, exact.

    It is the share of all assignments of signs to the gains whose mean is at least theirs (Fisher, 1935).
    """
    signs = np.array(list(itertools.product((1, -1), repeat=len(gains))))
    return float(((signs @ np.asarray(gains)) >= sum(gains) - 1e-12).mean())


def compare(search: Search, kept: Mapping[str, Mapping[int, EpochRow]], images: int, epochs: tuple[int, int]) -> str:
    """The two candidates on the validation images, over the seeds that both have; `epochs`: of default and best."""
    objective = search.declaration.objective
    seeds = sorted(kept[DEFAULT].keys() & kept[BEST].keys())
    values = {
        (name, metric): np.array([getattr(kept[name][seed], metric) for seed in seeds])
        for name in (DEFAULT, BEST)
        for metric in METRICS
    }
    sign = -1 if objective == "validation_loss" else 1
    gains = (sign * (values[BEST, objective] - values[DEFAULT, objective])).tolist()
    trained = f"{epochs[0]} epochs" if epochs[0] == epochs[1] else f"{epochs[0]} and {epochs[1]} epochs"
    lines = [f"params.yaml and the best trial, {len(seeds)} fresh seeds, {trained}, {images:,} validation images:"]
    for metric, form in zip(METRICS, (".5f", ".3%"), strict=True):
        default, best = values[DEFAULT, metric], values[BEST, metric]
        lines.append(
            f"  {metric.replace('_', ' '):<20} params.yaml {spread(default, form)}   best {spread(best, form)}   "
            f"difference {spread(best - default, '+' + form)}"
        )
    probability = sign_flip(gains)
    is_better = float(np.mean(gains)) > 0 and probability <= SIGNIFICANCE
    name, test = objective.replace("_", " "), f"one-sided exact sign-flip test, p = {probability:.3f}"
    verdict = (
        f"The best trial beats params.yaml in {name} ({test})."
        if is_better
        else f"The best trial does not beat params.yaml in {name} beyond chance ({test}); params.yaml may stay."
    )
    return "\n".join([*lines, verdict])


def spread(values: np.ndarray[tuple[int], np.dtype[np.float64]], form: str) -> str:
    """Mean ± standard deviation."""
    deviation = values.std(ddof=1) if len(values) > 1 else 0.0
    return f"{values.mean():{form}} ± {deviation:{form.removeprefix('+')}}"
