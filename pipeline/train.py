"""Stage `train`: the network named in params.yaml, trained on a GPU if there is one.

Reads    artifacts/download/dataset.json (number of classes), artifacts/normalise/: both splits, from which the network
         takes its number of channels, and the scaling.
Writes   artifacts/train/: model/ (architecture.json, weights.safetensors, manifest.json: their SHA-256), history.csv
         (one row per epoch, written after each), steps.csv (at most 400 rows), summary.json.
Decides  which epoch's weights are kept: the one with the lowest validation loss. The same seed on the same kind of
         machine gives the same bytes.
The test set is not read.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from pipeline.core import config, execution
from pipeline.core.errors import DataError
from pipeline.core.files import read_json, write_csv, write_json
from pipeline.core.stage_inputs import read_stage
from pipeline.data.dataset import load_description, load_split
from pipeline.model import classifier
from pipeline.model.networks import Architecture
from pipeline.tracking import live_writer
from pipeline.training import checkpoint
from pipeline.training.calibration import calibrate_best
from pipeline.training.config import TrainParams
from pipeline.training.device import describe, details, make_deterministic, select_device, set_threads
from pipeline.training.distributed import ProcessGroup, process_group
from pipeline.training.state import EpochRow, Row, StepRow, TrainState
from pipeline.training.trainer import Trainer, build_trainer, to_device

RAW: Final = Path("artifacts/download")
NORMALISED: Final = Path("artifacts/normalise")
STATISTICS: Final = NORMALISED / "statistics.json"
OUT: Final = Path("artifacts/train")

Params = TrainParams


def build_architecture(params: Params, classes: int, channels: int, statistics: Mapping[str, float]) -> Architecture:
    """Raises DataError if the statistics are not numbers to scale pixels with."""
    scaling = {name: statistics[name] for name in ("subtract", "divide_by")}
    try:
        return params.architecture(classes, channels, **scaling)
    except ValidationError as error:
        raise DataError(f"{STATISTICS}: expected numbers to scale pixels with, got {scaling}") from error


def announce(params: Params, trainer: Trainer, group: ProcessGroup) -> None:
    """Print what is trained on which device, and log it to the execution."""
    execution.log_details(**details(trainer.device, params.precision), processes=group.world_size)
    parameters = sum(weight.numel() for weight in trainer.classifier.parameters())
    processes = f", {group.world_size} processes" if group.world_size > 1 else ""
    print(
        f"training {params.model} with {parameters:,} parameters on {describe(trainer.device)}{processes}", flush=True
    )


def report(row: Row, epochs: list[EpochRow], live: live_writer.LiveWriter) -> None:
    """Log a row of the history to the live metrics; print each epoch, and write it to history.csv after `epochs`, those
    before it: `dvc plots` and `dvc exp show` then move during the training."""
    values = row._asdict()
    live.log_metrics(values.pop("step" if isinstance(row, StepRow) else "epoch"), values)
    if isinstance(row, EpochRow):
        epochs.append(row)
        write_csv(OUT / "history.csv", EpochRow._fields, epochs)
        print(
            f"epoch {row.epoch}: loss {row.train_loss:.4f}, accuracy {row.train_accuracy:.2%}; "
            f"validation loss {row.validation_loss:.4f}, accuracy {row.validation_accuracy:.2%}",
            flush=True,
        )


def save(state: TrainState, trainer: Trainer, architecture: Architecture) -> EpochRow:
    """Calibrate the weights that were kept, write the outputs, and return the row of their epoch."""
    best, trained = state.best, trainer.classifier
    assert best is not None  # TrainConfig.epochs is at least 1
    temperature, threshold = calibrate_best(trainer)
    weights = {name: tensor.cpu().contiguous() for name, tensor in trained.state_dict().items()}
    classifier.save(OUT / "model", architecture, weights)
    write_csv(OUT / "steps.csv", StepRow._fields, state.steps)
    write_json(
        OUT / "summary.json",
        {
            "best_epoch": best.epoch,
            "parameters": sum(weight.numel() for weight in trained.parameters()),
            "temperature": temperature,
            "threshold": threshold,
            "best_validation_accuracy": best.validation_accuracy,
            "best_validation_loss": best.validation_loss,
        },
    )
    return best


def main() -> None:
    params, root = config.load("train", Params), Path(os.environ.get("DVC_ROOT", "."))
    description = load_description(RAW / "dataset.json")
    splits = [load_split(NORMALISED, name, len(description.classes)) for name in ("train", "validation")]
    statistics = read_json(STATISTICS, "subtract", "divide_by")
    architecture = build_architecture(params, len(description.classes), splits[0].channels, statistics)
    device = select_device(params.device)
    set_threads(params.threads)
    make_deterministic()
    with process_group(device) as group:
        train, validation = (to_device(split, device) for split in splits)
        trainer = build_trainer(
            params, architecture, train, validation, group, description.is_digits and description.is_ink
        )
        stage = read_stage("train")
        path = root / ".cache" / "checkpoints" / f"train-{stage.inputs_key[:16]}-{group.world_size}.safetensors"
        if group.rank:
            checkpoint.resume(trainer, path, lambda row: None)
            return
        announce(params, trainer, group)
        with live_writer.start(stage, root) as live:
            epochs: list[EpochRow] = []
            state = checkpoint.resume(trainer, path, lambda row: report(row, epochs, live))
    best = save(state, trainer, architecture)
    for file in path.parent.glob(f"*{path.name}*"):  # and the temporary files of a killed process
        file.unlink()
    print(f"kept epoch {best.epoch}; the training loop took {state.seconds:.1f} s")


if __name__ == "__main__":
    execution.run_stage("train", main)
