"""Reading and writing files: written under a temporary name and renamed, JSON sorted, arrays checked when read.

Whatever is in a YAML or JSON file, reading it takes little memory: its size, its depth and its values are limited.
"""

import contextlib
import csv
import hashlib
import io
import json
import os
import re
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent

from pipeline.core.errors import DataError, StorageError

MAX_SIZE: Final = 2_000_000  # bytes of a YAML or JSON file; the largest here, dvc.lock, has 20,000
MAX_DEPTH: Final = 50  # mappings and lists in each other; params.yaml has 3
MAX_VALUES: Final = 100_000  # in a YAML file, counted again for each alias
MANIFEST: Final = "manifest.json"


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` atomically: `path` is never left half-written.

    Raises StorageError if the disk is full or the folder is not writable.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_bytes(path, to_json(value))


def to_json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files, and manifest.json with the SHA-256 of each."""
    for name, content in files.items():
        write_bytes(folder / name, content)
    write_json(folder / MANIFEST, {name: hashlib.sha256(content).hexdigest() for name, content in files.items()})


def check_files(folder: Path, *names: str) -> None:
    """Raise DataError unless these files have the SHA-256 that manifest.json names: a flipped bit in a weight or in a
    number would go unnoticed."""
    manifest = read_json(folder / MANIFEST, *names)
    for name in names:
        try:
            got = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            raise DataError(f"{folder / name}: expected a file, got {_reason(error)}") from error
        if got != manifest[name]:
            raise DataError(f"{folder / name}: got SHA-256 {got}, expected {manifest[name]}, as in {MANIFEST}")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a header and rows; floats are written in full precision."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    write_text(path, buffer.getvalue())


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def read_yaml(path: Path) -> Any:
    """The content of a YAML 1.2 file, parsed as DVC parses it, so that a stage reads the value that dvc.lock records.

    PyYAML would read YAML 1.1, where `010` is 8, `1:30` is 90, `yes` is true and `1e-3` is text.

    Raises OSError, or ValueError with a one-line message if the file is not YAML or exceeds a limit.
    """
    text = _read_limited(path).decode()
    if conflict := re.search(r"^<{7} ", text, re.MULTILINE):
        line = text.count("\n", 0, conflict.start()) + 1
        raise ValueError(f"an unresolved merge conflict at line {line}")
    try:
        _check_yaml(text)
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def file_md5(path: Path) -> str:
    """MD5 of a file of any size. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _read_limited(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_SIZE + 1)
    if len(content) > MAX_SIZE:
        raise ValueError(f"more than {MAX_SIZE:,} bytes")
    return content


def _check_yaml(text: str) -> None:
    """Raise ValueError for YAML that is nested too deeply, or has too many values when its aliases are replaced.

    The parser's events need no recursion and no tree. libyaml's composer overflows the stack of a process that lets it
    compose 100,000 lists in each other, and an alias in a merge (`<<`) copies what it names.
    """
    sizes: dict[str, int] = {}  # values in what each anchor names
    open_nodes: list[tuple[str, int]] = []  # their anchors, and how many values were before
    values = 0
    for event in YAML(typ="safe").parse(text):
        if isinstance(event, CollectionEndEvent):
            anchor, before = open_nodes.pop()
            sizes[anchor] = values - before
        elif isinstance(event, AliasEvent):
            values += sizes.get(event.anchor, 1)
        elif isinstance(event, NodeEvent):
            values += 1
            sizes[event.anchor] = 1
            if isinstance(event, CollectionStartEvent):
                open_nodes.append((event.anchor, values))
                sizes[event.anchor] = MAX_VALUES  # what contains itself has no end
        if len(open_nodes) > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} mappings and lists in each other")
        if values > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES:,} values, with each alias replaced by what it names")


def parse_json(content: bytes) -> Any:
    """The value in JSON. Raises ValueError if it is not JSON or is nested too deeply."""
    too_deep = ValueError(f"more than {MAX_DEPTH} objects and lists in each other")
    try:
        value = json.loads(content)
    except RecursionError as error:
        raise too_deep from error
    level = [value]
    for _ in range(MAX_DEPTH):
        groups = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level = [child for group in groups for child in group]
    if any(isinstance(item, dict | list) for item in level):
        raise too_deep
    return value


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises DataError if the file is missing, is not JSON, exceeds a limit, is not an object or lacks one of the `keys`.
    """
    try:
        value = parse_json(_read_limited(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a JSON object, got {_reason(error)}") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, got {type(value).__name__}")
    if any(key not in value for key in keys):
        raise DataError(f"{path}: expected the keys {', '.join(keys)}, got {', '.join(value) or 'none'}")
    return value


def read_array(path: Path, dtype: npt.DTypeLike, *shapes: tuple[int | None, ...]) -> npt.NDArray[Any]:
    """The array in a .npy file. Raises DataError unless it has this dtype and one of the shapes (None: any length)."""
    named = (f"({', '.join('N' if n is None else str(n) for n in shape)})" for shape in shapes)
    expected = f"{np.dtype(dtype).name} {' or '.join(named)}"
    try:
        with path.open("rb") as file:
            array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError, tokenize.TokenError) as error:
        raise DataError(f"{path}: expected an array of {expected}, got {_reason(error)}") from error
    if array.dtype != dtype or not any(_fits(array.shape, shape) for shape in shapes):
        raise DataError(f"{path}: expected an array of {expected}, got {array.dtype.name} {array.shape}")
    return array


def _fits(got: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(got) == len(shape) and all(n in (None, m) for n, m in zip(shape, got, strict=True))


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no file"
    return f"a file that cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
