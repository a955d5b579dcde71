"""A process that takes trials of a study, trains each as stage `train` does, and reports its epochs to the pruner."""

import multiprocessing
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import optuna
from optuna.trial import Trial

from pipeline.core.errors import DataError
from pipeline.core.files import read_json
from pipeline.data.dataset import Split, load_description, load_split
from pipeline.experiments.search.space import Search, Settings
from pipeline.experiments.search.study import ERROR, HISTORY, PROCESS, open_search, open_storage, started, this_process
from pipeline.train import NORMALISED, RAW, STATISTICS, build_architecture
from pipeline.training.config import TrainParams
from pipeline.training.device import make_deterministic, select_device, set_threads
from pipeline.training.state import EpochRow, Row
from pipeline.training.trainer import build_trainer, to_device


class Data(NamedTuple):
    """What the stages `download` and `normalise` wrote: no test images."""

    train: Split
    validation: Split
    statistics: dict[str, float]
    classes: int
    is_digits: bool


class Task(NamedTuple):
    """What a worker does: trials of a study until `trials` are started or it is `deadline`, in seconds since the epoch.

    `candidates`: settings by name, of the comparison.
    """

    search: Search
    study_name: str
    trials: int
    deadline: float
    candidates: dict[str, Settings]
    number: int = 0


def load_data() -> Data:
    """Raises DataError if the stages before `train` have not run."""
    try:
        description = load_description(RAW / "dataset.json")
        classes = len(description.classes)
        train, validation = (load_split(NORMALISED, name, classes) for name in ("train", "validation"))
        statistics = read_json(STATISTICS, "subtract", "divide_by")
    except DataError as error:
        raise DataError(f"{error}; `dvc repro normalise` writes what a search trains on") from error
    return Data(train, validation, statistics, classes, description.is_digits and description.is_ink)


def train(params: TrainParams, data: Data, report: Callable[[EpochRow], None]) -> EpochRow:
    """Train a network and return the row of the epoch that stage `train` would keep; `report` gets each epoch."""
    device = select_device(params.device)
    set_threads(params.threads)
    make_deterministic()
    architecture = build_architecture(params, data.classes, data.train.channels, data.statistics)
    splits = to_device(data.train, device), to_device(data.validation, device)
    trainer = build_trainer(params, architecture, *splits, is_digits=data.is_digits)

    def report_epoch(row: Row) -> None:
        if isinstance(row, EpochRow):
            report(row)

    best = trainer.run(report_epoch, lambda: None, show_bar=False).best
    assert best is not None  # there is at least one epoch
    return best


def run_trial(trial: Trial, task: Task, data: Data) -> float:
    """The objective of the trial. Raises TrialPruned; an error is noted at the trial and raised again."""
    trial.set_user_attr(PROCESS, this_process())
    metric, rows = task.search.declaration.objective, list[EpochRow]()

    def report(row: EpochRow) -> None:
        exit_if_orphaned()
        rows.append(row)
        trial.set_user_attr(HISTORY, rows)
        trial.report(getattr(row, metric), row.epoch)
        if not task.candidates and trial.should_prune():
            raise optuna.TrialPruned

    try:
        fixed = task.search.declaration.fixed
        settings = compared(trial, task) if task.candidates else fixed | task.search.suggest(trial)
        return float(getattr(train(task.search.train_params(settings), data, report), metric))
    except optuna.TrialPruned:
        raise
    except Exception as error:  # whatever it is, it is of these settings, and other trials may do without
        trial.set_user_attr(ERROR, f"{type(error).__name__}: {error}")
        raise


def compared(trial: Trial, task: Task) -> Settings:
    """The settings of a trial of a comparison: a candidate with a seed."""
    name = trial.suggest_categorical("candidate", sorted(task.candidates))
    return task.candidates[name] | {"train.seed": trial.suggest_int("seed", 0, 2**31)}


def exit_if_orphaned() -> None:
    """End this process if the one that started it was killed: nothing would end it later."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise SystemExit(1)


def work(task: Task) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes: the one that started this one ends it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    data, storage = load_data(), open_storage(task.search.name)
    if task.candidates:
        study = optuna.load_study(study_name=task.study_name, storage=storage, sampler=optuna.samplers.RandomSampler(0))
    else:
        # Each worker and each continuation draws other numbers.
        seeds = np.random.SeedSequence(
            (task.search.params["train"]["seed"], task.number, started_so_far(task, storage))
        )
        study = open_search(task.search, storage, task.study_name, int(seeds.generate_state(1)[0]))
    while started(study) < task.trials and time.time() < task.deadline:
        exit_if_orphaned()
        study.optimize(lambda trial: run_trial(trial, task, data), n_trials=1, catch=(Exception,))


def started_so_far(task: Task, storage: optuna.storages.BaseStorage) -> int:
    return len(optuna.load_study(study_name=task.study_name, storage=storage).get_trials(deepcopy=False))
