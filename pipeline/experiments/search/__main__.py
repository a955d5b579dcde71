"""`make search`: tunes hyperparameters, then compares the best ones with params.yaml on fresh seeds.

Reads    pipeline/searches/<name>.yaml, params.yaml, artifacts/download/dataset.json, artifacts/normalise/.
Writes   the study in Optuna's storage (SEARCH_STORAGE; .cache/search/<name>.db by default), runs in MLflow; with
         `--apply`, params.yaml.
Decides  the best trial, by the validation images. The same command again continues a search, on as many machines as
         share the storage.
"""

import argparse
import json
import math
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from pipeline.core import entrypoint
from pipeline.core.config import PARAMS_FILE
from pipeline.core.errors import TrainingError
from pipeline.experiments.declarations import positive, whole
from pipeline.experiments.search.apply import apply
from pipeline.experiments.search.comparison import BEST, DEFAULT, compare, kept_epochs, open_comparison
from pipeline.experiments.search.runs import SearchRuns
from pipeline.experiments.search.space import Search, Settings
from pipeline.experiments.search.study import ERROR, HISTORY, counted, open_search, open_storage, retry_killed
from pipeline.experiments.search.worker import Task, load_data, work

INTERVAL: Final = 1.0  # seconds between two looks at the storage


@contextmanager
def workers(task: Task, count: int) -> Iterator[list[multiprocessing.process.BaseProcess]]:
    """Processes that work on the task; they are ended on the way out."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(task._replace(number=n),)) for n in range(count)]
    try:
        for process in processes:
            process.start()
        yield list(processes)
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
        for process in processes:
            if process.pid:
                process.join()


def run(task: Task, study: Study, count: int, runs: SearchRuns) -> None:
    """Work on the study with that many processes, print each trial that is finished, and log it."""
    begun, shown = time.time(), {trial.number for trial in counted(study)}
    first = len(shown)
    with workers(task, 0 if first >= task.trials else count) as processes:
        while True:
            ended = not any(process.is_alive() for process in processes)  # before looking, so that nothing is missed
            for trial in counted(study):
                if trial.number not in shown:
                    shown.add(trial.number)
                    left = remaining(task, time.time(), time.time() - begun, len(shown) - first, len(shown))
                    print(f"{describe(trial, study)}; {len(shown)} of {task.trials}{left}", flush=True)
            runs.sync(study)
            if ended:
                break
            time.sleep(INTERVAL)
    if any(process.exitcode for process in processes) and len(shown) == first:
        raise TrainingError("the workers ended without a trial, see above")


def remaining(task: Task, now: float, elapsed: float, done: int, total: int) -> str:
    """`, about 3 min left`, by the trials so far and the time limit."""
    seconds = min(elapsed / done * (task.trials - total), task.deadline - now)
    if seconds <= 0:
        return ""
    return f", about {seconds:.0f} s left" if seconds < 90 else f", about {seconds / 60:.0f} min left"


def describe(trial: FrozenTrial, study: Study) -> str:
    name = "{candidate}, seed {seed}".format(**trial.params) if "seed" in trial.params else f"trial {trial.number}"
    match trial.state:
        case TrialState.PRUNED:
            return f"{name}: pruned after epoch {len(trial.user_attrs.get(HISTORY, ()))}"
        case TrialState.FAIL:
            return f"{name}: failed: {trial.user_attrs[ERROR]}"
    is_best = "seed" not in trial.params and study.best_trial.number == trial.number
    return f"{name}: {trial.value:.5f}{', the best so far' if is_best else ''}"


def search_best(search: Search, study: Study, arguments: argparse.Namespace, runs: SearchRuns) -> None:
    """Run the trials of a search that are missing."""
    trials = arguments.trials or search.declaration.trials
    if (default := search.default()) is not None:
        study.enqueue_trial(default, skip_if_exists=True)
    if done := len(counted(study)):
        print(f"resuming {study.study_name}: {done} of {trials} trials are there", flush=True)
    deadline = time.time() + arguments.seconds if arguments.seconds else math.inf
    run(Task(search, study.study_name, trials, deadline, {}), study, arguments.workers, runs)
    if not any(trial.state == TrialState.COMPLETE for trial in counted(study)):
        raise TrainingError(f"{study.study_name}: expected a trial that completes, got none of {len(counted(study))}")


def compare_best(search: Search, study: Study, arguments: argparse.Namespace, runs: SearchRuns) -> tuple[Study, str]:
    """Train params.yaml and the best trial with fresh seeds."""
    best = search.settings(study.best_params)
    candidates: dict[str, Settings] = {DEFAULT: {}, BEST: best}
    comparison = open_comparison(search, open_storage(search.name), study.study_name, best, arguments.seeds)
    retry_killed(comparison)
    task = Task(search, comparison.study_name, 2 * arguments.seeds, math.inf, candidates)
    run(task, comparison, arguments.workers, runs)
    epochs = search.train_params({}).epochs, search.train_params(best).epochs
    kept = kept_epochs(comparison)
    if not kept[DEFAULT].keys() & kept[BEST].keys():
        raise TrainingError("expected a seed with which both were trained, got none, see above")
    return comparison, compare(search, kept, len(load_data().validation), epochs)


def best_text(search: Search, study: Study) -> str:
    values = json.dumps(search.settings(study.best_params), indent=2)
    return f"best: trial {study.best_trial.number}, {search.declaration.objective} {study.best_value:.5f}\n{values}"


def apply_best(search: Search, study: Study) -> None:
    if not any(trial.state == TrialState.COMPLETE for trial in counted(study)):
        raise TrainingError(f"{study.study_name}: expected a search with a complete trial, got none; `make search`")
    changes = apply(search.settings(study.best_params))
    print("\n".join([*changes, f"{PARAMS_FILE} has trial {study.best_trial.number} of {study.study_name}"]))
    print("`git diff params.yaml` shows what has changed, `make repro` trains with it")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline.experiments.search", description="Tune hyperparameters.")
    parser.add_argument("name", help="of the search: pipeline/searches/<name>.yaml")
    parser.add_argument("--trials", type=positive, help="in all, with those of earlier calls; default: as declared")
    parser.add_argument("--seconds", type=positive, help="after which no trial is started")
    parser.add_argument("--workers", type=positive, default=os.cpu_count(), help="processes; default: one per core")
    parser.add_argument("--seeds", type=whole, default=5, help="of the comparison with params.yaml; 0: none")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--apply", action="store_true", help="write the best trial to params.yaml, and train nothing")
    action.add_argument("--check", action="store_true", help="report what is wrong with the search, and train nothing")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    search = Search.load(arguments.name)
    if arguments.check:
        open_storage(search.name)
        return
    load_data()  # raises before anything is written
    study = open_search(search, open_storage(search.name), search.study_name())
    if arguments.apply:
        apply_best(search, study)
        return
    if killed := retry_killed(study):
        print(f"{killed} trials were killed: their values are tried again")
    runs, latest, texts = SearchRuns(search, study), study, dict[str, str]()
    is_done = False
    try:
        search_best(search, study, arguments, runs)
        texts["best.json"] = json.dumps(search.settings(study.best_params), indent=2)
        print(best_text(search, study), flush=True)
        if arguments.seeds and study.best_params != search.default():
            latest, result = compare_best(search, study, arguments, runs)
            texts["comparison.txt"] = result
            print(result)
        elif arguments.seeds:
            print("The best trial is params.yaml itself: there is nothing to compare.")
        print(f"apply it: make search-apply NAME={search.name}")
        is_done = True
    finally:
        for each in (study, latest):
            retry_killed(each)
        runs.finish(latest, texts, killed=not is_done)


if __name__ == "__main__":
    entrypoint.run(main)
