"""`make search-apply`: the settings of a search's best trial, written to params.yaml."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.core import profiles
from pipeline.core.config import PARAMS_FILE, read
from pipeline.core.files import write_text
from pipeline.experiments import preflight


def with_settings(text: str, settings: Mapping[str, Any]) -> str:
    """YAML in which the settings, by dotted name, have other values; comments and layout stay.

    DVC's own function writes every list of the file as lines.
    """
    yaml = YAML()
    yaml.width = 10_000
    yaml.preserve_quotes = True
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    tree = yaml.load(text)
    for key, value in settings.items():
        *groups, last = key.split(".")
        node = tree
        for group in groups:
            node = node[group]
        if isinstance(value, list):
            node[last][:] = value
        else:
            node[last] = value
    stream = io.StringIO()
    yaml.dump(tree, stream)
    return stream.getvalue()


def apply(settings: Mapping[str, Any], path: Path = PARAMS_FILE) -> list[str]:
    """Write the settings, and return a line for each that has changed. Raises ParamsError if a stage rejects them."""
    before = read(path)
    text = with_settings(path.read_text(encoding="utf-8"), settings)
    preflight.check(profiles.merge(before, profiles.nest(settings), path), path)
    write_text(path, text)
    old = dict(profiles.flatten(before))
    return [f"{path}: {key}: {old[key]} is now {value}" for key, value in settings.items() if old[key] != value]
