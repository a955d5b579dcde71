"""Where a pipeline version comes from: the git commit, whether the tree differed from it, and the DVC experiment."""

import os
import re
from collections.abc import Mapping
from typing import Final

from pipeline.core.git import SET_IDENTITY, git, has_identity, uncommitted
from pipeline.tracking.dvc_lock import Stage

WRITTEN_BY_REPRO: Final = (":!dvc.lock", ":!data.dvc", ":!artifacts")
DVC_FILES: Final = ("params.yaml", "dvc.yaml", "data.dvc", "dvc.lock")
OTHER_ALIASES: Final = ("champion", "challenger", "previous", "latest")  # the registry's own, MLflow's


def experiment() -> str | None:
    """The name of the DVC experiment that is running."""
    return os.environ.get("DVC_EXP_NAME") or None


def alias(name: str | None) -> str | None:
    """The registry alias of an experiment's model: the name, or None where MLflow takes it for no alias of ours."""
    fits = name and re.fullmatch(r"[\w-]{1,255}", name) and not re.fullmatch(r"[vV]\d+", name)
    return name if fits and name and name.lower() not in OTHER_ALIASES else None


def tags() -> dict[str, str]:
    """MLflow tags. `git.dirty` leaves out what `dvc repro` itself writes: the lock, data.dvc and committed figures."""
    found = {"mlflow.source.name": "dvc repro", "mlflow.source.type": "LOCAL"}
    commit = git("rev-parse", "HEAD")
    if commit:
        status = git("status", "--porcelain", "--", ".", *WRITTEN_BY_REPRO)
        found |= {"mlflow.source.git.commit": commit, "git.dirty": "true" if status else "false"}
    if name := experiment():
        found["dvc.experiment"] = name
    return found


def advice(stages: Mapping[str, Stage]) -> str:
    """How to keep results that no commit holds, to be printed after a sentence; empty where there is nothing to do.

    While the last commit holds another dvc.lock, going back to it means going back to results that this machine may
    not have; DVC then computes them, and does not ask its run-cache.
    """
    if git("rev-parse", "HEAD") is None:
        return "\nNo git commit is recorded with it, for there is none here"
    used = {path.split("/")[0] for stage in stages.values() for path in (*stage.deps, *stage.outs)}
    changed = uncommitted(sorted({*used, *DVC_FILES}))
    if experiment() or not changed:
        return ""
    identity = "" if has_identity(os.environ) else f"\n  {SET_IDENTITY}"
    return (
        "\nCommit these results to be able to come back to them in seconds (what DVC lists below is a part of them):"
        f"{identity}\n  git add {' '.join(changed)} && git commit --message results"
    )
