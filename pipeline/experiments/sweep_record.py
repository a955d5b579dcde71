"""A sweep in MLflow: a parent run, and in it one run for each experiment, with the names that DVC has.

Every operation is idempotent, as in `tracking`: a sweep that is started again completes its runs.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd

from pipeline.core import execution
from pipeline.core.config import EXPERIMENT
from pipeline.core.git import git
from pipeline.experiments.sweep_file import Experiment, Sweep
from pipeline.tracking.contents import flatten, read_curves, read_metrics
from pipeline.tracking.dvc_repository import DvcRepository
from pipeline.tracking.executions import read_execution
from pipeline.tracking.mlflow_store import PARENT, MlflowStore, Run
from pipeline.tracking.sync import find_live_run
from pipeline.tracking.version import Stage, named

SWEEPS: Final = f"{EXPERIMENT} sweeps"  # an experiment of their own: the other one has a row for each version
COMMIT: Final = "dvc.commit"
STAGES: Final = ("download", "normalise", "train", "score")
RECORDED: Final = (
    "test_accuracy",
    "test_f1",
    "test_loss",
    "handwriting_accuracy",
    "best_epoch",
    "best_validation_accuracy",
    "best_validation_loss",
    "parameters",
    "seconds",
    "training_cpu_seconds",
)
COMPARED: Final = ("test_accuracy", "test_loss", "best_validation_accuracy", "best_validation_loss", "seconds")


class Result(NamedTuple):
    """A finished experiment: its stages to `score`, its metrics, its parameters, its curves by epoch."""

    stages: Sequence[Stage]
    metrics: Mapping[str, float]
    params: Mapping[str, object]
    curves: Mapping[str, Mapping[int, float]]


def read_result(folder: Path, commit: str) -> Result:
    """What DVC stored of an experiment: of the stages to `score`, whose results are its own."""
    with DvcRepository(folder, commit) as repository:
        version = repository.version()
        stages = [stage for stage in version.stages if stage.name in STAGES]
        root = repository.root
        metrics: dict[str, float] = {}
        curves: dict[str, Mapping[int, float]] = {}
        for stage in stages:
            for path in stage.metrics:
                if file := repository.file(path, stage.outs[path]):
                    metrics |= read_metrics(file)
            for plot in (*stage.plots, *version.plots):
                out = stage.outs.get(plot.path) if plot.is_curve and plot.x == "epoch" else None
                if out and (file := repository.file(plot.path, out)):
                    curves |= read_curves(file, plot)
        executions = [read_execution(root, stage.name, stage.inputs_key) for stage in stages]
        if seconds := [each.metrics["seconds"] for each in executions if "seconds" in each.metrics]:
            metrics["seconds"] = sum(seconds)
        for stage, spent in zip(stages, executions, strict=True):  # the other stages may come from the cache
            if stage.name == "train" and "cpu_seconds" in spent.metrics:
                metrics["training_cpu_seconds"] = spent.metrics["cpu_seconds"]
        return Result(
            stages, metrics, {key: value for stage in stages for key, value in flatten(named(stage.params))}, curves
        )


def by_experiment(sweep: Sweep, results: Mapping[str, Result]) -> pd.DataFrame:
    """A row for each experiment with a result: what differs from the others, its seed, and what is `RECORDED`."""
    return pd.DataFrame(
        _identity(experiment) | {name: metrics[name] for name in RECORDED if name in metrics}
        for experiment in sweep.experiments
        if experiment.name in results
        for metrics in [results[experiment.name].metrics]
    )


def by_epoch(sweep: Sweep, results: Mapping[str, Result]) -> pd.DataFrame:
    """A row for each epoch of each experiment with a result: what differs, its seed, and the points of its curves."""
    return pd.DataFrame(
        _identity(experiment) | {"epoch": epoch} | {name: points.get(epoch) for name, points in curves.items()}
        for experiment in sweep.experiments
        if experiment.name in results
        for curves in [results[experiment.name].curves]
        for epoch in sorted({epoch for points in curves.values() for epoch in points})
    )


def _identity(experiment: Experiment) -> dict[str, object]:
    return {key.rpartition(".")[2]: value for key, value in experiment.varied.items()} | {"seed": experiment.seed}


def table(sweep: Sweep, results: Mapping[str, Result]) -> pd.DataFrame:
    """A row for each configuration with a result: mean and standard deviation over the seeds of what is `COMPARED`."""
    groups: dict[str, list[tuple[Experiment, Result]]] = defaultdict(list)
    for experiment in sweep.experiments:
        if experiment.name in results:
            groups[experiment.configuration].append((experiment, results[experiment.name]))
    rows = []
    for members in groups.values():
        first = members[0][0]
        row: dict[str, object] = {key.rpartition(".")[2]: value for key, value in first.varied.items()}
        row |= {"configuration": first.configuration, "seeds": len(members)}
        for name in COMPARED:
            values = [result.metrics[name] for _, result in members if name in result.metrics]
            if len(values) == len(members):
                row[name] = statistics.fmean(values)
                row[f"{name}_sd"] = statistics.stdev(values) if len(values) > 1 else None
        rows.append(row)
    return pd.DataFrame(rows)


class SweepRecord:
    """The runs of one sweep on one commit. Methods may raise what `mlflow_errors` converts."""

    def __init__(self, root: Path, sweep: Sweep) -> None:
        self.sweep = sweep
        self.store = MlflowStore(root, SWEEPS)
        self.live = MlflowStore(root)
        """Has the curves of the stages while they run."""
        identity = {"sweep": sweep.name, "mlflow.source.git.commit": git("rev-parse", "HEAD") or ""}
        self.parent = self.store.find_run(identity, delete_others=True) or self.store.create_run(sweep.name, identity)
        user = execution.user_name()
        self.store.set_tags(
            self.parent, {"mlflow.note.content": sweep.question, **({"mlflow.user": user} if user else {})}
        )

    def log_result(self, experiment: Experiment, commit: str, result: Result) -> None:
        """The nested run of a finished experiment, which DVC has stored as `commit`. It replaces the live runs."""
        for live in filter(None, (find_live_run(self.live, stage) for stage in result.stages)):
            self.live.client.delete_run(live.info.run_id)
        run = self._run(experiment, commit)
        if run.info.status == "FINISHED":
            return
        self.store.log_params(run, result.params)
        self.store.set_metrics(run, result.metrics)
        self.store.log_metrics(run, result.curves)
        self.store.end_run(run)

    def log_failure(self, experiment: Experiment, log: Path) -> None:
        """The nested run of an experiment that failed, with what it printed."""
        run = self._run(experiment, "none")
        self.store.log_artifacts(run, {"log.txt": log})
        if run.info.status != "FAILED":
            self.store.client.set_terminated(run.info.run_id, "FAILED")

    def _run(self, experiment: Experiment, commit: str) -> Run:
        identity = {"dvc.experiment": experiment.name, PARENT: self.parent.info.run_id}
        run = self.store.find_run(identity, delete_others=True)
        if run and run.data.tags.get(COMMIT) != commit:  # it has been run again since
            self.store.client.delete_run(run.info.run_id)
            run = None
        tags = {**identity, COMMIT: commit, "sweep": self.sweep.name, "configuration": experiment.configuration}
        return run or self.store.create_run(experiment.name, tags)

    def finish(self, rows: pd.DataFrame, files: Iterable[Path], *, is_complete: bool) -> None:
        """On the parent: mean and standard deviation of each configuration, as metrics and in these files."""
        values = {
            f"{column}/{row['configuration']}": float(row[column])
            for row in rows.to_dict("records")
            for name in COMPARED
            for column in (name, f"{name}_sd")
            if column in row and pd.notna(row[column])
        }
        self.store.set_metrics(self.parent, values)
        self.store.log_artifacts(self.parent, {file.name: file for file in files})
        if is_complete:
            self.store.end_run(self.parent)
