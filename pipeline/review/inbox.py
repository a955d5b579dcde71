"""Corrections as the service stored them: `<time>-<random>/` with picture.png, seen.png and correction.json.

The folder may come from another machine: names, links, sizes and contents are checked before anything is shown.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from pipeline.core.errors import DataError, PictureError
from pipeline.core.files import read_json
from pipeline.data.corrections import LABELS, NONE, Pixels, decode, digest
from pipeline.data.handwriting import read_picture
from pipeline.data.picture import open_picture

NAME: Final = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}")
PICTURE, SEEN, CONTENT = "picture.png", "seen.png", "correction.json"


class Item(NamedTuple):
    """A correction: `label` is what the user says, `answer` what the service said (a class or none), with which
    confidence; `box` is that of the digit in a row, in shares of the picture's sides."""

    name: str
    label: str
    answer: str
    confidence: float | None
    box: dict[str, float] | None
    model: str
    time: str
    image: Pixels
    """What the model saw."""
    earlier: tuple[str, ...] = ()
    """Names of earlier corrections of the same image, which this one replaces."""


def read_inbox(folder: Path) -> tuple[list[Item], list[str]]:
    """The corrections that wait, the oldest first and each image once, by its last correction; and a sentence for each
    that cannot be read. Raises DataError if there is no such folder."""
    if not folder.is_dir():
        raise DataError(f"{folder}: expected the folder in which a service stores corrections, got none")
    latest: dict[bytes, Item] = {}
    problems = []
    for path in waiting(folder):
        try:
            item = read_item(path)
        except DataError as error:
            problems.append(str(error))
            continue
        other = latest.pop(key := item.image.tobytes(), None)
        latest[key] = item._replace(earlier=(*other.earlier, other.name)) if other else item
    return list(latest.values()), problems


def waiting(folder: Path) -> Iterator[Path]:
    """The folders of corrections, the oldest first."""
    for path in sorted(folder.iterdir()):
        if NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            yield path


def read_item(path: Path) -> Item:
    """Raises DataError."""
    if any((path / file).is_symlink() for file in (PICTURE, SEEN, CONTENT)):
        raise DataError(f"{path}: expected files, got a link")
    content = read_json(path / CONTENT, "answer", "label", "model", "time")
    answer = content["answer"] if isinstance(content["answer"], dict) else {}
    found = answer.get("class") or NONE
    if content["label"] not in LABELS or found not in LABELS:
        raise DataError(f"{path / CONTENT}: expected labels from 0 to 9 or {NONE}, got {content['label']!r:.50}")
    model, time = (str(content[key])[:100] for key in ("model", "time"))
    confidence = answer.get("confidence")
    return Item(
        path.name, content["label"], found,
        float(confidence) if isinstance(confidence, int | float) else None,
        _box(answer.get("box")), model, time, decode(path / SEEN),
    )  # fmt: skip


def _box(value: Any) -> dict[str, float] | None:
    sides = ("left", "top", "width", "height")
    if not isinstance(value, dict) or not all(isinstance(value.get(side), int | float) for side in sides):
        return None
    return {side: float(value[side]) for side in sides}


def picture_pixels(path: Path) -> Pixels:
    """The grey picture of a correction. Raises DataError."""
    try:
        return np.asarray(open_picture(read_picture(path / PICTURE)))
    except (OSError, PictureError) as error:
        raise DataError(f"{path / PICTURE}: expected a picture, got: {error}") from error


def picture_digest(path: Path) -> str:
    """Of the picture of a correction: the digits of a row have the same one. Raises DataError."""
    return digest(picture_pixels(path))
