"""`fit`: what the stages `normalise` and `train` do, in one call, for images in memory.

from pipeline.training import fit

model = fit(images, labels, epochs=3)
model.history.plot()
model.predict(other_images)
"""

import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from pipeline.core import config, profiles
from pipeline.core.errors import DataError, DeviceError, ParamsError, TrainingError
from pipeline.data.arrays import as_split
from pipeline.data.dataset import DIGITS, Split
from pipeline.data.normalisation import NormaliseParams, split_validation, statistics
from pipeline.training.calibration import calibrate_best
from pipeline.training.config import TrainParams
from pipeline.training.device import make_deterministic, select_device, set_threads
from pipeline.training.fitted import FittedModel
from pipeline.training.history import History
from pipeline.training.state import EpochRow, Row
from pipeline.training.trainer import Trainer, build_trainer, to_device

DEFAULTS: Final = Path(__file__).parents[2] / config.PARAMS_FILE  # not of the working directory: a notebook is anywhere
SOURCE: Final = Path("fit")  # the name of the caller's settings in messages
MAX_CLASSES: Final = 255

Labelled = tuple[npt.NDArray[np.uint8], npt.ArrayLike]


def fit(
    images: npt.NDArray[np.uint8],
    labels: npt.ArrayLike,
    validation: Labelled | None = None,
    *,
    classes: Sequence[str] = DIGITS,
    show_progress: bool = True,
    **settings: Any,
) -> FittedModel:
    """Train a classifier on images `(N, 28, 28) uint8, 0 = paper, 255 = ink`, or in colour `(N, 28, 28, 3)`, and labels
    `(N,)`, whole numbers from 0.

    `validation`: images and labels that choose the epoch and calibrate the confidences; without them, the share of the
    images that params.yaml names. `classes`: their names, by label; drawn digits join the batches only if these are the
    digits, and not in colour. `settings`: those of section `train` of params.yaml, as in `epochs=3`,
    `optimizer={"learning_rate": 0.05}`; params.yaml has the others; its batch is reduced to the number of training
    images. A terminal or notebook shows a bar, unless `show_progress` is false. The same images, settings and seed give
    the weights of stage `train`.

    Raises DataError for other images or labels, ParamsError for settings, DeviceError, TrainingError if the loss
    diverges.
    """
    names = tuple(classes)
    if not 2 <= len(names) <= MAX_CLASSES:
        raise DataError(f"classes: got {len(names)} names, expected 2 to {MAX_CLASSES}")
    scaling = config.load("normalise", NormaliseParams, DEFAULTS)
    train = as_split(images, labels, len(names))
    if validation is None:
        train, held_out = hold_out(train, scaling)
    else:
        held_out = as_split(*validation, len(names), "validation ")
    pixels = statistics(train.images, scaling)
    if not pixels.divide_by:
        raise DataError(f"images: got only pixels of {train.images.flat[0]}, expected images that differ")
    with settings_in_messages(), reproducible():
        params = load_params(settings, len(train))
        architecture = params.architecture(len(names), train.channels, pixels.subtract, pixels.divide_by)
        device = select_device(params.device)
        set_threads(params.threads)
        splits = to_device(train, device), to_device(held_out, device)
        trainer = build_trainer(params, architecture, *splits, is_digits=names == DIGITS and train.channels == 1)
        run(trainer, show_progress)
        calibrate_best(trainer)
    state = trainer.state
    return FittedModel(trainer.classifier.cpu(), architecture, names, History(state.epochs), state.seconds)


def hold_out(split: Split, params: NormaliseParams) -> tuple[Split, Split]:
    """Training and validation images. Raises DataError if a class has too few for both."""
    counts = np.bincount(split.labels)
    if (counts == 1).any():
        raise DataError(
            f"labels: got one image of class {counts.tolist().index(1)}, expected at least two, one of them for "
            "validation, or the argument `validation`"
        )
    return split_validation(split, params)


def load_params(settings: dict[str, Any], images: int) -> TrainParams:
    """The section `train` of params.yaml with `settings` in it, for that many training images. Raises ParamsError."""
    defaults = config.read(DEFAULTS)
    merged = profiles.merge(defaults, {"train": settings}, SOURCE)
    if "batch" not in settings:
        merged["train"]["batch"] = min(merged["train"]["batch"], images)
    return config.validate("train", TrainParams, merged, SOURCE)


@contextlib.contextmanager
def settings_in_messages() -> Iterator[None]:
    """In the messages of errors, settings have the names that they have in the call."""
    try:
        yield
    except (ParamsError, DeviceError, TrainingError) as error:
        message = str(error).replace(f"{config.PARAMS_FILE}: ", f"{SOURCE}: ", 1)
        raise type(error)(re.sub(r"\btrain\.", "", message)) from error


@contextlib.contextmanager
def reproducible() -> Iterator[None]:
    """In it, the same seed gives the same bytes; afterwards torch's global settings are those of before."""
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            make_deterministic()
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(mode)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


def run(trainer: Trainer, show_progress: bool) -> None:
    """Train to the end, with a bar over all epochs."""
    steps = trainer.config.epochs * trainer.steps_per_epoch
    is_notebook = "ipykernel" in sys.modules  # whose output is no terminal; what it gets on stderr it shows as an error
    shown = show_progress and (is_notebook or sys.stderr.isatty())
    with tqdm(total=steps, unit="step", file=sys.stdout if is_notebook else None, disable=not shown) as bar:

        def report(row: Row) -> None:
            if isinstance(row, EpochRow):
                bar.set_description(f"epoch {row.epoch}/{trainer.config.epochs}", refresh=False)
                bar.set_postfix_str(f"validation accuracy {row.validation_accuracy:.2%}")
            else:
                bar.update(row.step - bar.n)

        trainer.run(report, lambda: None, show_bar=False)
        bar.update(steps - bar.n)
