"""Whether git knows what a registered model was computed from."""

import hashlib
import re
from collections.abc import Iterator

from pipeline.core.git import git
from pipeline.packaging.verification import later_locks
from pipeline.promotion.verdict import Criterion
from pipeline.tracking.git_tags import WRITTEN_BY_DVC

REMEDY = "commit the changes, run `make track`, then `make promote`"


def clean_commit(content: bytes, origin: dict[str, str]) -> Criterion:
    """Whether the ONNX file was computed from a commit of this repository without other changes.

    DVC sets the parameters of an experiment in a copy of the tree, which then differs from the commit, and commits the
    copy afterwards: that commit counts if it differs only in params.yaml and in what `dvc repro` writes.
    """
    commit, short = origin["commit"], origin["commit"][:12]
    if not re.fullmatch("[0-9a-f]{40,64}", commit) or git("cat-file", "-e", f"{commit}^{{commit}}") is None:
        text = f"the registry names commit {short!r}, which is not here; fetch it, or commit and run `make track`"
        return Criterion("clean commit", False, text)
    if origin["dirty"] == "false":
        return Criterion("clean commit", True, f"computed from commit {short}")
    if origin["experiment"] != "none":
        for other in _experiment_commits(commit, content):
            text = f"experiment {origin['experiment']!r}, commit {other[:12]}: commit {short} with other parameters"
            return Criterion("clean commit", True, text)
    return Criterion("clean commit", False, f"computed with uncommitted changes to commit {short}; {REMEDY}")


def _experiment_commits(commit: str, content: bytes) -> Iterator[str]:
    """The commits whose dvc.lock names the ONNX file, and that differ from `commit` only in parameters and results."""
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    for locked in later_locks(commit, md5):
        if locked and locked.commit and locked.model_md5() == md5:
            paths = ("--", ".", *WRITTEN_BY_DVC, ":!artifacts", ":!params.yaml")
            if git("diff", "--name-only", commit, locked.commit, *paths) == "":
                yield locked.commit
