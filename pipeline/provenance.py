"""Where a pipeline version comes from: the git commit, whether the tree differed from it, and the DVC experiment."""

import os
import subprocess
from typing import Final

WRITTEN_BY_REPRO: Final = (":!dvc.lock", ":!data.dvc", ":!artifacts")


def _git(*arguments: str) -> str | None:
    """What git prints, or None outside of a repository and where there is no git."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def tags() -> dict[str, str]:
    """MLflow tags. `git.dirty` leaves out what `dvc repro` itself writes: the lock, data.dvc and committed figures."""
    found = {"mlflow.source.name": "dvc repro", "mlflow.source.type": "LOCAL"}
    commit = _git("rev-parse", "HEAD")
    if commit:
        status = _git("status", "--porcelain", "--", ".", *WRITTEN_BY_REPRO)
        found |= {"mlflow.source.git.commit": commit, "git.dirty": "true" if status else "false"}
    experiment = os.environ.get("DVC_EXP_NAME")
    if experiment:
        found["dvc.experiment"] = experiment
    return found
