"""`make sweep`: a named grid of settings, run by DVC's queue of experiments and logged to MLflow as one sweep.

Reads    pipeline/sweeps/<name>.yaml, params.yaml, pipeline/profiles/.
Writes   DVC experiments `<sweep>-<values>-<seed>`; MLflow's experiment `sweeps`: a parent run for the sweep, in it one
         run for each experiment; .cache/sweeps/: <name>.csv, a row for each experiment, <name>-curves.csv, one for
         each epoch.
Decides  nothing. What an experiment of the same commit and settings has computed is not computed again: a sweep that
         was interrupted goes on.
"""

import argparse
import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pandas as pd
from dvc.utils.serialize import parse_yaml
from filelock import FileLock, Timeout
from tqdm import tqdm

from pipeline.core import entrypoint, git
from pipeline.core.config import PARAMS_FILE
from pipeline.core.errors import RepositoryError, TrackingError
from pipeline.core.files import write_text
from pipeline.experiments import dvc_queue, run, sweep_file, sweep_record
from pipeline.experiments.declarations import positive
from pipeline.experiments.sweep_file import Experiment, Sweep
from pipeline.experiments.sweep_record import Result, SweepRecord
from pipeline.tracking.mlflow_store import configure_mlflow, mlflow_errors

FOLDER: Final = Path(".cache/sweeps")
POLL: Final = 2.0  # seconds
ABSENCES: Final = 3  # times that an experiment is seen neither in work nor done, until it is taken for failed
UNANSWERED: Final = 3  # times that no worker answers, until the experiments in work are taken for lost


def refs(sweep: Sweep) -> dict[str, str]:
    """DVC's ref of each experiment of the sweep, on the present commit, by name."""
    head = git.git("rev-parse", "HEAD") or ""
    return {each.name: f"refs/exps/{head[:2]}/{head[2:]}/{each.name}" for each in sweep.experiments}


def stored(sweep: Sweep) -> dict[str, str]:
    """The commits of the sweep's experiments that DVC has stored, on the present commit, by name."""
    commits = run.experiment_refs()
    return {name: commits[ref] for name, ref in refs(sweep).items() if ref in commits}


def outdated(sweep: Sweep) -> list[str]:
    """The stored experiments with other parameters than the sweep's file, the profile and params.yaml now have.

    Raises ParamsError if a stage would reject the parameters of any experiment.
    """
    commits, found = stored(sweep), []
    for experiment in tqdm(sweep.experiments, "checking", leave=False, disable=None):
        params = run.apply_settings(experiment.settings)
        commit = commits.get(experiment.name)
        if commit and parse_yaml(git.git("show", f"{commit}:./{PARAMS_FILE}") or "", PARAMS_FILE) != params:
            found.append(experiment.name)
    return found


def queue_missing(sweep: Sweep) -> None:
    """Queue the experiments that are neither stored nor in work. Those that failed are queued again."""
    for name in outdated(sweep):
        git.git("update-ref", "-d", refs(sweep)[name])
    commits, statuses = stored(sweep), dvc_queue.statuses()
    in_work = {name for name, status in statuses.items() if status in dvc_queue.PENDING}
    if not dvc_queue.has_workers():
        in_work.clear()  # the workers were killed: what they had begun is lost
    missing = [each for each in sweep.experiments if each.name not in commits and each.name not in in_work]
    dvc_queue.remove([each.name for each in missing if each.name in statuses])
    for each in tqdm(missing, "queueing", leave=False, disable=None):
        dvc_queue.put(each.name, each.settings)
    done = f", {len(commits)} of them done before" if commits else ""
    print(f"{sweep.name}: {len(sweep.experiments)} experiments{done}", flush=True)


def watch(sweep: Sweep, workers: int) -> Iterator[tuple[Experiment, str | None]]:
    """Each experiment once it has ended: with its commit, or with None if it failed or its worker was lost."""
    waiting = {each.name: each for each in sweep.experiments}
    unanswered, absences = 0, Counter[str]()
    while True:
        statuses, commits = dvc_queue.statuses(), stored(sweep)
        for name in [name for name in waiting if name in commits]:
            yield waiting.pop(name), commits[name]
        # Between two states a task may be in none of DVC's lists for a moment, and its result not yet stored.
        absent = [name for name in waiting if statuses.get(name) not in (*dvc_queue.PENDING, "Success")]
        absences = Counter({name: absences[name] + 1 for name in absent})
        for name in [name for name in waiting if absences[name] == ABSENCES]:
            yield waiting.pop(name), None
        if not waiting:
            return
        unanswered = 0 if dvc_queue.has_workers() else unanswered + 1
        if unanswered == UNANSWERED:
            dvc_queue.remove([name for name in waiting if statuses.get(name) == "Running"])
            unanswered = 0
        if unanswered:
            dvc_queue.start(workers)
        time.sleep(POLL)


