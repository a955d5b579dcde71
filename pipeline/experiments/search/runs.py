"""The trials of a search as runs in MLflow: one parent, a nested run for each trial, and Optuna's plots.

MLflow is reconciled with Optuna's storage, which has everything: a search does not wait for MLflow, and what is missing
there is logged by the next search of the same name.
"""

import datetime
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import matplotlib
import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from pipeline.core.config import EXPERIMENT
from pipeline.core.errors import TrackingError
from pipeline.experiments.search.space import Search
from pipeline.experiments.search.study import ERROR, HISTORY, RETRIES
from pipeline.tracking.mlflow_store import PARENT, MlflowStore, Run, configure_mlflow, mlflow_errors
from pipeline.training.state import EpochRow

ROOT: Final = Path()
SEARCHES: Final = f"{EXPERIMENT} searches"  # an experiment of their own: the other one has a row for each version
STATUS: Final = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAIL: "FAILED"}
PLOTS: Final[dict[str, Callable[[Study], object]]] = {
    "importance.png": optuna.visualization.matplotlib.plot_param_importances,
    "history.png": optuna.visualization.matplotlib.plot_optimization_history,
    "parallel_coordinate.png": optuna.visualization.matplotlib.plot_parallel_coordinate,
}


class SearchRuns:
    """The runs of a search. No method raises if MLflow fails: it is printed once, and nothing more is logged."""

    def __init__(self, search: Search, study: Study) -> None:
        self.search, self.study = search, study
        self._store: MlflowStore | None = None
        self._parent: Run | None = None
        self._logged: dict[tuple[str, int], tuple[object, ...]] = {}  # what the run of a trial has
        self._try(self._open)

    def sync(self, study: Study) -> None:
        """Log the trials of the search, or of its comparison, that have changed since the last call."""
        self._try(lambda: self._sync(study))

    def finish(self, study: Study, texts: Mapping[str, str], *, killed: bool = False) -> None:
        """Log plots, the best trial and `texts`, by file name, and end the parent run."""
        if self._store is None:
            self._try(self._open)
        self._try(lambda: self._finish(study, texts, "KILLED" if killed else "FINISHED"))

    def _try(self, action: Callable[[], None]) -> None:
        try:
            with mlflow_errors(ROOT):
                action()
        except TrackingError as error:
            self._store = None
            print(f"note: {error}; the search goes on, and the next one logs what is missing", file=sys.stderr)

    def _open(self) -> None:
        configure_mlflow()
        store = MlflowStore(ROOT, SEARCHES)
        tags = {"search.name": self.search.name, "search.study": self.study.study_name}
        parent = store.find_run(tags | {"search.role": "parent"})
        self._parent = parent or store.create_run(f"search {self.search.name}", tags | {"search.role": "parent"})
        store.client.update_run(self._parent.info.run_id, status="RUNNING")
        declaration = self.search.declaration
        space = {f"space.{key}": values for key, values in declaration.space.items()}
        fixed = {f"fixed.{key}": value for key, value in declaration.fixed.items()}
        store.log_params(self._parent, {"objective": declaration.objective} | space | fixed)
        self._store = store

    def _sync(self, study: Study) -> None:
        for trial in study.get_trials(deepcopy=False) if self._store else ():
            identity = study.study_name, trial.number
            has = (trial.state, len(trial.user_attrs.get(HISTORY, ())), len(trial.params))
            if trial.state != TrialState.WAITING and self._logged.get(identity) != has:
                self._log(study, trial)
                self._logged[identity] = has

    def _log(self, study: Study, trial: FrozenTrial) -> None:
        assert self._store is not None
        assert self._parent is not None
        is_search = study.study_name == self.study.study_name
        tags = {"search.study": study.study_name, "search.trial": str(trial.number)}
        name = f"trial {trial.number}" if is_search else "{candidate}, seed {seed}".format(**trial.params)
        run = self._store.find_run(tags) or self._store.create_run(
            name, tags | {PARENT: self._parent.info.run_id}, milliseconds(trial.datetime_start)
        )
        settings = self.search.declaration.fixed | self.search.settings(trial.params) if is_search else trial.params
        self._store.log_params(run, settings)
        rows = [EpochRow(*row)._asdict() for row in trial.user_attrs.get(HISTORY, ())]
        names = EpochRow._fields[1:]
        self._store.log_metrics(run, {name: {row["epoch"]: row[name] for row in rows} for name in names if rows})
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            self._store.set_metrics(run, {"objective": trial.value})
        notes = {key: str(trial.user_attrs[key]) for key in (ERROR, RETRIES) if key in trial.user_attrs}
        self._store.set_tags(
            run, {"search.state": trial.state.name.lower()} | {f"search.{k}": v for k, v in notes.items()}
        )
        if trial.state in STATUS:
            self._store.client.set_terminated(
                run.info.run_id, STATUS[trial.state], milliseconds(trial.datetime_complete)
            )

    def _finish(self, study: Study, texts: Mapping[str, str], status: str) -> None:
        if self._store is None or self._parent is None:
            return
        self._sync(self.study)
        self._sync(study)
        store, parent = self._store, self._store.client.get_run(self._parent.info.run_id)
        trials = self.study.get_trials(deepcopy=False)
        store.set_metrics(
            parent, {f"trials.{state.name.lower()}": sum(t.state == state for t in trials) for state in STATUS}
        )
        if any(trial.state == TrialState.COMPLETE for trial in trials):
            best = self.study.best_trial
            store.set_metrics(parent, {f"best.{self.search.declaration.objective}": self.study.best_value})
            settings = self.search.settings(best.params)
            store.set_tags(
                parent,
                {"best.trial": str(best.number)} | {f"best.{key}": str(value) for key, value in settings.items()},
            )
        with tempfile.TemporaryDirectory() as folder:
            files = draw(self.study, Path(folder))
            for name, text in texts.items():
                files[name] = Path(folder) / name
                files[name].write_text(f"{text}\n", encoding="utf-8")
            store.log_artifacts(parent, files)
        store.client.set_terminated(parent.info.run_id, status)


def draw(study: Study, folder: Path) -> dict[str, Path]:
    """Optuna's own plots as PNG by file name, those for which there are enough trials."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    files = {}
    for name, plot in PLOTS.items():
        with warnings.catch_warnings(action="ignore"):  # they are experimental, and of few trials they warn
            try:
                plot(study)
                pyplot.gcf().set_size_inches(11, 6)
                pyplot.savefig(folder / name, dpi=100, bbox_inches="tight")
                files[name] = folder / name
            except (ValueError, RuntimeError):  # of one complete trial there is no importance
                pass
            finally:
                pyplot.close("all")
    return files


def milliseconds(time: datetime.datetime | None) -> int | None:
    return int(time.timestamp() * 1000) if time else None
