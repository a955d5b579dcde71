"""Stage `train`: the network named in config.yaml, trained on the device at hand.

Reads    artifacts/download/dataset.json (how many classes), artifacts/normalise/: both splits and the scaling.
Writes   artifacts/train/: model/ (architecture.json, weights.safetensors), history.csv (epochs), steps.csv (thinned),
         summary.json.
Decides  which epoch's weights are kept: the one with the lowest validation loss. The same seed on the same kind of
         machine gives the same bytes.
Not here: the test set, which this stage does not even read.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import torch
from pydantic import ValidationError

from pipeline.core import config, entrypoint
from pipeline.core.errors import DataError
from pipeline.core.files import read_json, write_csv, write_json
from pipeline.data.dataset import load_description, load_split
from pipeline.model import classifier
from pipeline.model.classifier import Architecture
from pipeline.model.networks import CnnParams, MlpParams
from pipeline.tracking import dvc_lock, live_writer
from pipeline.training.checkpoint import restore, write
from pipeline.training.device import DeviceName, Threads, choose, describe, make_deterministic, set_threads
from pipeline.training.distributed import Ranks, joined
from pipeline.training.trainer import EpochRow, Recipe, Row, StepRow, Trainer, Training, to_device

RAW: Final = Path("artifacts/download")
NORMALISED: Final = Path("artifacts/normalise")
STATISTICS: Final = NORMALISED / "statistics.json"
OUT: Final = Path("artifacts/train")


class Params(Recipe):
    model: Literal["mlp", "cnn"]
    mlp: MlpParams
    cnn: CnnParams
    device: DeviceName
    threads: Threads
    """On a CPU."""


def architecture(settings: Params, classes: int, statistics: dict[str, float]) -> Architecture:
    scaling = {name: statistics[name] for name in ("subtract", "divide_by")}
    try:
        return Architecture(model=settings.model, mlp=settings.mlp, cnn=settings.cnn, classes=classes, **scaling)
    except ValidationError as error:
        raise DataError(f"{STATISTICS}: expected numbers to scale pixels by, got {scaling}") from error


def tell(row: Row, follower: live_writer.LiveWriter) -> None:
    """Pass a row of the history on to whoever follows, and each epoch to the terminal."""
    values = row._asdict()
    follower.log_metrics(values.pop("step" if isinstance(row, StepRow) else "epoch"), values)
    if isinstance(row, EpochRow):
        print(
            f"epoch {row.epoch}: loss {row.train_loss:.4f}, accuracy {row.train_accuracy:.2%}; "
            f"validation loss {row.validation_loss:.4f}, accuracy {row.validation_accuracy:.2%}",
            flush=True,
        )


def go_on(trainer: Trainer, path: Path, follow: Callable[[Row], None]) -> Training:
    """Train to the end, from the checkpoint at `path` where there is one. Rank 0 alone writes, and calls `follow`."""
    content = trainer.ranks.agree(path.read_bytes() if path.is_file() else b"", trainer.device)
    if content:
        restore(content, path, trainer)
    if trainer.ranks.rank:
        return trainer.run(lambda row: None, lambda: None)
    if content:
        print(f"going on after step {trainer.step}, from {path}", flush=True)
    known: list[Row] = [*trainer.training.steps, *trainer.training.epochs]
    for row in known:
        follow(row)
    return trainer.run(follow, lambda: write(path, trainer))


def save(training: Training, built: Architecture, parameters: int) -> EpochRow:
    """Write what came of it; the row of the epoch whose weights were kept."""
    best = training.best
    assert best is not None  # Recipe.epochs is at least 1
    classifier.save(OUT / "model", built, training.weights)
    write_csv(OUT / "history.csv", EpochRow._fields, training.epochs)
    write_csv(OUT / "steps.csv", StepRow._fields, training.steps)
    write_json(
        OUT / "summary.json",
        {
            "best_epoch": best.epoch,
            "parameters": parameters,
            "best_validation_accuracy": best.validation_accuracy,
            "best_validation_loss": best.validation_loss,
        },
    )
    return best


def trainer_of(settings: Params, built: Architecture, device: torch.device, ranks: Ranks) -> Trainer:
    torch.manual_seed(settings.seed)  # initial weights draw from torch's own generator
    train, validation = (load_split(NORMALISED, part, built.classes) for part in ("train", "validation"))
    return Trainer(built.build(), to_device(train, device), to_device(validation, device), settings, ranks)


def main() -> None:
    settings, root = config.load("train", Params), Path(os.environ.get("DVC_ROOT", "."))
    classes = len(load_description(RAW / "dataset.json").classes)
    built = architecture(settings, classes, read_json(STATISTICS, "subtract", "divide_by"))
    device = choose(settings.device)
    set_threads(settings.threads)
    make_deterministic()
    with joined(device) as ranks:
        trainer = trainer_of(settings, built, device, ranks)
        parameters = sum(weight.numel() for weight in trainer.classifier.parameters())
        task = dvc_lock.read_stage("train")
        checkpoint = root / ".cache" / "checkpoints" / f"train-{task.inputs_key[:16]}-{ranks.size}.safetensors"
        if ranks.rank:
            go_on(trainer, checkpoint, lambda row: None)
            return
        print(f"training {settings.model} with {parameters:,} parameters on {describe(device)}{ranks}", flush=True)
        with live_writer.start(task, root) as follower:
            training = go_on(trainer, checkpoint, lambda row: tell(row, follower))
    best = save(training, built, parameters)
    for file in checkpoint.parent.glob(f"*{checkpoint.name}*"):  # itself, and what a kill has left half-written
        file.unlink()
    print(f"kept epoch {best.epoch}; the training loop took {training.seconds:.1f} s")


if __name__ == "__main__":
    entrypoint.run(main)
