"""A version of a DVC pipeline: its stages, what they read and wrote, and what dvc.yaml declares about it.

Plain values, in which paths are relative to the DVC repository, with slashes. `dvc_repository` reads them from a
repository, `sync` writes them to MLflow.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from pipeline.core import stage_inputs

# Endings of code. What it changes is in a stage's outputs, so it is not part of the identity of a result.
CODE: Final = (".py", ".ipynb", ".sh", ".bash", ".r", ".jl", ".sql", ".pyx", ".c", ".cpp", ".rs", ".go")
DEFAULT_PARAMS_FILE: Final = "params.yaml"
LINES: Final = (None, "linear", "simple", "smooth")  # the templates of DVC that draw lines


@dataclass(frozen=True)
class Plot:
    """A plot: the columns `y` of `path` over the column `x`; without columns, an image or what its template reads."""

    path: str
    x: str | None = None
    y: tuple[str, ...] = ()
    template: str | None = None

    @property
    def is_curve(self) -> bool:
        """Whether it shows lines over `x`, not bars or a confusion matrix."""
        return self.x is not None and self.template in LINES


@dataclass(frozen=True)
class Stage:
    """A stage's result, as dvc.lock records it.

    `params` are values by key by file, `deps` and `outs` DVC's hashes by path; the hash of a folder ends in `.dir`.
    `metrics` and `plots` are paths and plots among the outputs, `reports` the outputs that have a `type`.
    """

    name: str
    params: Mapping[str, Mapping[str, Any]]
    deps: Mapping[str, str]
    outs: Mapping[str, str]
    desc: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    reports: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Identity of the result: parameters, data read, files written."""
        return digest(self.name, named(self.params), self.data, dict(self.outs))

    @property
    def inputs_key(self) -> str:
        """Identity of the inputs: parameters, code and data, as `core.stage_inputs` computes it before a stage runs."""
        return stage_inputs.inputs_key(self.name, self.params, self.deps)

    @property
    def data(self) -> dict[str, str]:
        """The dependencies that are no code."""
        return {path: md5 for path, md5 in self.deps.items() if not is_code(path)}


@dataclass(frozen=True)
class Artifact:
    """An entry under `artifacts:`; one of the type `model` is registered."""

    name: str
    path: str
    type: str | None = None
    desc: str | None = None
    labels: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What `meta` says under `mlflow`."""
        value = self.meta.get("mlflow", {})
        return value if isinstance(value, Mapping) else {}


@dataclass(frozen=True)
class Source:
    """Data that a .dvc file tracks: its path, its hash, and from where it was imported, if it was."""

    path: str
    md5: str
    origin: str = ""


@dataclass(frozen=True)
class Version:
    """All of a pipeline at one revision. `incomplete` names the stages without a result in dvc.lock."""

    stages: tuple[Stage, ...]
    incomplete: tuple[str, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    sources: tuple[Source, ...] = ()
    metrics: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    """Those that describe it: dvc.yaml, dvc.lock and the files of parameters."""

    @property
    def key(self) -> str:
        """Identity of the version: the results of all its stages."""
        return digest({stage.name: stage.key for stage in self.stages})

    def writer(self, path: str) -> Stage | None:
        """The stage that writes this file or folder, or the folder that it is in."""
        for stage in self.stages:
            if any(PurePosixPath(path).is_relative_to(out) for out in stage.outs):
                return stage
        return None

    def hash_of(self, path: str) -> str | None:
        """DVC's hash of a file or folder that some stage reads or writes, or a .dvc file tracks."""
        hashes = {source.path: source.md5 for source in self.sources}
        for stage in self.stages:
            hashes |= {**stage.deps, **stage.outs}
        return hashes.get(path)


def is_code(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in CODE


def named(params: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The parameters of all files by name: those of params.yaml by their key, others as DVC writes them, `file:key`."""
    return {
        key if file == DEFAULT_PARAMS_FILE else f"{file}:{key}": value
        for file, values in params.items()
        for key, value in values.items()
    }


def digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