class Progress:
    """Prints a line for each experiment that has ended, with an estimate of the time left."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.timed = total, 0, 0
        self.started = time.monotonic()

    def line(self, name: str, outcome: str) -> str:
        self.done += 1
        elapsed = time.monotonic() - self.started
        if elapsed > POLL:  # those that were there before cost no time
            self.timed += 1
        # The seeds come one after another, each with all configurations: what is left is as slow as what was.
        left = (self.total - self.done) * elapsed / max(self.timed, 1)
        rest = f"; about {max(round(left / 60), 1)} min left" if self.timed and self.done < self.total else ""
        return f"{self.done}/{self.total} {name}: {outcome}{rest}"


class Log:
    """The sweep's runs in MLflow. After a failure of MLflow nothing more is logged, and the sweep goes on: DVC has the
    results, and the same command logs them later."""

    def __init__(self, root: Path, sweep: Sweep) -> None:
        self.root, self.failure = root, ""
        self.record: SweepRecord | None = None
        with self.noted():
            self.record = SweepRecord(root, sweep)

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        try:
            with mlflow_errors(self.root):
                yield
        except TrackingError as error:
            self.record, self.failure = None, str(error)
            print(f"note: {error}; the sweep goes on without it", flush=True)

    def ended(self, experiment: Experiment, commit: str | None, result: Result | None) -> None:
        if self.record is None:
            return
        with self.noted():
            if commit and result:
                self.record.log_result(experiment, commit, result)
            else:
                self.record.log_failure(experiment, failure_log(experiment.name))

    def finish(self, table: pd.DataFrame, files: list[Path], *, is_complete: bool) -> None:
        if self.record is not None:
            with self.noted():
                self.record.finish(table, files, is_complete=is_complete)


def failure_log(name: str) -> Path:
    """What a failed experiment printed, as a file."""
    path = FOLDER / f"{name}.log"
    write_text(path, dvc_queue.log(name))
    return path


def run_sweep(sweep: Sweep, workers: int, root: Path) -> list[str]:
    """Run what is missing of the sweep, and return the names of the experiments that failed."""
    queue_missing(sweep)
    log, progress = Log(root, sweep), Progress(len(sweep.experiments))
    results, failed = dict[str, Result](), list[str]()
    for experiment, commit in watch(sweep, workers):
        result = sweep_record.read_result(Path(), commit) if commit else None
        if result is None:
            failed.append(experiment.name)
            outcome = f"failed, see {failure_log(experiment.name)}"
        else:
            results[experiment.name] = result
            outcome = f"test accuracy {result.metrics['test_accuracy']:.2%}"
        log.ended(experiment, commit, result)
        print(progress.line(experiment.name, outcome), flush=True)
    if results:
        table, files = sweep_record.table(sweep, results), write(sweep, results)
        print(f"\n{sweep.question}\n{shown(table)}\n{files[0]} has all experiments")
        log.finish(table, files, is_complete=not failed)
    if log.failure:
        raise TrackingError(f"{log.failure}. The results are in DVC: the same command logs them")
    return failed


def write(sweep: Sweep, results: Mapping[str, Result]) -> list[Path]:
    """Write the results by experiment and by epoch, and return the files."""
    tables = {
        f"{sweep.name}.csv": sweep_record.by_experiment(sweep, results),
        f"{sweep.name}-curves.csv": sweep_record.by_epoch(sweep, results),
    }
    for name, rows in tables.items():
        write_text(FOLDER / name, rows.to_csv(index=False, lineterminator="\n"))
    return [FOLDER / name for name in tables]


def shown(rows: pd.DataFrame) -> str:
    """The table as text: mean ± standard deviation over the seeds."""
    text = rows[[*rows.columns[: list(rows.columns).index("configuration")], "seeds"]].copy()
    for name in sweep_record.COMPARED:
        if name in rows:
            digits = 1 if name == "seconds" else 4
            spread = rows[f"{name}_sd"].map(lambda value, n=digits: "" if pd.isna(value) else f" ± {value:.{n}f}")
            text[name] = rows[name].map(lambda value, n=digits: f"{value:.{n}f}") + spread
    return text.to_string(index=False)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline.experiments.sweep", description="Run a named sweep.")
    parser.add_argument("name", help=f"of a file in {sweep_file.FOLDER}: {', '.join(sweep_file.names())}")
    parser.add_argument("--workers", type=positive, default=1, help="experiments that run at the same time")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    sweep = sweep_file.load(arguments.name)
    git.check_experiments()
    configure_mlflow()
    FOLDER.mkdir(parents=True, exist_ok=True)
    again = f"make sweep NAME={sweep.name}"
    try:
        with FileLock(FOLDER / "lock", timeout=0):
            failed = run_sweep(sweep, arguments.workers, Path())
    except Timeout as error:
        raise RepositoryError(f"{FOLDER}/lock: another sweep is running here, expected one at a time") from error
    except (KeyboardInterrupt, SystemExit):
        print(f"\nending the workers; `{again}` goes on", flush=True)
        dvc_queue.stop()
        raise
    if failed:
        raise RepositoryError(
            f"{len(failed)} of {len(sweep.experiments)} experiments failed; `{again}` runs them again"
        )


if __name__ == "__main__":
    entrypoint.run(main)
