"""params.yaml, a section for each stage and for `make promote`, validated strictly: no defaults, no unknown keys."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.core.errors import ParamsError
from pipeline.core.files import read_yaml

PARAMS_FILE = Path("params.yaml")
EXPERIMENT: Final = "handwritten-digits"  # the project's experiment in MLflow
SECTIONS = ("download", "eda", "normalise", "train", "score", "export")
COMMAND_SECTIONS: Final = ("promote",)  # of commands that are no stage: DVC computes nothing by them
MAX_SHOWN: Final = 200  # characters of a value in a message
MAX_MESSAGES: Final = 10  # about one section


class Section(BaseModel):
    """Settings of a stage or command, or a named group of them: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


S = TypeVar("S", bound=Section)


def load(section: str, model: type[S], path: Path = PARAMS_FILE) -> S:
    """The section named `section`, validated by `model`. Raises ParamsError naming every wrong key."""
    return validate(section, model, read(path), path)


def read(path: Path = PARAMS_FILE) -> dict[str, Any]:
    """The sections in a YAML file of parameters. Raises ParamsError if it is missing, not YAML or not a mapping."""
    try:
        params = read_yaml(path)
    except OSError as error:
        raise ParamsError(f"{path}: expected the pipeline's parameters, got {error.strerror}") from error
    except ValueError as error:
        raise ParamsError(f"{path}: expected YAML, got: {error}") from error
    if not isinstance(params, dict):
        raise ParamsError(f"{path}: expected the sections {', '.join(SECTIONS)}, got {shown(params)}")
    return params


def validate(section: str, model: type[S], params: Mapping[str, Any], source: Path) -> S:
    """The section named `section` of `params`, validated by `model`.

    Raises ParamsError naming `source`, where the values come from, and every wrong key.
    """
    if not isinstance(params.get(section), dict):
        raise ParamsError(f"{source}: expected a section named {section!r} with its settings, got none")
    known = (*SECTIONS, *COMMAND_SECTIONS)
    if unknown := [str(name) for name in params if name not in known]:
        hint = did_you_mean(unknown[0], known)
        raise ParamsError(f"{source}: got a section {shown(unknown[0])}, expected only {', '.join(known)}{hint}")
    try:
        return model.model_validate(params[section])
    except ValidationError as error:
        messages = [_message(section, model, detail) for detail in error.errors()[:MAX_MESSAGES]]
        if error.error_count() > MAX_MESSAGES:
            messages.append(f"and {error.error_count() - MAX_MESSAGES} more")
        raise ParamsError(f"{source}: {'; '.join(messages)}") from error


def keys(prefix: str, model: type[Section]) -> Iterator[str]:
    """The dotted names of a section's settings and groups, such as `train.optimizer` and `train.optimizer.name`."""
    for name, field in model.model_fields.items():
        yield f"{prefix}.{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from keys(f"{prefix}.{name}", field.annotation)


def shown(value: object) -> str:
    """The value as Python writes it, cut off where a message would become unreadable."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def did_you_mean(key: str, known: Iterable[str]) -> str:
    """`; did you mean train.epochs?`, or "" if no known key is similar, either as a whole or in its last part."""
    names = list(known)
    similar = difflib.get_close_matches(key, names, 1, 0.8)
    if not similar:
        last = difflib.get_close_matches(key.split(".")[-1], [name.split(".")[-1] for name in names], 1, 0.8)
        similar = [name for name in names if name.split(".")[-1] in last][:3]
    return f"; did you mean {' or '.join(similar)}?" if similar else ""


def _message(section: str, model: type[Section], detail: Any) -> str:
    key = ".".join([section, *(str(part) for part in detail["loc"])])
    got = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            return f"{key} is not a setting of this stage{did_you_mean(key, keys(section, model))}"
        case "missing":
            return f"{key} is missing"
    expected = detail["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{key}: got {shown(got)}, expected {expected}"
