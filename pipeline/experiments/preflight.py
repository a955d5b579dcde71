"""Before `make repro`: params.yaml as a whole. DVC deletes a stage's outputs before the stage reads its section."""

from pathlib import Path
from typing import Final

from pipeline import download, eda, export, normalise, score, train
from pipeline.core import entrypoint
from pipeline.core.config import PARAMS_FILE, Section, load
from pipeline.training.device import choose

STAGES: Final[dict[str, type[Section]]] = {
    "download": download.Params,
    "eda": eda.Params,
    "normalise": normalise.Params,
    "train": train.Params,
    "score": score.Params,
    "export": export.Params,
}


def check_params(path: Path = PARAMS_FILE) -> None:
    """Raise ParamsError or DeviceError where a stage would stop at the file's keys or values."""
    for section, model in STAGES.items():
        load(section, model, path)
    choose(load("train", train.Params, path).device)


if __name__ == "__main__":
    entrypoint.run(check_params)
