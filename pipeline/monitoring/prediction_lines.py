"""Reads the prediction log that the service writes: the features of the images that it answered."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from pipeline.core.errors import DataError
from pipeline.monitoring.reference import FEATURES, NONE, NUMBERS, Features, Reference

MAX_LINE: Final = 1_000_000  # characters; one with 128 images has 10,000


class Line(BaseModel):
    """Of one request, what is read of it."""

    model_config = ConfigDict(strict=True, extra="ignore")

    status: int
    model: str
    reference: str | None
    ink: list[float] = []
    width: list[float] = []
    height: list[float] = []
    confidence: list[float] = []
    score: list[float] = []
    classes: list[str] = []


class Logged(NamedTuple):
    """What a log has of one reference."""

    features: Features
    requests: int
    models: tuple[str, ...]
    skipped: int
    """Lines that are none of a prediction log, or of another reference."""

    @property
    def images(self) -> int:
        return len(self.features["class"])


def log_files(path: Path) -> list[Path]:
    """The log and the files that it was rotated to, the oldest first."""
    rotated = [(int(file.suffix[1:]), file) for file in path.parent.glob(f"{path.name}.*") if file.suffix[1:].isdigit()]
    return [*(file for _, file in sorted(rotated, reverse=True)), path]


def read_lines(path: Path) -> Iterator[Line | None]:
    """The lines of one file, None for one that is not a request's: a service's other output, a line cut short."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            while text := file.readline(MAX_LINE):
                yield parse_line(text)
    except OSError as error:
        raise DataError(f"{path}: expected a prediction log, got {error.strerror or error}") from error


def parse_line(text: str) -> Line | None:
    try:
        value = json.loads(text)
        if not isinstance(value, dict):
            return None
        line = Line.model_validate(value | {"classes": value.get("class", [])})
    except (RecursionError, ValueError):  # pydantic's error is a ValueError
        return None
    lengths = {len(values) for values in (*(getattr(line, name) for name in NUMBERS), line.classes)}
    return line if len(lengths) == 1 else None


def read_log(path: Path, reference: Reference, last: int | None) -> Logged:
    """The features of the images in the log, of the `last` ones if that is a number. Lines of models with another
    reference are skipped: their confidences are not comparable. Raises DataError if no line is left."""
    numbers = {name: number for number, name in enumerate((*reference.classes, NONE))}
    found: list[Line] = []
    others: set[str] = set()
    skipped = 0
    for line in (line for file in log_files(path) for line in read_lines(file)):
        if line is None or line.reference != reference.digest or not numbers.keys() >= set(line.classes):
            skipped += 1
            others |= {line.model} if line else set()
        else:
            found.append(line)
    if not any(line.classes for line in found):
        got = f"lines of {', '.join(sorted(others))}" if others else f"{skipped} other lines"
        raise DataError(
            f"{path}: got {got}, expected answers of a model whose reference is {reference.digest}; "
            "REFERENCE=model.onnx names another model's"
        )
    features = {name: np.array([value for line in found for value in getattr(line, name)]) for name in NUMBERS}
    features["class"] = np.array([numbers[name] for line in found for name in line.classes])
    if last:
        features = {name: features[name][-last:] for name in FEATURES}
    return Logged(features, len(found), tuple(sorted({line.model for line in found})), skipped)
