"""What tests share: small synthetic digits, drawn in process."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from pipeline.data.dataset import DIGITS, Split
from pipeline.export import golden_example, to_onnx, trace
from pipeline.model.classifier import Classifier
from pipeline.model.networks import CnnParams, cnn
from pipeline.training.device import set_threads
from serving.model import Model
from tests.support import project_clone
from tests.support.project_clone import Clone
from tests.support.synthetic_digits import synthetic_images

# No terminal is worse: nothing but ASCII, in the locale and in Python's own streams.
ASCII_ONLY = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """What a test computes in process is computed as the stages do it, by one thread."""
    set_threads()


@pytest.fixture(scope="session")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which `dvc repro` was typed once, by a person whose files are nobody else's, on a terminal that knows
    ASCII only. All processes of the tests share it; a test that changes something, or runs DVC in it, takes a copy."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "computed"
    with FileLock(folder.with_suffix(".lock")):
        log = folder / project_clone.LOG
        if log.is_file():
            return Clone(folder)
        shutil.rmtree(folder, ignore_errors=True)
        made = project_clone.make(folder)
        printed = made.must("bash", "-c", "umask 077; dvc repro", **ASCII_ONLY)
        log.write_text(printed)
    return made


@pytest.fixture(scope="session")
def digits() -> Split:
    """200 images like MNIST's, twenty of each digit, in an order that mixes them."""
    labels = np.tile(np.arange(10, dtype=np.uint8), 20)
    return Split(synthetic_images(labels, np.random.default_rng(7)), labels)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, digits: Split) -> Model:
    """A small network that has learnt nothing, exported as the pipeline does it, under onnxruntime."""
    torch.manual_seed(3)
    network = Classifier(cnn(CnnParams(widths=[4, 8, 8], dropout=0.0), 10), subtract=0.13, divide_by=0.31).eval()
    metadata = {"classes": json.dumps(DIGITS), "dataset": "mnist"} | golden_example(network, digits.images[0])
    path: Path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(to_onnx(trace(network), 20, metadata))
    return Model(path, "mnist:v1-0123abcd")
