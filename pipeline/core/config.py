"""params.yaml, one section per stage, read strictly: a stage never starts on a value that it would have to guess."""

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.core.errors import ParamsError
from pipeline.core.files import read_yaml

PARAMS_FILE = Path("params.yaml")
EXPERIMENT: Final = "handwritten-digits"  # the project's experiment in MLflow
SECTIONS = ("download", "eda", "normalise", "train", "score", "export")


class Section(BaseModel):
    """Settings of a stage, or a named group of them: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


S = TypeVar("S", bound=Section)


def load(section: str, model: type[S], path: Path = PARAMS_FILE) -> S:
    """The section named `section`, checked against `model`. Raises ParamsError naming each wrong key."""
    try:
        tree = read_yaml(path)
    except OSError as error:
        raise ParamsError(f"{path}: expected the pipeline's parameters, got {error.strerror}") from error
    except ValueError as error:
        raise ParamsError(f"{path}: expected YAML, got: {error}") from error
    if not isinstance(tree, dict) or not isinstance(tree.get(section), dict):
        raise ParamsError(f"{path}: expected a section named {section!r} with its settings, got none")
    if unknown := [str(name) for name in tree if name not in SECTIONS]:
        meant = did_you_mean(unknown[0], SECTIONS)
        raise ParamsError(f"{path}: got a section {unknown[0]!r}, expected only {', '.join(SECTIONS)}{meant}")
    try:
        return model.model_validate(tree[section])
    except ValidationError as error:
        complaints = "; ".join(_complaint(section, model, detail) for detail in error.errors())
        raise ParamsError(f"{path}: {complaints}") from error


def keys(prefix: str, model: type[Section]) -> Iterator[str]:
    """The dotted names of a section's settings and groups, as `train.optimizer` and `train.optimizer.name`."""
    for name, field in model.model_fields.items():
        yield f"{prefix}.{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from keys(f"{prefix}.{name}", field.annotation)


def did_you_mean(key: str, known: Iterable[str]) -> str:
    """`; did you mean train.epochs?`, or nothing where no known key is similar: as a whole, or in its last part."""
    names = list(known)
    similar = difflib.get_close_matches(key, names, 1, 0.8)
    if not similar:
        last = difflib.get_close_matches(key.split(".")[-1], [name.split(".")[-1] for name in names], 1, 0.8)
        similar = [name for name in names if name.split(".")[-1] in last][:3]
    return f"; did you mean {' or '.join(similar)}?" if similar else ""


def _complaint(section: str, model: type[Section], detail: Any) -> str:
    place = ".".join([section, *(str(part) for part in detail["loc"])])
    got = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            return f"{place} is not a setting of this stage{did_you_mean(place, keys(section, model))}"
        case "missing":
            return f"{place} is missing"
    expected = detail["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{place}: got {got!r}, expected {expected}"
