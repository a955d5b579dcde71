"""What a search tries: pipeline/searches/<name>.yaml, and how its values become settings of params.yaml."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from optuna.distributions import CategoricalChoiceType
from optuna.trial import BaseTrial
from pydantic import Field, model_validator

from pipeline.core import config, profiles
from pipeline.core.config import Section
from pipeline.core.errors import ParamsError
from pipeline.core.stage_inputs import content_md5
from pipeline.experiments import declarations
from pipeline.train import NORMALISED, RAW
from pipeline.training.config import TrainParams

FOLDER: Final = Path("pipeline/searches")
DIGITS: Final = 3  # significant ones of a number: a fourth makes no difference, and params.yaml is read by people

Number = int | float
Settings = dict[str, Any]  # by their dotted names, as in `train.epochs`


class Range(Section):
    """Whole numbers if both limits are; evenly by their logarithm if `log`."""

    low: Number
    high: Number
    log: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError(f"expected low < high{', and low > 0 for its logarithm' if self.log else ''}")
        return self

    def suggest(self, trial: BaseTrial, key: str) -> Any:
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(key, self.low, self.high, log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)

    def contains(self, value: Any) -> bool:
        return bool(self.low <= value <= self.high)

    def setting(self, value: Any) -> Any:
        """The setting that a value of Optuna stands for."""
        return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value

    def ends(self) -> list[Any]:
        return [self.low, self.high]


class Choices(Section):
    """Single values or lists."""

    choices: Annotated[list[Any], Field(min_length=2)]

    def suggest(self, trial: BaseTrial, key: str) -> Any:
        return trial.suggest_categorical(key, [encode(choice) for choice in self.choices])

    def contains(self, value: Any) -> bool:
        return value in self.choices

    def setting(self, value: Any) -> Any:
        return next(choice for choice in self.choices if encode(choice) == value)

    def ends(self) -> list[Any]:
        return self.choices


class Declaration(Section):
    objective: Literal["validation_loss", "validation_accuracy"]
    """Of the epoch that is kept."""
    trials: Annotated[int, Field(ge=1)]
    fixed: dict[str, Any]
    """Settings during the search only: fewer epochs, for example. The comparison afterwards is without them."""
    space: Annotated[dict[str, Range | Choices], Field(min_length=1)]

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        return "minimize" if self.objective == "validation_loss" else "maximize"


@dataclass(frozen=True)
class Search:
    """A declared search and the params.yaml from which its trials differ."""

    name: str
    declaration: Declaration
    params: Mapping[str, Any]

    @classmethod
    def load(cls, name: str) -> Self:
        """Raises ParamsError if there is no such search, or a stage would reject one of its values."""
        path, declaration = FOLDER / f"{name}.yaml", declarations.load(FOLDER, name, Declaration)
        search = cls(name, declaration, config.read())
        search.check(path)
        return search

    def check(self, path: Path) -> None:
        """Raise ParamsError, naming `path`, unless the stage `train` takes the ends of each range and each choice."""
        for key in (*self.declaration.fixed, *self.declaration.space):
            if not key.startswith("train."):
                raise ParamsError(f"{path}: got {key}, expected settings of the section train: the data stays the same")
        self.train_params(self.declaration.fixed, path)
        for key, values in self.declaration.space.items():
            for value in values.ends():
                self.train_params(self.declaration.fixed | {key: value}, path)

    def train_params(self, settings: Mapping[str, Any], source: Path | None = None) -> TrainParams:
        """The section `train` of params.yaml with these settings. Raises ParamsError."""
        source = source or FOLDER / f"{self.name}.yaml"
        return config.validate(
            "train", TrainParams, profiles.merge(self.params, profiles.nest(settings), source), source
        )

    def suggest(self, trial: BaseTrial) -> Settings:
        """The settings of a new trial."""
        return self.settings({key: values.suggest(trial, key) for key, values in self.declaration.space.items()})

    def settings(self, values: Mapping[str, Any]) -> Settings:
        """The settings that Optuna's values of a trial stand for."""
        return {key: self.declaration.space[key].setting(value) for key, value in values.items()}

    def default(self) -> dict[str, Any] | None:
        """Optuna's values for params.yaml; None if the space does not contain them."""
        flat = dict(profiles.flatten(self.params))
        if not all(values.contains(flat[key]) for key, values in self.declaration.space.items()):
            return None
        return {key: encode(flat[key]) for key in self.declaration.space}

    def study_name(self) -> str:
        """The name with a hash of what a trial's value depends on, except code: only like is compared with like."""
        declared = self.declaration.model_dump(exclude={"trials"})
        replaced = declared["space"] | declared["fixed"]
        others = [item for item in profiles.flatten({"train": self.params["train"]}) if item[0] not in replaced]
        data = [content_md5(RAW / "dataset.json"), content_md5(NORMALISED)]
        return f"{self.name}-{digest([declared, others, data])}"


def encode(choice: Any) -> CategoricalChoiceType:
    """What Optuna can store: single values, and lists as JSON."""
    return json.dumps(choice) if isinstance(choice, list) else choice


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
