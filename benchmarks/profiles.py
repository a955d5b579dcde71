"""The profiles: pipeline/profiles/<name>.txt, lines of `section.key=value` that differ from params.yaml."""

from pathlib import Path
from typing import Any, Final

import yaml

FOLDER: Final = Path("pipeline/profiles")


def changes(name: str) -> dict[str, Any]:
    """What the profile changes, by key; `default` changes nothing."""
    if name == "default":
        return {}
    lines = (line.partition("#")[0].strip() for line in (FOLDER / f"{name}.txt").read_text().splitlines())
    return {key: yaml.safe_load(value) for key, _, value in (line.partition("=") for line in lines if line)}


def tree(name: str) -> dict[str, Any]:
    """params.yaml as the profile has it. Raises KeyError for a key that params.yaml lacks."""
    found: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_bytes())
    for key, value in changes(name).items():
        *groups, last = key.split(".")
        place = found
        for group in groups:
            place = place[group]
        if last not in place:
            raise KeyError(f"{name}: {key}")
        place[last] = value
    return found
