"""What a stage depends on, before it runs: parameters, code and data as dvc.yaml declares them, and their identity.

The same identity can be computed from dvc.lock after the stage has run.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.core.config import PARAMS_FILE
from pipeline.core.errors import DataError
from pipeline.core.files import file_md5, read_yaml

DVC_FILE: Final = Path("dvc.yaml")
LOCK_FILE: Final = Path("dvc.lock")

Params = dict[str, dict[str, Any]]  # by file, then by key, with the values that dvc.lock has


@dataclass(frozen=True)
class StageInputs:
    """A stage's parameters, and the MD5 sums of its dependencies by path."""

    name: str
    params: Params
    deps: dict[str, str]

    @property
    def inputs_key(self) -> str:
        return inputs_key(self.name, self.params, self.deps)


def inputs_key(name: str, params: Mapping[str, Mapping[str, Any]], deps: Mapping[str, str]) -> str:
    """Identity of the inputs of the stage `name`: the SHA-256, in hexadecimal, of the three as JSON."""
    return hashlib.sha256(json.dumps([name, params, deps], sort_keys=True).encode()).hexdigest()


def read_stage(name: str) -> StageInputs:
    """The inputs of a stage, from dvc.yaml and the files on disk.

    Raises DataError if dvc.yaml has no such stage, or a file that it names cannot be read.
    """
    entry = declaration(name)
    params = {file: _read_params(Path(file), keys) for file, keys in declared_params(entry).items()}
    return StageInputs(name, params, {path: dependency_md5(Path(path)) for path in entry.get("deps", [])})


def declaration(name: str) -> dict[str, Any]:
    """What dvc.yaml declares for a stage. Raises DataError if it has no such stage."""
    entry = read_stages(DVC_FILE).get(name)
    if not isinstance(entry, dict):
        raise DataError(f"{DVC_FILE}: expected a stage named {name}, got none")
    return entry


def declared_params(entry: Mapping[str, Any]) -> dict[str, list[str]]:
    """The keys that a stage's `params` in dvc.yaml list, by file: those of params.yaml are listed without it."""
    found: dict[str, list[str]] = {}
    for item in entry.get("params", []):
        for file, keys in ({str(PARAMS_FILE): [item]} if isinstance(item, str) else item).items():
            found.setdefault(file, []).extend(keys)
    return found


def _read_params(path: Path, keys: list[str]) -> dict[str, Any]:
    try:
        values = read_yaml(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected parameters as YAML, got: {error}") from error
    if missing := [key for key in keys if not isinstance(values, dict) or key not in values]:
        raise DataError(f"{path}: expected the parameters {', '.join(missing)}, got none")
    return {key: values[key] for key in keys}


def read_stages(path: Path) -> dict[str, Any]:
    """The stages in dvc.yaml or dvc.lock by name. Raises DataError if the file is missing or damaged."""
    try:
        tree = read_yaml(path)
    except FileNotFoundError as error:
        advice = "`dvc repro` writes it" if path == LOCK_FILE else "`git checkout dvc.yaml` restores it"
        raise DataError(f"{path}: expected DVC's YAML, got no file; {advice}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected DVC's YAML, got: {error}; {remedy(path)}") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("stages"), dict):
        raise DataError(f"{path}: expected DVC's stages, got none; {remedy(path)}")
    stages: dict[str, Any] = tree["stages"]
    return stages


def remedy(path: Path) -> str:
    """What to do about a damaged dvc.yaml or dvc.lock: `dvc repro` reads both, so it cannot repair them."""
    then = ", then `dvc repro` updates it" if path.name == LOCK_FILE.name else ""
    return f"`git checkout HEAD -- {path}` restores it from the last commit{then}"


def dependency_md5(path: Path) -> str:
    """MD5 of a dependency as DVC records it: of a folder that `dvc add` tracks it is the one in its .dvc file, which
    leaves out what .dvcignore names; of all else that of the contents.

    Raises DataError for a file that cannot be read.
    """
    added = path.with_name(f"{path.name}.dvc")
    if not added.is_file():
        return content_md5(path)
    try:
        return str(read_yaml(added)["outs"][0]["md5"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{added}: expected DVC's YAML with an md5, got: {error}; {remedy(added)}") from error


def content_md5(path: Path) -> str:
    """MD5 of a file's contents or, as DVC computes it, of a folder's listing; an empty string if there is neither.

    Raises DataError for a file that cannot be read.
    """
    if path.is_dir():
        files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
        listing = json.dumps([{"md5": content_md5(file), "relpath": name} for name, file in files])
        return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"
    try:
        return file_md5(path) if path.is_file() else ""
    except OSError as error:
        raise DataError(f"{path}: expected a readable file, got: {error.strerror}") from error
