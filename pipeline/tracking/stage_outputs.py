"""The outputs of the stages, converted to what MLflow logs: params, metrics and artifacts."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.core.files import read_json


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values in nested mappings with their dotted names, such as `train.optimizer.name`."""
    for key, value in tree.items():
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping):
            yield from flatten(value, name)
        else:
            yield name, value


def read_metrics(path: str) -> dict[str, dict[int, float]]:
    """The numbers in a JSON file as curves of one point, `test.accuracy` as `test_accuracy`."""
    numbers = {name: value for name, value in flatten(read_json(Path(path))) if isinstance(value, int | float)}
    return {name.replace(".", "_"): {0: float(value)} for name, value in numbers.items()}


def read_curves(path: str, axis: str) -> dict[str, dict[int, float]]:
    """The columns of a CSV file as curves over the column `axis`."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: {int(row[axis]): float(row[name]) for row in rows} for name in rows[0] if name != axis}


def artifact_files(path: Path) -> list[Path]:
    """The file at `path`, or those in the folder; without arrays (.npy), which the hash of the data identifies."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [file for file in files if file.is_file() and file.suffix != ".npy"]
