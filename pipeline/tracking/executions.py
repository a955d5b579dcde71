"""What happened when a stage ran, as `core.execution` writes it beside the results: who, when, how long, on what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pipeline.core.errors import PipelineError
from pipeline.core.execution import execution_path
from pipeline.core.files import read_json

NUMBERS: Final = ("seconds", "cpu_seconds", "peak_memory_mib")
TEXTS: Final = ("host", "processor", "device", "threads", "processes", "precision", "python")


@dataclass(frozen=True)
class Execution:
    """Times are in milliseconds since the epoch. All is empty if the result was computed elsewhere."""

    user: str | None = None
    start: int | None = None
    end: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def read_execution(root: Path, stage: str, inputs_key: str) -> Execution:
    """The execution of the stage with these inputs that ended last in the repository at `root`."""
    try:
        entry = read_json(execution_path(root, stage, inputs_key))
    except (OSError, PipelineError, ValueError):
        return Execution()
    if not isinstance(entry, dict) or entry.get("inputs_key") != inputs_key:
        return Execution()
    packages = entry.get("packages")
    listed = ", ".join(f"{name} {version}" for name, version in packages.items()) if isinstance(packages, dict) else ""
    return Execution(
        entry.get("user"),
        _integer(entry.get("start")),
        _integer(entry.get("end")),
        {name: float(entry[name]) for name in NUMBERS if isinstance(entry.get(name), int | float)},
        {name: str(entry[name]) for name in TEXTS if name in entry} | ({"packages": listed} if listed else {}),
    )


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) else None
