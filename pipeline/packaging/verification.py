"""Whether git knows a registered model: `make bento` compares it with dvc.lock.

Who can write to a registry can replace a model and copy its tags. dvc.lock in git is independent of it: it names the
MD5 of model.onnx and of the data. It is that of the commit which the version names, that of the working tree, or that
of a later commit: results are committed after they were computed, and DVC commits those of an experiment.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from pipeline.core.errors import DataError, TrackingError
from pipeline.core.files import write_text
from pipeline.core.git import git
from pipeline.core.stage_inputs import LOCK_FILE, content_md5
from pipeline.tracking.dvc_lock import Stage, read_lock

MODEL: Final = "artifacts/export/model.onnx"
METRICS: Final = Path("artifacts/score/metrics.json")


class Locked(NamedTuple):
    """A dvc.lock: its commit, None for that of the working tree, and its stages."""

    commit: str | None
    stages: dict[str, Stage]

    def __str__(self) -> str:
        return f"dvc.lock of commit {self.commit[:12]}" if self.commit else "dvc.lock in this folder"

    def model_md5(self) -> str | None:
        return self.stages["export"].outs.get(MODEL) if "export" in self.stages else None


def verify(name: str, content: bytes, origin: dict[str, str]) -> str:
    """A sentence about what could be verified and what could not, for the ONNX file of a version called `name`.

    Raises TrackingError if git contradicts the registry.
    """
    commit = origin["commit"]
    if not re.fullmatch("[0-9a-f]{40,64}", commit) or git("cat-file", "-e", f"{commit}^{{commit}}") is None:
        return f"not verified: the registry names commit {commit!r}, which this repository lacks"
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    own, here = read_locked(commit), read_locked(None)
    contradictions = []
    for locked in (own, here, *later_locks(commit, md5)):
        if locked and locked.model_md5() == md5:
            try:
                return f"verified with {locked}: {', '.join(confirmed(name, locked, origin))}"
            except TrackingError as error:  # another dvc.lock may have the same model and the other data
                contradictions.append(error)
    if contradictions:
        raise contradictions[0]
    named = next((locked for locked in (own, here) if locked and locked.model_md5()), None)
    if named is None:
        return f"not verified: neither dvc.lock of commit {commit[:12]} nor the one here has an MD5 of {MODEL}"
    if origin["dirty"] != "false" or origin["experiment"] != "none":
        return (
            f"not verified: it was trained with uncommitted changes to commit {commit[:12]} or in an experiment, "
            f"and no dvc.lock here names its MD5 {md5}"
        )
    raise TrackingError(
        f"{name}: model.onnx: got MD5 {md5}, expected {named.model_md5()}, as in {named}; dvc.lock here and those "
        "of later commits do not name it either: if it was trained elsewhere, fetch the commit with its dvc.lock"
    )


def confirmed(name: str, locked: Locked, origin: dict[str, str]) -> Iterator[str]:
    """What this dvc.lock confirms, and what it cannot. Raises TrackingError for what it contradicts."""
    yield "model.onnx"
    data = {
        "training_data": locked.stages["train"].deps.get("artifacts/normalise"),
        "handwriting": locked.stages["score"].deps.get("data", "none"),
        "test_accuracy": accuracy(locked),
    }
    for label, expected in data.items():
        got = origin[label]
        if expected is None or got == "unknown":
            yield f"not {label}"
        elif got != expected:
            raise TrackingError(f"{name}: {label}: got {got} from the registry, expected {expected}, as in {locked}")
        else:
            yield label


def accuracy(locked: Locked) -> str | None:
    """The test accuracy in the metrics that dvc.lock names; None if they are not in git."""
    content = read(locked.commit, METRICS)
    if content is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / METRICS.name
        write_text(path, content + "\n")
        if content_md5(path) != locked.stages["score"].outs.get(str(METRICS)):
            return None
    return str(json.loads(content)["test"]["accuracy"])


def later_locks(commit: str, md5: str) -> Iterator[Locked | None]:
    """The dvc.locks of all commits, also of DVC's experiments, that are not part of the history of `commit` and that
    add or remove this MD5."""
    found = git("log", "--all", "--format=%H", f"-S{md5}", f"^{commit}", "--", str(LOCK_FILE))
    return map(read_locked, (found or "").split())


def read_locked(commit: str | None) -> Locked | None:
    """The dvc.lock of a commit or, without one, of the working tree; None if there is none, or a damaged one."""
    content = read(commit, LOCK_FILE)
    if content is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / LOCK_FILE.name
        write_text(path, content)
        try:
            return Locked(commit, read_lock(path))
        except DataError:
            return None


def read(commit: str | None, path: Path) -> str | None:
    """The text of a file in a commit or, without one, in the working tree; None if there is none."""
    if commit:
        return git("show", f"{commit}:./{path.as_posix()}")
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
