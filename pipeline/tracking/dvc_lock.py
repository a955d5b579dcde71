"""What dvc.yaml asks for and dvc.lock says was done, as hashes of contents: the keys of the records in MLflow."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.core.errors import DataError
from pipeline.core.files import read_yaml

DVC_FILE: Final = Path("dvc.yaml")
LOCK_FILE: Final = Path("dvc.lock")
PARAMS_FILE: Final = Path("params.yaml")


@dataclass(frozen=True)
class Stage:
    """A stage as computed: the parameters it read, and the MD5 sums of the files that it read and wrote."""

    name: str
    params: dict[str, Any]
    deps: dict[str, str]
    outs: dict[str, str]

    @property
    def key(self) -> str:
        """Identity of the result: parameters, data read and files written. Code counts by what it wrote."""
        data = {path: md5 for path, md5 in self.deps.items() if not path.endswith(".py")}
        return _digest(self.name, self.params, data, self.outs)

    @property
    def inputs_key(self) -> str:
        """Identity of the task: parameters, code and data. It is known before the stage has run."""
        return _digest(self.name, self.params, self.deps)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def version_key(stages: dict[str, Stage]) -> str:
    """Identity of a pipeline version: that of all its stages' results."""
    return _digest({stage.name: stage.key for stage in stages.values()})


def _tree(path: Path) -> dict[str, Any]:
    try:
        tree = read_yaml(path)
    except FileNotFoundError as error:
        advice = "`dvc repro` writes it" if path == LOCK_FILE else "`git checkout dvc.yaml` brings it back"
        raise DataError(f"{path}: expected DVC's YAML, got no file; {advice}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected DVC's YAML, got: {error}; {remedy(path)}") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("stages"), dict):
        raise DataError(f"{path}: expected DVC's stages, got none; {remedy(path)}")
    return tree


def remedy(path: Path) -> str:
    """What to do about a damaged file of DVC's: `dvc repro` reads dvc.lock, too, and so cannot mend it."""
    then = ", then `dvc repro` brings it up to date" if path.name == LOCK_FILE.name else ""
    return f"`git checkout HEAD -- {path}` takes the last commit's{then}"


def content_md5(path: Path) -> str:
    """MD5 of a file's contents or, as DVC takes it, of a folder's listing; of what is not there, an empty word.

    Raises DataError when a file cannot be read.
    """
    if path.is_dir():
        files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
        listing = json.dumps([{"md5": content_md5(file), "relpath": name} for name, file in files])
        return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"
    try:
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() if path.is_file() else ""
    except OSError as error:
        raise DataError(f"{path}: expected a file that can be read, got: {error.strerror}") from error


def locked(path: Path = LOCK_FILE) -> dict[str, Stage]:
    """The stages in dvc.lock by name. Raises DataError when it is absent or damaged."""

    def hashes(entries: list[dict[str, Any]]) -> dict[str, str]:
        return {entry["path"]: entry["md5"] for entry in entries}

    try:
        return {
            name: Stage(
                name,
                entry.get("params", {}).get(str(PARAMS_FILE), {}),
                hashes(entry.get("deps", [])),
                hashes(entry.get("outs", [])),
            )
            for name, entry in _tree(path)["stages"].items()
        }
    except (KeyError, AttributeError, TypeError) as error:
        raise DataError(f"{path}: expected a path and an md5 for each file, got none ({error})") from error


def about_to_run(name: str) -> Stage:
    """The stage as dvc.yaml and the files on disk describe it now; `outs` is still empty.

    Raises DataError when dvc.yaml has no such stage.
    """
    entry = _tree(DVC_FILE)["stages"].get(name)
    if entry is None:
        raise DataError(f"{DVC_FILE}: expected a stage named {name}, got none")
    sections = read_yaml(PARAMS_FILE)
    params = {section: sections[section] for section in entry.get("params", [])}
    return Stage(name, params, {path: content_md5(Path(path)) for path in entry["deps"]}, {})
