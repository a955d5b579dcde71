"""What tests share: small synthetic digits, drawn in process."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.architecture import CnnParams, cnn
from pipeline.classifier import Classifier
from pipeline.dataset import DIGITS, Split
from pipeline.device import set_threads
from pipeline.export import golden, onnx_bytes, traced
from serving.model import Model
from tests.pen import synthetic_images


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """What a test computes in process is computed as the stages do it, by one thread."""
    set_threads()


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
    metadata = {"classes": json.dumps(DIGITS), "dataset": "mnist"} | golden(network, digits.images[0])
    path: Path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(onnx_bytes(traced(network), 20, metadata))
    return Model(path, "mnist:v1-0123abcd")
