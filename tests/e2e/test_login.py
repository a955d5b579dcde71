"""The log-in of `deploy/kubernetes/login/` in a real nginx, in front of the service and a real MLflow."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
import yaml

from serving.http.uvicorn_protocol import Protocol
from serving.model import Model
from serving.smoke_test import free_port, running_command
from tests.support.inprocess_service import service
from tests.support.live_service import running
from tests.support.nginx import running_login
from tests.support.project_clone import ROOT
from tests.support.sample_requests import FIVE, PNG

DIGITS: Final = {"host": "digits.example.org"}
MLFLOW: Final = {"host": "mlflow.example.org"}
SEARCH: Final = "/api/2.0/mlflow/experiments/search"  # by POST, as MLflow's page does


@pytest.fixture(scope="module")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow as the manifest starts it, on SQLite and a folder."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    manifest = next(yaml.safe_load_all((ROOT / "deploy/kubernetes/mlflow.yaml").read_text()))
    container: dict[str, Any] = manifest["spec"]["template"]["spec"]["containers"][0]
    settings = {
        entry["name"]: entry["value"] for entry in container["env"] if entry["name"].startswith("MLFLOW_SERVER")
    }
    settings |= {"MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
    settings |= {"MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"), "HOME": str(folder)}
    settings |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    addresses = {"--host": "--host=127.0.0.1", "--port": f"--port={port}"}
    command = [addresses.get(word.split("=")[0], word) for word in container["args"]]
    with running_command(command, port, folder / "log", settings, path="/health") as url:
        yield url


@pytest.fixture(scope="module")
def url(model: Model, mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The log-in, which knows `ada`, whose password is `lovelace`."""
    folder = tmp_path_factory.mktemp("nginx")
    hashed = subprocess.run(["openssl", "passwd", "-6", "lovelace"], capture_output=True, text=True, check=True).stdout
    (folder / "htpasswd").write_text(f"ada:{hashed}")
    with (
        running(service(model), "asyncio", Protocol) as live,
        running_login("http://{}:{}".format(*live.address), mlflow_url, folder / "htpasswd", folder) as url,
    ):
        yield url


@pytest.fixture
def ada(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, auth=("ada", "lovelace"), timeout=60) as client:
        yield client


@pytest.mark.parametrize("host", [DIGITS, MLFLOW], ids=["digits", "mlflow"])
@pytest.mark.parametrize("auth", [None, ("ada", "byron"), ("charles", "lovelace")])
def test_without_the_password_nothing_is_answered(url: str, host: dict[str, str], auth: tuple[str, str] | None) -> None:
    for path in ("/", "/model", "/docs", "/health", SEARCH):
        assert httpx2.get(f"{url}{path}", headers=host, auth=auth).status_code == 401


def test_with_it_the_service_answers_but_for_what_the_cluster_alone_needs(ada: httpx2.Client) -> None:
    answer = ada.post("/predict", content=FIVE, headers=DIGITS | PNG)

    assert answer.status_code == 200
    assert ada.get("/", headers=DIGITS).status_code == 200
    assert [ada.get(path, headers=DIGITS).status_code for path in ("/metrics", "/readyz", "/livez/")] == [404] * 3


def test_mlflow_answers_its_own_page_and_no_other_one(ada: httpx2.Client) -> None:
    def search(origin: str) -> int:
        return ada.post(SEARCH, json={"max_results": 1}, headers=MLFLOW | {"origin": origin}).status_code

    assert search("https://mlflow.example.org") == 200
    assert search("https://evil.example.org") == 403
    assert ada.get("/", headers=MLFLOW).status_code == 200


def test_an_artifact_may_be_larger_than_a_picture(ada: httpx2.Client) -> None:
    path, content = "/api/2.0/mlflow-artifacts/artifacts/model.bin", os.urandom(20 * 2**20)

    assert ada.put(path, content=content, headers=MLFLOW).status_code == 200
    assert ada.get(path, headers=MLFLOW).content == content
    assert ada.post("/predict", content=content, headers=DIGITS | PNG).status_code == 413


def test_another_host_name_gets_nothing(ada: httpx2.Client) -> None:
    assert ada.get("/model", headers={"host": "other.example.org"}).status_code == 404
    assert ada.get("/healthz", headers={"host": "10.0.0.7:8080"}).status_code == 200
