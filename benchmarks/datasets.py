"""What the trainings are given: a profile's data set, and what it is judged by."""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pipeline import download, normalise
from pipeline.data import handwriting
from pipeline.data.dataset import DIGITS, Split
from pipeline.data.image import preprocess
from pipeline.model.classifier import Classifier, predict
from pipeline.train import Params, architecture
from pipeline.training.device import choose, make_deterministic, set_threads
from pipeline.training.trainer import OnDevice, Trainer, to_device
from tests.support import synthetic_digits


class Data(NamedTuple):
    """What is trained on, and what is judged by; `drawn` are pictures that are neither in `data/` nor seen before."""

    train: OnDevice
    validation: OnDevice
    statistics: dict[str, float]
    test: Split
    own: Split
    drawn: Split


def data(tree: Mapping[str, Any]) -> Data:
    """The data set that these parameters name, divided as they say, on the device at hand."""
    return _data(tree["download"]["dataset"], normalise.Params.model_validate(tree["normalise"]))


@cache
def _data(dataset: str, settings: normalise.Params) -> Data:
    archives, mirror = Path(".cache/archives"), os.environ.get("DATASET_MIRROR")
    description, raw, test = download.load(dataset, archives, mirror)
    validates = normalise.split(raw.labels, settings.validation_share, settings.seed)
    train, validation = raw.take(np.flatnonzero(~validates)), raw.take(np.flatnonzero(validates))
    mean, deviation = normalise.statistics(train.images) if settings.method == "standardise" else (0.0, 1.0)
    own, drawn = handwriting.EMPTY.split, handwriting.EMPTY.split
    if description.classes == DIGITS:
        own, drawn = handwriting.read(Path("data")).split, drawings()
    device = choose("auto")
    test = Split(test.images.copy(), test.labels.copy())  # torch warns of arrays that cannot be written to
    scaling = {"subtract": mean, "divide_by": deviation}
    return Data(to_device(train, device), to_device(validation, device), scaling, test, own, drawn)


def drawings() -> Split:
    """1,200 digits drawn as those in `data/` are, by other seeds, each preprocessed like any picture."""
    files = [(path, file) for seed in range(101, 111) for path, file in synthetic_digits.pictures(seed).items()]
    images = np.stack([preprocess(file) for _, file in files])
    return Split(images, np.array([int(path[0]) for path, _ in files], np.uint8))


def accuracy(classifier: Classifier, split: Split) -> float:
    """0 to 1; NaN of nothing."""
    if not len(split):
        return float("nan")
    found = predict(classifier, torch.from_numpy(split.images)).argmax(dim=1).numpy()
    return float((found == split.labels).mean())


def trainer(settings: Params, given: Data) -> Trainer:
    """A training as stage `train` begins it."""
    set_threads(settings.threads)
    make_deterministic()
    torch.manual_seed(settings.seed)
    built = architecture(settings, 10, given.statistics).build()
    return Trainer(built, given.train, given.validation, settings)
