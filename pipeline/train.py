"""Stage `train`: the network named in params.yaml, trained on the device at hand.

Reads    artifacts/download/dataset.json (how many classes), artifacts/normalise/: both splits and the scaling.
Writes   artifacts/train/: model/ (architecture.json, weights.safetensors), history.csv (epochs), steps.csv (thinned),
         summary.json.
Decides  which epoch's weights are kept: the one with the lowest validation loss. The same seed on the same kind of
         machine gives the same bytes.
Not here: the test set, which this stage does not even read.
"""

import os
from pathlib import Path
from typing import Annotated, Final, Literal

import torch
from pydantic import Field

from pipeline import classifier, errors, params, progress, stages
from pipeline.architecture import CnnParams, MlpParams
from pipeline.augmentation import AugmentationParams
from pipeline.classifier import Architecture
from pipeline.dataset import load_description, load_split
from pipeline.device import DeviceName, Precision, choose, describe, make_deterministic
from pipeline.files import read_json, write_csv, write_json
from pipeline.optimisation import OptimiserParams, ScheduleParams
from pipeline.training import EpochRow, Recipe, StepRow, Training, train

RAW: Final = Path("artifacts/download")
NORMALISED: Final = Path("artifacts/normalise")
OUT: Final = Path("artifacts/train")


class Params(params.Section):
    model: Literal["mlp", "cnn"]
    mlp: MlpParams
    cnn: CnnParams
    optimiser: OptimiserParams
    schedule: ScheduleParams
    augmentation: AugmentationParams
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    """Share of each label's probability that is spread over all classes."""
    epochs: Annotated[int, Field(ge=1, le=1000)]
    batch: Annotated[int, Field(ge=2)]
    """Images a step."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: DeviceName
    precision: Precision


def architecture(settings: Params, classes: int, statistics: dict[str, float]) -> Architecture:
    return Architecture(
        model=settings.model,
        mlp=settings.mlp,
        cnn=settings.cnn,
        classes=classes,
        subtract=statistics["subtract"],
        divide_by=statistics["divide_by"],
    )


def recipe(settings: Params) -> Recipe:
    return Recipe(
        settings.optimiser,
        settings.schedule,
        settings.augmentation,
        settings.label_smoothing,
        settings.epochs,
        settings.batch,
        settings.seed,
        settings.precision,
    )


def tell(row: StepRow | EpochRow, follower: progress.Progress) -> None:
    """Pass a row of the history on to whoever follows, and each epoch to the terminal."""
    values = row._asdict()
    follower.metrics(values.pop("step" if isinstance(row, StepRow) else "epoch"), values)
    if isinstance(row, EpochRow):
        print(
            f"epoch {row.epoch}: loss {row.train_loss:.4f}, accuracy {row.train_accuracy:.2%}; "
            f"validation loss {row.validation_loss:.4f}, accuracy {row.validation_accuracy:.2%}",
            flush=True,
        )


def save(training: Training, built: Architecture, parameters: int) -> None:
    classifier.save(OUT / "model", built, training.weights)
    write_csv(OUT / "history.csv", EpochRow._fields, training.epochs)
    write_csv(OUT / "steps.csv", StepRow._fields, training.steps)
    write_json(
        OUT / "summary.json",
        {
            "best_epoch": training.best.epoch,
            "parameters": parameters,
            "best_validation_accuracy": training.best.validation_accuracy,
            "best_validation_loss": training.best.validation_loss,
        },
    )


def main() -> None:
    settings = params.load("train", Params)
    device = choose(settings.device)
    make_deterministic()
    torch.manual_seed(settings.seed)  # initial weights and dropout draw from torch's own generator
    built = architecture(
        settings, len(load_description(RAW / "dataset.json").classes), read_json(NORMALISED / "statistics.json")
    )
    network = built.build()
    parameters = sum(weight.numel() for weight in network.parameters())
    splits = load_split(NORMALISED, "train"), load_split(NORMALISED, "validation")
    print(f"training {settings.model} with {parameters:,} parameters on {describe(device)}", flush=True)
    with progress.start(stages.about_to_run("train"), Path(os.environ.get("DVC_ROOT", "."))) as follower:
        training = train(network, *splits, recipe(settings), device, lambda row: tell(row, follower))
    save(training, built, parameters)
    print(f"kept epoch {training.best.epoch}; the training loop took {training.seconds:.1f} s")


if __name__ == "__main__":
    errors.run(main)
