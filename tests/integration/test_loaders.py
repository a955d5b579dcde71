"""The registered model in the loaders of MLflow and BentoML: the same answers as the exported file."""

import json
import socket
import subprocess
import sys
import urllib.request
from collections import OrderedDict
from pathlib import Path

import mlflow
import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from mlflow.tracking._tracking_service import utils

from tests.support.project_clone import Clone
from tests.support.waiting import wait_until

VERSION = "models:/mnist/1"


@pytest.fixture
def images(computed: Clone) -> npt.NDArray[np.uint8]:
    found = np.load(computed.folder / "artifacts/download/test_images.npy")[:8]
    return np.ascontiguousarray(found, np.uint8)


@pytest.fixture
def expected(computed: Clone, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    session = onnxruntime.InferenceSession(computed.folder / "artifacts/export/model.onnx")
    return np.asarray(session.run(["probabilities"], {"images": images})[0])


@pytest.fixture(autouse=True)
def store(computed: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", computed.client().tracking_uri)
    monkeypatch.setattr(utils, "_tracking_uri", None)  # what another test has set takes precedence
    monkeypatch.setattr(utils, "_artifact_repos_cache", OrderedDict())


def test_mlflow_loads_it_as_onnx(images: npt.NDArray[np.uint8], expected: npt.NDArray[np.float32]) -> None:
    model = mlflow.onnx.load_model(VERSION)

    session = onnxruntime.InferenceSession(model.SerializeToString())
    np.testing.assert_array_equal(session.run(["probabilities"], {"images": images})[0], expected)


def test_mlflow_loads_it_as_a_function(images: npt.NDArray[np.uint8], expected: npt.NDArray[np.float32]) -> None:
    model = mlflow.pyfunc.load_model(VERSION)

    np.testing.assert_allclose(model.predict({"images": images})["probabilities"], expected, atol=1e-6)


def test_mlflow_serves_it(images: npt.NDArray[np.uint8], expected: npt.NDArray[np.float32], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ["mlflow", "models", "serve", "--model-uri", VERSION, "--env-manager", "local", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", *command], stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(port), server, tmp_path / "log")
        body = json.dumps({"inputs": {"images": images.tolist()}}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as response:
            answer = json.load(response)
    finally:
        server.terminate()
        server.wait()

    np.testing.assert_allclose(answer["predictions"]["probabilities"], expected, atol=1e-6)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def test_bentoml_imports_it(
    computed: Clone, images: npt.NDArray[np.uint8], expected: npt.NDArray[np.float32], tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", images)
    script = f"""
import bentoml, numpy
model = bentoml.mlflow.load_model(bentoml.mlflow.import_model("digits", "{VERSION}"))
answer = model.predict({{"images": numpy.load("{tmp_path}/images.npy")}})
numpy.save("{tmp_path}/answer.npy", answer["probabilities"])
"""
    environment = {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(), "BENTOML_HOME": str(tmp_path / "bentoml")}
    computed.check_output("python", "-c", script, **environment)

    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), expected, atol=1e-6)


def test_the_requirements_are_pinned(computed: Clone) -> None:
    requirements = mlflow.pyfunc.get_model_dependencies(VERSION)

    lines = Path(requirements).read_text().split()
    assert {line.partition("==")[0] for line in lines} == {"mlflow", "numpy", "onnx", "onnxruntime"}
    assert all("==" in line for line in lines)


def test_the_logged_model_has_its_metrics_with_the_data_on_which_they_were_computed(computed: Clone) -> None:
    client = computed.client()
    version = client.get_model_version("mnist", "1")
    model = client.get_logged_model(str(version.source).removeprefix("models:/"))
    (parent,) = computed.parents()

    assert model.metrics
    assert parent.outputs
    assert parent.inputs
    data = {metric.key: metric.dataset_name for metric in model.metrics}
    assert data["test_accuracy"] == "artifacts/download/test_images.npy"
    assert data["handwriting_accuracy"] == "data"
    assert model.params["train.optimizer.name"] == "sgd"
    assert [output.model_id for output in parent.outputs.model_outputs] == [model.model_id]
    assert str(version.description).startswith("# Model card")
    assert client.get_registered_model("mnist").description.startswith("Reads handwritten digits")
    (source,) = [each for each in parent.inputs.dataset_inputs if each.dataset.name == "data"]
    assert Path(mlflow.data.get_source(source).load()) == computed.folder / "data"
