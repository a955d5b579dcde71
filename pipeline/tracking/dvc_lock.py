"""The stages in dvc.yaml and dvc.lock as hashes of contents, from which the keys of the runs in MLflow are computed."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.core.errors import DataError
from pipeline.core.files import file_md5, read_yaml

DVC_FILE: Final = Path("dvc.yaml")
LOCK_FILE: Final = Path("dvc.lock")
PARAMS_FILE: Final = Path("params.yaml")


@dataclass(frozen=True)
class Stage:
    """A stage: its parameters, and the MD5 sums of its dependencies and outputs by path; no outputs before it runs."""

    name: str
    params: dict[str, Any]
    deps: dict[str, str]
    outs: dict[str, str]

    @property
    def key(self) -> str:
        """Identity of the result: parameters, data read, files written. Code is left out: its effect is in them."""
        data = {path: md5 for path, md5 in self.deps.items() if not path.endswith(".py")}
        return _digest(self.name, self.params, data, self.outs)

    @property
    def inputs_key(self) -> str:
        """Identity of the inputs: parameters, code and data. Known before the stage runs."""
        return _digest(self.name, self.params, self.deps)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def version_key(stages: dict[str, Stage]) -> str:
    """Identity of a pipeline version: the results of all its stages."""
    return _digest({stage.name: stage.key for stage in stages.values()})


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = read_yaml(path)
    except FileNotFoundError as error:
        advice = "`dvc repro` writes it" if path == LOCK_FILE else "`git checkout dvc.yaml` restores it"
        raise DataError(f"{path}: expected DVC's YAML, got no file; {advice}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected DVC's YAML, got: {error}; {remedy(path)}") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("stages"), dict):
        raise DataError(f"{path}: expected DVC's stages, got none; {remedy(path)}")
    return tree


def remedy(path: Path) -> str:
    """What to do about a damaged dvc.yaml or dvc.lock: `dvc repro` reads both, so it cannot repair them."""
    then = ", then `dvc repro` updates it" if path.name == LOCK_FILE.name else ""
    return f"`git checkout HEAD -- {path}` restores it from the last commit{then}"


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


def read_lock(path: Path = LOCK_FILE) -> dict[str, Stage]:
    """The stages in dvc.lock by name. Raises DataError if it is missing or damaged."""

    def hashes(entries: list[dict[str, Any]]) -> dict[str, str]:
        return {str(entry["path"]): str(entry["md5"]) for entry in entries}

    try:
        return {
            name: Stage(
                name,
                dict(entry.get("params", {}).get(str(PARAMS_FILE), {})),
                hashes(entry.get("deps", [])),
                hashes(entry.get("outs", [])),
            )
            for name, entry in _read(path)["stages"].items()
        }
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{path}: expected a path and an md5 for each file, got none ({error})") from error


def declared(name: str) -> tuple[list[str], set[str], set[str]]:
    """The sections of parameters, the dependencies and the outputs that dvc.yaml declares for a stage.

    Raises DataError if dvc.yaml has no such stage.
    """
    entry = _read(DVC_FILE)["stages"].get(name)
    if entry is None:
        raise DataError(f"{DVC_FILE}: expected a stage named {name}, got none")
    outs = [out for key in ("outs", "metrics", "plots") for out in entry.get(key, [])]
    paths = {path for out in outs for path in ([out] if isinstance(out, str) else out)}
    return list(entry.get("params", [])), set(entry["deps"]), paths


def read_stage(name: str) -> Stage:
    """The stage before it runs, from dvc.yaml and the files on disk; `outs` is still empty.

    Raises DataError if dvc.yaml has no such stage.
    """
    entry = _read(DVC_FILE)["stages"].get(name)
    if entry is None:
        raise DataError(f"{DVC_FILE}: expected a stage named {name}, got none")
    sections = read_yaml(PARAMS_FILE)
    params = {section: sections[section] for section in entry.get("params", [])}
    return Stage(name, params, {path: content_md5(Path(path)) for path in entry["deps"]}, {})
