"""Validates all of params.yaml before `make repro`: DVC deletes a stage's outputs before the stage reads its values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pipeline import download, eda, export, normalise, score, train
from pipeline.core import entrypoint
from pipeline.core.config import PARAMS_FILE, Section, read, validate
from pipeline.promotion import settings
from pipeline.training.device import select_device

STAGES: Final[dict[str, type[Section]]] = {
    "download": download.Params,
    "eda": eda.Params,
    "normalise": normalise.Params,
    "train": train.Params,
    "score": score.Params,
    "export": export.Params,
}
COMMANDS: Final[dict[str, type[Section]]] = {"promote": settings.Params}


def check(params: Mapping[str, Any], source: Path) -> None:
    """Raise ParamsError, naming `source`, or DeviceError if any stage or command would reject these parameters."""
    for section, model in (STAGES | COMMANDS).items():
        validate(section, model, params, source)
    select_device(validate("train", train.Params, params, source).device)


def check_params(path: Path = PARAMS_FILE) -> None:
    check(read(path), path)


if __name__ == "__main__":
    entrypoint.run(check_params)
