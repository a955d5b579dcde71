"""`make search` on small data: trials, their runs in MLflow, a search that is killed and resumed, its best applied."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from mlflow.entities import Run
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from pipeline.experiments.search.apply import with_settings
from pipeline.experiments.search.runs import SEARCHES
from pipeline.experiments.search.study import ERROR, HISTORY, RETRIES, counted
from tests.support import project_clone
from tests.support.project_clone import NO_MLFLOW, Clone
from tests.support.waiting import wait_until

PARENT = "mlflow.parentRunId"
DECLARATION = """
objective: validation_loss
trials: {trials}
fixed: {{train.epochs: {epochs}}}
space:
  train.optimizer.learning_rate: {{low: 0.001, high: 0.5, log: true}}
  train.batch: {{choices: [20, 50]}}
"""


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A clone in which the stages before `train` have run, without the test images."""
    clone = project_clone.make(tmp_path / "clone")
    clone.check_output("python", "-m", "pipeline.download")
    clone.check_output("python", "-m", "pipeline.normalise")
    for file in (clone.folder / "artifacts/download").glob("test_*"):
        file.unlink()
    return clone


def declare(clone: Clone, trials: int, epochs: int) -> None:
    path = clone.folder / "pipeline/searches/small.yaml"
    path.write_text(DECLARATION.format(trials=trials, epochs=epochs), encoding="utf-8")


def command(*arguments: str) -> list[str]:
    return ["python", "-m", "pipeline.experiments.search", "small", *arguments]


