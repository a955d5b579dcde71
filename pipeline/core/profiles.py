"""The profiles: pipeline/profiles/<name>.txt, lines of `section.key=value` that differ from params.yaml."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from pipeline.core.files import read_yaml

FOLDER: Final = Path("pipeline/profiles")


def parse(lines: Iterable[str]) -> dict[str, Any]:
    """Settings by key, of lines as in a profile: `section.key=value`, and what follows a `#` is for people."""
    bare = (line.partition("#")[0].strip() for line in lines)
    return {key: YAML(typ="safe").load(value) for key, _, value in (line.partition("=") for line in bare if line)}


def changes(name: str) -> dict[str, Any]:
    """What the profile changes, by key; `default` changes nothing."""
    return {} if name == "default" else parse((FOLDER / f"{name}.txt").read_text().splitlines())


def tree(name: str, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """params.yaml as the profile has it, with `more` changed by key. Raises KeyError where params.yaml lacks a key."""
    found: dict[str, Any] = read_yaml(Path("params.yaml"))
    for key, value in (changes(name) | dict(more or {})).items():
        *groups, last = key.split(".")
        place = found
        for group in groups:
            place = place.get(group, {})
        if last not in place:
            raise KeyError(f"{name}: {key}")
        place[last] = value
    return found
