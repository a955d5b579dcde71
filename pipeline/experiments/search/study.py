"""Studies in Optuna's storage: opened, continued, and counted.

A trial is counted when it is complete, pruned, or failed by an error of its own. One whose process was killed is marked
as failed and its values are tried again, at once on the same machine, and by Optuna's heartbeat on any.
"""

import os
import platform
import warnings
from pathlib import Path
from typing import Final

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from pipeline.core.errors import StorageError
from pipeline.experiments.search.space import Search
from pipeline.tracking.tracking_uri import without_credentials

HEARTBEAT: Final = 10  # seconds
GRACE: Final = 120  # seconds without a heartbeat, after which a trial's process is taken for dead
MAX_RETRIES: Final = 3  # of values whose process was killed: they may need too much memory
ERROR: Final = "error"  # the attributes of a trial: why it failed,
HISTORY: Final = "history"  # the rows of its epochs,
PROCESS: Final = "process"  # where it runs,
RETRIES: Final = "retries"  # and how often it was started again


def storage_url(name: str) -> str:
    """SEARCH_STORAGE, or a SQLite file by default.

    `postgresql:` alone stands for the driver that is installed: since version 2.1, SQLAlchemy takes it for psycopg 3.
    """
    url = os.environ.get("SEARCH_STORAGE") or f"sqlite:///.cache/search/{name}.db"
    return f"postgresql+psycopg2:{url.removeprefix('postgresql:')}" if url.startswith("postgresql:") else url


def open_storage(name: str) -> RDBStorage:
    """Raises StorageError if the database cannot be reached."""
    url = storage_url(name)
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    wait = {"connect_args": {"timeout": 60}} if url.startswith("sqlite:") else None  # workers write at the same time
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings(category=ExperimentalWarning, action="ignore"):  # heartbeats
            return RDBStorage(
                url,
                engine_kwargs=wait,
                heartbeat_interval=HEARTBEAT,
                grace_period=GRACE,
                heartbeat_stale_trial_callback=retry,
            )
    except (SQLAlchemyError, StorageInternalError, ImportError, ValueError, OSError) as error:
        reason = " ".join(str(error).split()).replace(url, without_credentials(url))
        raise StorageError(
            f"SEARCH_STORAGE: expected a database at {without_credentials(url)}, got: {reason[:300]}"
        ) from error


def open_search(search: Search, storage: RDBStorage, name: str, seed: int = 0) -> Study:
    """The study of a search, by its name: the one in the storage if there is one."""
    # TPE takes the trials that run in other workers into account. The median prunes a trial whose best value so far is
    # worse than what half of the others had at that epoch. Successive halving would compare epochs 1, 4 and 16: these
    # are few, and high learning rates, which win in the end, lose the first of them. Hence also the warm-up.
    epochs = search.train_params(search.declaration.fixed).epochs
    return optuna.create_study(
        storage=storage,
        study_name=name,
        load_if_exists=True,
        direction=search.declaration.direction,
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=-(-epochs // 3)),
    )


def counted(study: Study) -> list[FrozenTrial]:
    """The trials that are finished, without those that are tried again."""
    return [trial for trial in study.get_trials(deepcopy=False) if is_counted(trial)]


def is_counted(trial: FrozenTrial) -> bool:
    failed = trial.state == TrialState.FAIL and ERROR in trial.user_attrs
    return failed or trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def started(study: Study) -> int:
    return len(counted(study)) + len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))


def this_process() -> list[object]:
    return [platform.node(), os.getpid()]


def retry_killed(study: Study) -> int:
    """Retry the trials whose process on this machine has ended, and return their number."""
    killed = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        host, pid = trial.user_attrs.get(PROCESS, (None, 0))
        if host == platform.node() and not is_alive(pid):
            study.tell(trial.number, state=TrialState.FAIL)
            retry(study, trial)
            killed += 1
    return killed


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def retry(study: Study, trial: FrozenTrial) -> None:
    """Queue the values of a trial again, before new ones."""
    retries = trial.user_attrs.get(RETRIES, 0) + 1
    if retries <= MAX_RETRIES and trial.params:
        study.enqueue_trial(trial.params, user_attrs={RETRIES: retries})
