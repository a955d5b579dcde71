"""The data that the benchmarks train and evaluate on."""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pipeline import download, normalise
from pipeline.core import profiles
from pipeline.core.errors import ParamsError
from pipeline.data import handwriting
from pipeline.data.dataset import DIGITS, Split
from pipeline.data.image import preprocess
from pipeline.data.normalisation import split_validation, statistics
from pipeline.experiments import preflight
from pipeline.model.classifier import Classifier, predict
from pipeline.train import Params, build_architecture
from pipeline.training import trainer
from pipeline.training.device import make_deterministic, select_device, set_threads
from pipeline.training.trainer import TensorSplit, Trainer, to_device
from tests.support import synthetic_digits


class Data(NamedTuple):
    """The splits and pixel statistics; `own` are the pictures in `data/`, `drawn` others with other seeds."""

    train: TensorSplit
    validation: TensorSplit
    statistics: dict[str, float]
    test: Split
    own: Split
    drawn: Split


def load_params(profile: str, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """params.yaml with the profile and then the changes, validated. Raises ParamsError."""
    params = profiles.apply(profile, changes)
    preflight.check(params, profiles.path_of(profile))
    return params


def load_data(params: Mapping[str, Any]) -> Data:
    """The data set that the parameters name, split by section `normalise`, on a GPU if there is one.

    Raises ParamsError for own data.
    """
    if params["download"]["dataset"] == "own":
        raise ParamsError("download.dataset: got 'own', expected a published data set: benchmarks read no other")
    return _load_data(params["download"]["dataset"], normalise.Params.model_validate(params["normalise"]))


@cache
def _load_data(dataset: str, params: normalise.Params) -> Data:
    archives, mirror = Path(".cache/archives"), os.environ.get("DATASET_MIRROR")
    description, raw, test = download.load(dataset, archives, mirror)
    train, validation = split_validation(raw, params)
    own, drawn = handwriting.EMPTY.split, handwriting.EMPTY.split
    if description.classes == DIGITS:
        own, drawn = handwriting.read(Path("data")).split, draw_digits()
    device = select_device("auto")
    test = Split(test.images.copy(), test.labels.copy())  # torch warns about read-only arrays
    scaling = statistics(train.images, params)._asdict()
    return Data(to_device(train, device), to_device(validation, device), scaling, test, own, drawn)


def draw_digits() -> Split:
    """1,200 digits drawn like those in `data/`, with other seeds, preprocessed like any picture."""
    files = [(path, file) for seed in range(101, 111) for path, file in synthetic_digits.pictures(seed).items()]
    images = np.stack([preprocess(file).image for _, file in files])
    return Split(images, np.array([int(path[0]) for path, _ in files], np.uint8))


def accuracy(classifier: Classifier, split: Split) -> float:
    """0 to 1; NaN for an empty split."""
    if not len(split):
        return float("nan")
    digits = predict(classifier, torch.from_numpy(split.images))[0].argmax(dim=1).numpy()
    return float((digits == split.labels).mean())


def build_trainer(params: Params, data: Data) -> Trainer:
    """A trainer like that of stage `train`."""
    set_threads(params.threads)
    make_deterministic()
    architecture = build_architecture(params, 10, 1, data.statistics)
    return trainer.build_trainer(params, architecture, data.train, data.validation, is_digits=True)
