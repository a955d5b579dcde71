"""What is in the files that dvc.yaml declares: metrics as numbers, plots as curves.

Errors of a file are ValueErrors of one sentence, without the file's name.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dvc.exceptions import DvcException
from dvc.utils.serialize import PARSERS

from pipeline.tracking.version import Plot

Curves = dict[str, dict[int, float]]
"""Values by step, by the name of the curve."""

IMAGES: Final = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp")
MAX_SIZE: Final = 50_000_000  # bytes of a file of metrics or of a plot


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values in nested mappings with their dotted names, such as `train.optimizer.name`."""
    for key, value in tree.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            yield from flatten(value, name)
        else:
            yield name, value


def read_metrics(path: Path) -> dict[str, float]:
    """The numbers in a JSON, YAML or TOML file, `test.accuracy` as `test_accuracy`; those in lists are left out.

    A file that is one number is called like itself.
    """
    tree = parse(path)
    values = flatten(tree) if isinstance(tree, Mapping) else [(path.stem, tree)]
    return {
        name.replace(".", "_"): float(value)
        for name, value in values
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def read_curves(path: Path, plot: Plot) -> Curves:
    """The columns `y` of a plot as curves over its column `x`; without a `y`, the last column, as DVC draws it.

    None of them, unless it shows lines and `x` has whole numbers, each once: MLflow's steps.
    """
    rows = read_rows(path)
    if plot.x is None or not plot.is_curve or not rows:
        return {}
    steps = [_whole(row.get(plot.x)) for row in rows]
    if None in steps or len(set(steps)) < len(steps):
        return {}
    columns = plot.y or tuple(list(rows[0])[-1:])
    curves: Curves = {}
    for column in columns:
        values = [_number(row.get(column)) for row in rows]
        curves[column] = {
            step: value for step, value in zip(steps, values, strict=True) if step is not None and value is not None
        }
    return {name: points for name, points in curves.items() if points}


def read_rows(path: Path) -> list[Mapping[str, Any]]:
    """The rows of a table: CSV, TSV, or the first list of objects in JSON or YAML."""
    if path.suffix in (".csv", ".tsv"):
        text = _read(path)
        return list(csv.DictReader(io.StringIO(text), delimiter="\t" if path.suffix == ".tsv" else ","))
    return list(_first_table(parse(path)))


def parse(path: Path) -> Any:
    """The value in a JSON, YAML or TOML file, by DVC's parsers."""
    parser = PARSERS.get(path.suffix.lower(), PARSERS[".yaml"])
    try:
        return parser(_read(path), str(path))
    except (DvcException, RecursionError) as error:
        raise ValueError(" ".join(str(error.__cause__ or error).split())) from error


def _read(path: Path) -> str:
    if path.stat().st_size > MAX_SIZE:
        raise ValueError(f"more than {MAX_SIZE:,} bytes")
    return path.read_text(encoding="utf-8-sig")


def _first_table(value: Any) -> Sequence[Mapping[str, Any]]:
    if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
        return value
    for child in value.values() if isinstance(value, Mapping) else ():
        if table := _first_table(child):
            return table
    return ()


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and abs(number) < 2**53 and number.is_integer() else None
