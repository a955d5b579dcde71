"""`make search` with its storage in PostgreSQL: a worker dies, and another machine, a second clone, resumes the search.

Needs Debian's package `postgresql`.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.study import Study
from optuna.trial import TrialState

from pipeline.experiments.search.study import HISTORY, PROCESS, RETRIES, counted
from tests.support import project_clone
from tests.support.postgres import running_postgres
from tests.support.project_clone import Clone
from tests.support.waiting import wait_until

TRIALS = 6
DECLARATION = f"""
objective: validation_loss
trials: {TRIALS}
fixed: {{train.epochs: 40}}
space:
  train.optimizer.learning_rate: {{low: 0.001, high: 0.5, log: true}}
"""
SEARCH = ("-m", "pipeline.experiments.search", "small", "--workers", "2", "--seeds", "0")


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_postgres(tmp_path_factory.mktemp("postgres") / "log") as uri:
        yield uri


@pytest.fixture
def clone(tmp_path: Path, storage: str) -> Clone:
    """A clone in which the stages before `train` have run."""
    clone = project_clone.make(tmp_path / "clone")
    (clone.folder / "pipeline/searches/small.yaml").write_text(DECLARATION, encoding="utf-8")
    clone.environment["SEARCH_STORAGE"] = storage.replace("+psycopg2", "")  # as people write it
    clone.check_output("dvc", "repro", "normalise")
    return clone


def study(storage: str) -> Study:
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


def test_a_search_in_postgresql_goes_on_when_a_worker_is_killed_and_on_another_machine(
    clone: Clone, storage: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *SEARCH],
            cwd=clone.folder, env=clone.environment, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip

    def both_work_on_a_later_trial() -> bool:
        if "trial 0" not in log.read_text(encoding="utf-8"):
            return False
        running = study(storage).get_trials(states=[TrialState.RUNNING])
        return len(running) == 2 and all(HISTORY in trial.user_attrs for trial in running)

    wait_until(both_work_on_a_later_trial, process, log)
    killed = study(storage).get_trials(states=[TrialState.RUNNING])[0]
    os.kill(killed.user_attrs[PROCESS][1], signal.SIGKILL)

    assert process.wait() == 0, log.read_text(encoding="utf-8")  # the other worker does what is left
    first = counted(study(storage))
    assert len(first) == TRIALS - 1
    elsewhere = project_clone.duplicate(clone, tmp_path / "elsewhere")
    printed = elsewhere.check_output("python", *SEARCH)

    assert f"resuming {study(storage).study_name}: {TRIALS - 1} of {TRIALS} trials are there" in printed
    trials = study(storage).get_trials()
    assert len(counted(study(storage))) == TRIALS
    assert counted(study(storage))[: len(first)] == first
    assert trials[killed.number].state == TrialState.FAIL
    (again,) = [trial for trial in trials if RETRIES in trial.user_attrs]
    assert again.params == killed.params
    assert again.state in (TrialState.COMPLETE, TrialState.PRUNED)
    assert not (clone.folder / ".cache/search").exists()
