"""The origin of a pipeline version: the git commit, whether the tree differed from it, and the DVC experiment."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pipeline.core.git import SET_IDENTITY, git, has_identity, uncommitted
from pipeline.tracking.version import Stage

WRITTEN_BY_DVC: Final = (":!*dvc.lock", ":!*.dvc")
DVC_FILES: Final = ("params.yaml", "dvc.yaml", "data.dvc", "dvc.lock")
RESERVED_ALIASES: Final = ("candidate", "champion", "challenger", "previous", "latest")  # the last one by MLflow


def experiment_name() -> str | None:
    """The name of the running DVC experiment."""
    return os.environ.get("DVC_EXP_NAME") or None


def alias(name: str | None) -> str | None:
    """The registry alias for an experiment's model: its name, or None if that is reserved or not a valid alias."""
    valid = name and re.fullmatch(r"[\w-]{1,255}", name) and not re.fullmatch(r"[vV]\d+", name)
    return name if valid and name and name.lower() not in RESERVED_ALIASES else None


def origin_tags(path: Path, outs: Iterable[str]) -> dict[str, str]:
    """MLflow tags of the repository at `path`. `git.dirty` ignores what DVC itself writes: dvc.lock, .dvc files and
    `outs`, of which some may be in git."""
    tags = {"mlflow.source.name": "dvc repro", "mlflow.source.type": "LOCAL"}
    commit = git("-C", str(path), "rev-parse", "HEAD")
    if commit:
        status = git(
            "-C", str(path), "status", "--porcelain", "--", ".", *WRITTEN_BY_DVC, *(f":!{out}" for out in outs)
        )
        tags |= {"mlflow.source.git.commit": commit, "git.dirty": "true" if status else "false"}
    if name := experiment_name():
        tags["dvc.experiment"] = name
    return tags


def commit_advice(stages: Iterable[Stage]) -> str:
    """How to commit results that no commit contains yet, to print after a sentence; empty if there are none.

    As long as the last commit contains another dvc.lock, `git checkout` returns to results that this machine may not
    have. DVC then computes them again without looking them up in its run cache.
    """
    if git("rev-parse", "HEAD") is None:
        return "\nNo git commit is recorded, because there is none here"
    used = {path.split("/")[0] for stage in stages for path in (*stage.deps, *stage.outs)}
    changed = uncommitted(sorted({*used, *DVC_FILES}))
    if experiment_name() or not changed:
        return ""
    identity = "" if has_identity(os.environ) else f"\n  {SET_IDENTITY}"
    return (
        "\nCommit these results to be able to return to them in seconds (what DVC lists below is only a part of them):"
        f"{identity}\n  git add {' '.join(changed)} && git commit --message results"
    )
