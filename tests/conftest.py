"""Fixtures of all tests: synthetic digits, a small model, and a clone in which the pipeline has run."""

import contextlib
import copy
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from pipeline.data.dataset import DIGITS, Split
from pipeline.export import golden_pictures, to_onnx, trace
from pipeline.model.classifier import Classifier
from pipeline.model.networks import CnnParams, cnn
from pipeline.monitoring.reference import Reference, describe
from pipeline.training.device import set_threads
from serving.http.limits import DEFAULT_LIMITS, Limits
from serving.http.uvicorn_protocol import Protocol
from serving.model import Model
from tests.support import project_clone
from tests.support.inprocess_service import service
from tests.support.live_service import Live, running
from tests.support.project_clone import Clone
from tests.support.synthetic_digits import synthetic_images

# The environment of a terminal that supports only ASCII, in the locale and in Python's own streams.
ASCII_ONLY = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}


def pytest_configure() -> None:
    """In the background of a shell SIGINT is ignored, and so it would be by the processes that tests start and stop."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tests compute in process with one thread, as the stages do."""
    set_threads()


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The temporary folder that all processes of this test run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which `dvc repro` has run once, with private file modes and on an ASCII-only terminal.

    All processes of the tests share it: a test that changes something, or runs DVC in it, takes a copy.
    """
    folder = shared_folder(tmp_path_factory) / "computed"
    with FileLock(folder.with_suffix(".lock")):
        log = folder / project_clone.LOG
        if log.is_file():
            return Clone(folder)
        shutil.rmtree(folder, ignore_errors=True)
        clone = project_clone.make(folder)
        log.write_text(clone.check_output("bash", "-c", "umask 077; dvc repro", **ASCII_ONLY))
    return clone


@pytest.fixture(scope="session")
def digits() -> Split:
    """200 images like MNIST's, twenty of each digit, in an order that mixes them."""
    labels = np.tile(np.arange(10, dtype=np.uint8), 20)
    return Split(synthetic_images(labels, np.random.default_rng(7)), labels)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, digits: Split) -> Model:
    """A small untrained network, exported once by the pipeline's code, in onnxruntime."""
    path = shared_folder(tmp_path_factory) / "model.onnx"
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            torch.manual_seed(3)
            network = Classifier(cnn(CnnParams(widths=[4, 8, 8], dropout=0.0), 11), 0.13, 0.31, classes=10)
            golden = golden_pictures(network.eval(), digits, 10, "ink")
            metadata = {"classes": json.dumps(DIGITS), "dataset": "mnist"} | golden
            path.write_bytes(to_onnx(trace(network), 20, metadata))
    return Model(path, "mnist:v1-0123abcd")


@pytest.fixture
def watched(model: Model, digits: Split) -> Model:
    """The model, with how it answers the synthetic digits as reference."""
    found = copy.copy(model)
    probabilities, scores = model.classify(digits.images)
    found.reference = Reference.of(describe(digits.images, probabilities, scores, scores < model.threshold), DIGITS)
    return found


@pytest.fixture(params=["asyncio", "uvloop"])
def start(model: Model, request: pytest.FixtureRequest) -> Iterator[Callable[..., Live]]:
    """Starts the service on either event loop, with limits of its own and attributes of the protocol."""
    with contextlib.ExitStack() as stack:

        def start(limits: Limits = DEFAULT_LIMITS, **attributes: float) -> Live:
            protocol = type("TestProtocol", (Protocol,), attributes)
            return stack.enter_context(running(service(model, limits), request.param, protocol))

        yield start
