"""A folder of labelled pictures, by which a model or a service is judged.

Either index.csv lists the pictures, with the columns file and label, and, if wanted, kind (digits, rows or not_digits),
writer and note (paint, photo …). Or a folder for each label holds them: `7/a.png` shows a 7, `468/b.jpg` the row 468,
`not_a_digit/c.png` something else. Hidden files are skipped.
"""

import csv
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from pipeline.core.errors import DataError
from pipeline.data.limits import MAX_FILE

INDEX: Final = "index.csv"
KINDS: Final = ("digits", "rows", "not_digits")
NOT_A_DIGIT: Final = "not_a_digit"
EXPECTED: Final = f"a digit, a row of digits, or {NOT_A_DIGIT}"


class Picture(NamedTuple):
    file: str
    """Path below the folder."""
    content: bytes
    kind: str
    """One of KINDS."""
    label: str
    """A digit, the digits of a row, or anything for what is not a digit."""
    writer: str = ""
    note: str = ""


def read_folder(folder: Path) -> list[Picture]:
    """All pictures of the folder, in the order of its index or of their paths.

    Raises DataError if there are none, a label or a kind is unknown, or a file cannot be read or is larger than the
    service accepts.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of labelled pictures, got none")
    pictures = list(_from_index(folder) if (folder / INDEX).is_file() else _from_subfolders(folder))
    if not pictures:
        raise DataError(f"{folder}: expected pictures in folders named by their labels, or {INDEX}; got no picture")
    return pictures


def digest(pictures: Iterable[Picture]) -> str:
    """SHA-256 of all pictures with their labels."""
    sums = [(*picture._replace(content=b""), hashlib.sha256(picture.content).hexdigest()) for picture in pictures]
    return hashlib.sha256(repr(sums).encode()).hexdigest()


def _from_index(folder: Path) -> Iterable[Picture]:
    path = folder / INDEX
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: expected a table in UTF-8, got: {error}") from error
    for number, row in enumerate(rows, 2):
        place = f"{path}, line {number}"
        if row.get("file") is None or row.get("label") is None:
            raise DataError(f"{place}: expected the columns file and label, got {', '.join(filter(None, row))}")
        kind = _kind(row["label"], row.get("kind") or "", place)
        content = _content(folder / row["file"])
        yield Picture(row["file"], content, kind, row["label"], row.get("writer") or "", row.get("note") or "")


def _from_subfolders(folder: Path) -> Iterable[Picture]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") for part in parts):
            if len(parts) != 2:
                raise DataError(f"{path}: expected pictures as {folder}/<label>/<name>.png, or {folder}/{INDEX}")
            kind = _kind(parts[0], "", str(path))
            yield Picture("/".join(parts), _content(path), kind, parts[0])


def _kind(label: str, kind: str, place: str) -> str:
    """The kind, from the label if it is not given. Raises DataError, naming the place, unless they fit."""
    is_number = label.isascii() and label.isdigit()
    if not kind:
        if not is_number and label != NOT_A_DIGIT:
            raise DataError(f"{place}: got the label {label!r}, expected {EXPECTED}")
        return "not_digits" if not is_number else "digits" if len(label) == 1 else "rows"
    if kind not in KINDS:
        raise DataError(f"{place}: got the kind {kind!r}, expected one of {', '.join(KINDS)}")
    if kind != "not_digits" and (not is_number or (kind == "digits" and len(label) != 1)):
        expected = "a digit" if kind == "digits" else "digits"
        raise DataError(f"{place}: got the label {label!r} of the kind {kind}, expected {expected}")
    return kind


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise DataError(f"{path}: expected a picture, got a file that cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE:
        raise DataError(f"{path}: expected a picture of at most {MAX_FILE / 2**20:g} MB, got a larger file")
    return content