def studies(clone: Clone) -> list[Study]:
    """The searches and comparisons in the clone's storage, in the order of their names."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{clone.folder}/.cache/search/small.db")
    names = sorted(optuna.get_all_study_names(storage))
    return [optuna.load_study(study_name=name, storage=storage) for name in names]


def trials(clone: Clone) -> list[FrozenTrial]:
    return studies(clone)[0].get_trials()


def runs(clone: Clone) -> list[Run]:
    client = clone.client()
    experiment = client.get_experiment_by_name(SEARCHES)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_a_search_is_one_run_with_its_trials_its_plots_and_what_fresh_seeds_say(clone: Clone) -> None:
    declare(clone, trials=8, epochs=3)

    printed = clone.check_output(*command("--workers", "2", "--seeds", "2"))

    search, comparison = studies(clone)
    assert len(counted(search)) >= 8
    assert len(counted(comparison)) == 4
    assert {trial.params["seed"] for trial in comparison.get_trials()} == {1001, 1002}  # fresh ones
    assert f"best: trial {search.best_trial.number}, validation_loss {search.best_value:.5f}" in printed
    assert "2 fresh seeds, 2 epochs, 30 validation images" in printed  # in full, as params.yaml has it here
    assert "The best trial does not beat params.yaml" in printed  # two seeds prove nothing
    parents = [run for run in runs(clone) if PARENT not in run.data.tags]
    assert [(run.info.run_name, run.info.status) for run in parents] == [("search small", "FINISHED")]
    (parent,) = parents
    nested = {run.info.run_name: run for run in runs(clone) if run.data.tags.get(PARENT) == parent.info.run_id}
    assert nested.keys() == {
        *(f"trial {trial.number}" for trial in search.get_trials()),
        *(f"{candidate}, seed {seed}" for candidate in ("default", "best") for seed in (1001, 1002)),
    }
    for trial in search.get_trials():
        run = nested[f"trial {trial.number}"]
        assert run.data.tags["search.state"] == trial.state.name.lower()
        assert run.data.params["train.epochs"] == "3"
        curve = [row[3] for row in trial.user_attrs[HISTORY]]
        logged = clone.client().get_metric_history(run.info.run_id, "validation_loss")
        assert [point.value for point in sorted(logged, key=lambda point: point.step)] == curve
        assert run.info.status == {"COMPLETE": "FINISHED", "PRUNED": "KILLED"}[trial.state.name]
    assert (
        parent.data.tags["best.train.batch"] == nested[f"trial {search.best_trial.number}"].data.params["train.batch"]
    )
    artifacts = {file.path for file in clone.client().list_artifacts(parent.info.run_id)}
    assert artifacts == {"importance.png", "history.png", "parallel_coordinate.png", "best.json", "comparison.txt"}


def test_a_search_that_was_killed_is_resumed_and_loses_no_trial(clone: Clone) -> None:
    declare(clone, trials=4, epochs=40)
    log = clone.folder / "search.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command("--workers", "1", "--seeds", "0")[1:]],
            cwd=clone.folder, env=clone.environment, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    database = clone.folder / ".cache/search/small.db"

    def second_trial_is_running() -> bool:
        if not database.is_file() or "trial 0" not in log.read_text(encoding="utf-8"):
            return False
        running = [trial for trial in trials(clone) if trial.state == TrialState.RUNNING]
        return bool(running and running[0].user_attrs.get(HISTORY))

    wait_until(second_trial_is_running, process, log)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (before,) = studies(clone)
    finished = counted(before)
    (killed,) = [trial for trial in before.get_trials() if trial.state == TrialState.RUNNING]

    printed = clone.check_output(*command("--workers", "1", "--seeds", "0"))

    assert "1 trials were killed: their values are tried again" in printed
    assert f"resuming small-{before.study_name.split('-')[1]}: {len(finished)} of 4 trials are there" in printed
    after = trials(clone)
    assert after[: len(finished)] == finished
    assert after[killed.number].state == TrialState.FAIL
    (again,) = [trial for trial in after if RETRIES in trial.user_attrs]
    assert again.params == killed.params
    assert again.state in (TrialState.COMPLETE, TrialState.PRUNED)
    assert len(counted(studies(clone)[0])) == 4
    statuses = {run.info.run_name: run.info.status for run in runs(clone)}
    assert statuses[f"trial {killed.number}"] == "FAILED"
    assert len([name for name in statuses if name.startswith("search")]) == 1  # the same parent


def test_a_trial_that_fails_is_a_failed_run_and_the_others_go_on_without_mlflow(clone: Clone) -> None:
    declare(clone, trials=3, epochs=1)
    path = clone.folder / "pipeline/searches/small.yaml"
    # Of 370 training images there is no batch of 4000.
    path.write_text(path.read_text(encoding="utf-8").replace("[20, 50]", "[50, 4000]"), encoding="utf-8")
    clone.set("train", batch=4000)

    printed = clone.check_output(*command("--workers", "1", "--seeds", "0"), **NO_MLFLOW)

    first, *others = trials(clone)
    assert first.state == TrialState.FAIL
    assert "TrainingError: params.yaml: train.batch: got 4000, expected at most 370" in first.user_attrs[ERROR]
    assert f"trial 0: failed: {first.user_attrs[ERROR]}; 1 of 3" in printed
    assert any(trial.state == TrialState.COMPLETE for trial in others) or "expected a trial that completes" in printed
    assert "the search goes on, and the next one logs what is missing" in printed

    clone.check_output(*command("--workers", "1", "--seeds", "0"))

    statuses = {run.info.run_name: run.info.status for run in runs(clone)}
    assert statuses["trial 0"] == "FAILED"
    assert len(statuses) == 4


def test_the_best_trial_is_applied_to_params_yaml_and_its_comments_stay(clone: Clone) -> None:
    declare(clone, trials=2, epochs=1)
    params = clone.folder / "params.yaml"
    text = with_settings(f"{params.read_text(encoding='utf-8')}# a comment\n", {})  # the clone's layout is DVC's
    params.write_text(text, encoding="utf-8")
    before = params.read_text(encoding="utf-8").splitlines()
    assert clone.run(*command("--apply")).returncode == 1  # nothing was searched
    clone.check_output(*command("--workers", "1", "--seeds", "0"))
    best = studies(clone)[0].best_params

    printed = clone.check_output(*command("--apply"))

    after = params.read_text(encoding="utf-8").splitlines()
    changed = {line.strip() for line, old in zip(after, before, strict=True) if line != old}
    wanted = {
        f"batch: {best['train.batch']}",
        f"learning_rate: {float(format(best['train.optimizer.learning_rate'], '.3g'))}",
    }
    assert changed <= wanted
    assert after[-1] == "# a comment"
    assert all(f" is now {line.split(': ')[1]}" in printed for line in changed)


def test_a_search_before_the_data_is_there_names_the_command(tmp_path: Path) -> None:
    clone = project_clone.copy(tmp_path / "clone")
    declare(clone, trials=1, epochs=1)

    done = clone.run(*command())

    assert done.returncode == 1
    assert "`dvc repro normalise` writes what a search trains on" in done.stderr
    assert not (clone.folder / ".cache/search").exists()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["NAME=wrong"], "pipeline/searches: got 'wrong', expected one of cnn"),
        (["TRIALS=many"], "argument --trials: got 'many', expected a whole number of at least 1"),
        (["SEEDS=-1"], "argument --seeds: got '-1', expected a whole number of at least 0"),
        (["SEARCH_STORAGE=postgres"], "SEARCH_STORAGE: expected a database at postgres, got"),
    ],
)
def test_what_is_wrong_with_a_search_is_reported_before_anything_is_computed(
    tmp_path: Path, values: list[str], expected: str
) -> None:
    clone = project_clone.make(tmp_path / "clone")

    done = clone.run("make", "--old-file=.venv/locked", "search", *values)

    assert done.returncode != 0
    assert expected in done.stderr
    assert not (clone.folder / "artifacts/download").exists()
