"""Files that declare what to run, by name: pipeline/sweeps/<name>.yaml and pipeline/searches/<name>.yaml."""

import argparse
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from pipeline.core.config import Section, did_you_mean, read, shown
from pipeline.core.errors import ParamsError

D = TypeVar("D", bound=Section)


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load(folder: Path, name: str, model: type[D]) -> D:
    """The declaration of this name. Raises ParamsError, naming its file, if it is missing or not valid."""
    known, path = names(folder), folder / f"{name}.yaml"
    if name not in known:
        raise ParamsError(f"{folder}: got {name!r}, expected one of {', '.join(known)}{did_you_mean(name, known)}")
    try:
        return model.model_validate(read(path))
    except ValidationError as error:
        messages = [_message(detail, model) for detail in error.errors()]
        raise ParamsError(f"{path}: {'; '.join(messages)}") from error


def _message(detail: Any, model: type[Section]) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    match detail["type"]:
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            return f"{key} is not known here, expected {', '.join(model.model_fields)}"
    expected = detail["msg"].removeprefix("Input should be ").removeprefix("Value error, ").removeprefix("expected ")
    return f"{key}: got {shown(detail['input'])}, expected {expected}"


def whole(text: str) -> int:
    """An argument of a command that may be 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number of at least 0")
    return int(text)


def positive(text: str) -> int:
    """An argument of a command that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number of at least 1")
    return int(text)
