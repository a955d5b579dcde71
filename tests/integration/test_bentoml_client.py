"""BentoML's own client gets from the service what HTTP gets, and so does whoever calls its APIs in process.

Client and service run in processes of their own: importing BentoML's raises warnings, which are errors here.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import numpy as np
import pytest

from pipeline.data.dataset import Split
from serving.model import Model
from serving.smoke_test import free_port, running_command
from tests.support.bentoml_store import ARGUMENTS, serve_command, store
from tests.support.pictures import encoded
from tests.support.sample_requests import FIVE

BLANK = encoded(np.full((60, 60), 255, np.uint8))
PNG = {"content-type": "image/png"}
ASK = """
def answers(service, folder):
    picture, images = folder / "five.png", np.load(folder / "images.npy")
    return {
        "predict": service.predict(picture=picture),
        "seen": service.predict(picture=picture, seen=True),
        "blank": service.predict(picture=folder / "blank.png"),
        "read": service.read(picture=picture),
        "predict_batch": service.predict_batch(images=images),
    }
"""
CLIENT = (
    ASK
    + """
import json, sys
from pathlib import Path
import bentoml, numpy as np

url, folder = sys.argv[1], Path(sys.argv[2])
images = np.load(folder / "images.npy")
wrong = {
    "no batch": images[0], "tall": np.zeros((1, 56, 28), np.uint8), "grey": np.full((1, 28, 28), 0.7),
    "bright": np.full((1, 28, 28), 256),
}
with bentoml.SyncHTTPClient(url) as client:
    found = answers(client, folder)
    refused = {}
    calls = {name: lambda array=array: client.predict_batch(images=array) for name, array in wrong.items()}
    for name, call in (calls | {"text": lambda: client.predict(picture=folder / "text.png")}).items():
        try:
            call()
        except bentoml.exceptions.BentoMLException as error:
            refused[name] = [error.error_code, json.loads(str(error))["code"]]
print(json.dumps({"answers": found, "refused": refused}))
"""
)
IN_PROCESS = (
    ASK
    + """
import json, os, sys
from pathlib import Path
import numpy as np
from bentoml._internal.utils.args import set_arguments
from uvicorn.protocols.http import auto

folder = Path(sys.argv[2])
set_arguments(json.loads(Path(sys.argv[1]).read_text()))
os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.environ["BENTOML_CONTAINERIZED"] = str(folder)
before = os.environ | {"protocol": auto.AutoHTTPProtocol}
from serving.service import Digits
after = os.environ | {"protocol": auto.AutoHTTPProtocol}
del os.environ["PROMETHEUS_MULTIPROC_DIR"]
digits = Digits()
found = answers(digits, folder)
changed = [name for name in before if before[name] != after.get(name)]
print(json.dumps({"answers": found, "is_ready": digits.__is_ready__(), "changed by import": changed}))
"""
)


class Served(NamedTuple):
    url: str
    folder: Path  # of five.png, blank.png, text.png and images.npy, the last of which is blank
    environment: dict[str, str]

    def run(self, script: str, argument: str) -> Any:
        """What a script prints last, as JSON."""
        command = [sys.executable, "-c", script, argument, str(self.folder)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def served(model: Model, digits: Split, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The service of a small model from a BentoML store of its own."""
    folder = tmp_path_factory.mktemp("bentoml")
    (folder / "five.png").write_bytes(FIVE)
    (folder / "blank.png").write_bytes(BLANK)
    (folder / "text.png").write_text("hello")
    np.save(folder / "images.npy", np.append(digits.images[:7], np.zeros((1, 28, 28), np.uint8), axis=0))
    environment, port = store(model, folder), free_port()
    command = serve_command(folder, port, "--timeout-graceful-shutdown", "1")
    with running_command(command, port, folder / "log", environment) as url:
        yield Served(url, folder, environment)


@pytest.fixture(scope="module")
def http(served: Served) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=served.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def by_client(served: Served) -> Any:
    return served.run(CLIENT, served.url)


@pytest.fixture(scope="module")
def by_http(http: httpx2.Client, served: Served) -> dict[str, Any]:
    images = np.load(served.folder / "images.npy")
    return {
        "predict": http.post("/predict", content=FIVE, headers=PNG).json(),
        "seen": http.post("/predict?seen=true", content=FIVE, headers=PNG).json(),
        "blank": http.post("/predict", content=BLANK, headers=PNG).json(),
        "read": http.post("/read", content=FIVE, headers=PNG).json(),
        "predict_batch": http.post("/predict_batch", json={"images": images.tolist()}).json(),
    }


def test_bentomls_client_gets_what_http_gets(by_client: Any, by_http: dict[str, Any]) -> None:
    assert by_client["answers"] == by_http


def test_a_refusal_reaches_the_client_and_no_array_is_reshaped_or_cast(by_client: Any) -> None:
    assert by_client["refused"] == {
        "no batch": [422, "wrong_value"],
        "tall": [422, "wrong_shape"],
        "grey": [422, "wrong_value"],
        "bright": [422, "wrong_value"],
        "text": [422, "not_a_picture"],
    }


def test_in_process_it_answers_as_over_http_and_importing_it_changes_nothing(
    served: Served, by_http: dict[str, Any]
) -> None:
    assert served.run(IN_PROCESS, str(served.folder / ARGUMENTS)) == {
        "answers": by_http,
        "is_ready": True,
        "changed by import": [],
    }


def test_swaggers_files_and_the_contract_are_bentomls_and_its_other_pages_are_not_served(http: httpx2.Client) -> None:
    assert "swagger-ui" in http.get("/static_content/swagger-ui.css").text
    assert http.get("/static_content/swagger-ui-bundle.js").headers["x-content-type-options"] == "nosniff"
    assert http.get("/schema.json").json()["name"] == "handwritten-digits"
    for path in ("/static_content/index.css", "/healthz", "/static_content/"):
        assert (http.get(path).status_code, http.get(path).json()["code"]) == (404, "not_found")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def relabel(path: Path) -> None:
    path.write_text(path.read_text().replace("unknown", "unkn0wn"))


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("model.onnx", flip, "got SHA-256 .*, the Bento expects"),
        ("model.onnx", Path.unlink, "expected a model, got: No such file"),
        ("model.yaml", relabel, "label 'commit': got 'unkn0wn', the Bento expects 'unknown'"),
        ("model.yaml", lambda path: path.write_text("name: a: b"), "BentoML cannot read it: mapping values"),
    ],
)
def test_a_damaged_model_is_not_served(
    served: Served, tmp_path: Path, file: str, damage: Callable[[Path], object], message: str
) -> None:
    shutil.copytree(served.folder / "home", tmp_path / "home")
    damage(tmp_path / "home/models/mnist/v1-0123abcd" / file)
    command = serve_command(served.folder, free_port())
    environment = served.environment | {"BENTOML_HOME": str(tmp_path / "home")}

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 1
    assert re.search(rf"^error: .*{message}", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr
