"""dvc.lock as it is written, for those who compare it with files: `dvc_repository` reads it through DVC."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core import stage_inputs
from pipeline.core.errors import DataError
from pipeline.core.stage_inputs import LOCK_FILE, read_stages


@dataclass(frozen=True)
class Stage:
    """A stage in dvc.lock: its parameters by file, and the MD5 sums of its dependencies and outputs by path."""

    name: str
    params: stage_inputs.Params
    deps: dict[str, str]
    outs: dict[str, str]

    @property
    def inputs_key(self) -> str:
        """Identity of the inputs: parameters, code and data. Known before the stage runs."""
        return stage_inputs.inputs_key(self.name, self.params, self.deps)


def read_lock(path: Path = LOCK_FILE) -> dict[str, Stage]:
    """The stages in dvc.lock by name. Raises DataError if it is missing or damaged."""

    def hashes(entries: list[dict[str, Any]]) -> dict[str, str]:
        return {str(entry["path"]): str(entry["md5"]) for entry in entries}

    try:
        return {
            name: Stage(
                name,
                {file: dict(values) for file, values in entry.get("params", {}).items()},
                hashes(entry.get("deps", [])),
                hashes(entry.get("outs", [])),
            )
            for name, entry in read_stages(path).items()
        }
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{path}: expected a path and an md5 for each file, got none ({error})") from error


def declared(name: str) -> tuple[set[str], set[str]]:
    """The dependencies and the outputs that dvc.yaml declares for a stage. Raises DataError if it has no such stage."""
    entry = stage_inputs.declaration(name)
    outs = [out for key in ("outs", "metrics", "plots") for out in entry.get(key, [])]
    return set(entry["deps"]), {path for out in outs for path in ([out] if isinstance(out, str) else out)}
