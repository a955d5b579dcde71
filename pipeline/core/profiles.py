"""Profiles: named overlays on params.yaml, each a file pipeline/profiles/<name>.yaml with the same sections and keys.

`default` is params.yaml itself.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.core.config import PARAMS_FILE, did_you_mean, read, shown
from pipeline.core.errors import ParamsError

FOLDER: Final = Path("pipeline/profiles")
DEFAULT: Final = "default"


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def path_of(name: str) -> Path:
    return PARAMS_FILE if name == DEFAULT else FOLDER / f"{name}.yaml"


def load(name: str) -> dict[str, Any]:
    """The settings that the profile changes, nested as in params.yaml.

    Raises ParamsError if there is no such profile, or a key is not one of params.yaml's.
    """
    if name == DEFAULT:
        return {}
    if name not in names():
        raise ParamsError(f"{FOLDER}: got {name!r}, expected one of {', '.join(names())}")
    overlay = read(path_of(name))
    merge(read(), overlay, path_of(name))  # raises for unknown keys
    return overlay


def apply(name: str, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """params.yaml with the profile merged into it, and then `changes`. Raises ParamsError for unknown keys."""
    return merge(merge(read(), load(name), path_of(name)), changes or {}, Path(f"{name} with changes"))


def merge(params: Mapping[str, Any], overlay: Mapping[str, Any], source: Path, prefix: str = "") -> dict[str, Any]:
    """A copy of `params` with the values of `overlay`, which comes from `source`.

    Raises ParamsError if the overlay has a key that `params` lacks, or a single value where `params` has a group.
    """
    merged = dict(params)
    for key, value in overlay.items():
        place = f"{prefix}{key}"
        if key not in params:
            hint = did_you_mean(place, (name for name, _ in flatten(params, prefix, groups=True)))
            raise ParamsError(f"{source}: {place} is not a setting in {PARAMS_FILE}{hint}")
        if not isinstance(params[key], Mapping):
            merged[key] = value
        elif isinstance(value, Mapping):
            merged[key] = merge(params[key], value, source, f"{place}.")
        else:
            raise ParamsError(
                f"{source}: {place}: got {shown(value)}, expected a mapping with {', '.join(params[key])}"
            )
    return merged


def flatten(tree: Mapping[str, Any], prefix: str = "", groups: bool = False) -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of all settings, with `groups` also of the groups that contain them."""
    for key, value in tree.items():
        is_group = isinstance(value, Mapping)
        if groups or not is_group:
            yield f"{prefix}{key}", value
        if is_group:
            yield from flatten(value, f"{prefix}{key}.", groups)


def nest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names as groups in each other, as in params.yaml."""
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        *groups, last = key.split(".")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[last] = value
    return tree


def as_set_param(overlay: Mapping[str, Any]) -> list[str]:
    """The overlay as `section.key=value` for `dvc exp run --set-param`."""
    return [f"{key}={json.dumps(value)}" for key, value in flatten(overlay)]
