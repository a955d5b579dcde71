"""Sweeps: named grids of settings with the question that they answer, each a file pipeline/sweeps/<name>.yaml."""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from dvc.utils.hydra import get_hydra_sweeps
from hydra.errors import HydraException
from pydantic import Field

from pipeline.core import profiles
from pipeline.core.config import PARAMS_FILE, Section, shown
from pipeline.core.errors import ParamsError
from pipeline.experiments import declarations

FOLDER: Final = Path("pipeline/sweeps")
SEED: Final = "train.seed"
VARIANT: Final = "variant"
MAX_EXPERIMENTS: Final = 1000
DATASETS: Final = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "digits": "digits"}  # in tables and figures


class Declaration(Section):
    """A file of a sweep."""

    question: str
    profile: str = profiles.DEFAULT
    """From pipeline/profiles/, on top of params.yaml."""
    variants: dict[str, list[str]] = Field(default_factory=dict)
    """Overrides that change together, by a name for them."""
    overrides: list[str]
    """As for `dvc exp run --set-param`; of one with several values (`key=1,2`) each is combined with all others."""
    seeds: Annotated[int, Field(ge=1, le=100)]
    """Each configuration is trained with the seeds 1, 2, …"""


@dataclass(frozen=True)
class Experiment:
    """A configuration of the sweep with one seed. `varied` are its values of what differs between configurations."""

    name: str
    settings: tuple[str, ...]
    varied: Mapping[str, str]
    seed: int

    @property
    def configuration(self) -> str:
        return ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in self.varied.items()) or "as declared"


@dataclass(frozen=True)
class Sweep:
    name: str
    question: str
    experiments: tuple[Experiment, ...]


def names() -> list[str]:
    return declarations.names(FOLDER)


def load(name: str) -> Sweep:
    """The sweep of this name. Raises ParamsError, naming its file, if it is missing or declares no valid grid.

    That a stage would reject a value is not checked here.
    """
    path, declared = FOLDER / f"{name}.yaml", declarations.load(FOLDER, name, Declaration)
    experiments = tuple(_expand(name, declared, path))
    if len(experiments) > MAX_EXPERIMENTS:
        raise ParamsError(f"{path}: got {len(experiments)} experiments, expected at most {MAX_EXPERIMENTS}")
    repeated = [each.name for each in experiments if sum(each.name == other.name for other in experiments) > 1]
    if repeated:
        raise ParamsError(f"{path}: got two configurations called {repeated[0]!r}, expected values that differ")
    return Sweep(name, declared.question, experiments)


def _expand(name: str, declared: Declaration, path: Path) -> Iterator[Experiment]:
    """Each variant with each point of the grid and each seed, those of one seed together: with few seeds done, all
    configurations can be compared."""
    base = dict(setting.split("=", 1) for setting in profiles.as_set_param(profiles.load(declared.profile)))
    variants: dict[str, list[str]] = declared.variants or {"": []}
    points = _grid(declared.overrides, path)
    varied_keys = [key for key in points[0] if len({point[key] for point in points}) > 1]
    configurations = list(itertools.product(variants, points))
    for seed, (variant, point) in itertools.product(range(1, declared.seeds + 1), configurations):
        together = _grid(variants[variant], path)
        if len(together) > 1:
            raise ParamsError(f"{path}: variants.{variant}: got several values of a setting, expected one of each")
        values = {**point, **together[0]}
        if SEED in values:
            raise ParamsError(f"{path}: got {SEED} among the overrides, expected it in `seeds` only")
        varied = {**({VARIANT: variant} if variant else {}), **{key: point[key] for key in varied_keys}}
        parts = [name, *(_slug(value) for value in varied.values()), str(seed)]
        settings = tuple(f"{key}={value}" for key, value in {**base, **values, SEED: str(seed)}.items())
        yield Experiment("-".join(parts), settings, varied, seed)


def _grid(overrides: list[str], path: Path) -> list[dict[str, str]]:
    """All combinations of the overrides' values, as DVC's queue makes them: value by key."""
    if not overrides:
        return [{}]
    try:
        found: list[dict[str, list[str]]] = get_hydra_sweeps({str(PARAMS_FILE): overrides})
    except HydraException as error:
        first = str(error).splitlines()[0]
        raise ParamsError(f"{path}: got {shown(overrides)}, expected section.key=value,… each: {first}") from error
    return [dict(setting.split("=", 1) for setting in point[str(PARAMS_FILE)]) for point in found]


def _slug(value: str) -> str:
    """The value as a part of a name in git and in MLflow: letters, digits and _."""
    return re.sub(r"\W+", "_", value).strip("_") or "none"
