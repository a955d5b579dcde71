"""BentoML's settings of `http.cors` hold for every answer, refusals included."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from serving.http.cors import with_cors
from serving.http.limits import MAX_BODY, Limits
from serving.model import Model
from tests.support.inprocess_service import service
from tests.support.sample_requests import FIVE, PNG

ORIGIN = "https://example.org"
SETTINGS = {"allow_origins": [ORIGIN], "allow_methods": ["GET", "POST"], "expose_headers": ["Retry-After"]}
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
CORS = {"enabled": True, "access_control_allow_origins": [ORIGIN], "access_control_allow_methods": "POST"}
EXPECTED = {"allow_origins": [ORIGIN], "allow_methods": ["POST"]}
AS_THE_WORKER = """
import json, bentoml
from serving.http.cors import cors_settings

@bentoml.service(name="handwritten-digits")
class Digits: ...

Digits.inject_config()
print(json.dumps(cors_settings()))
"""


@pytest.fixture
def client(model: Model) -> Iterator[TestClient]:
    with TestClient(with_cors(service(model), SETTINGS), raise_server_exceptions=False) as client:
        yield client


def settings_under(**environment: str) -> Any:
    """The settings that a worker computes under these environment variables."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("BENTOML_CONFIG")}
    command = [sys.executable, "-c", AS_THE_WORKER]
    return json.loads(subprocess.check_output(command, env=plain | environment, text=True).splitlines()[-1])


@pytest.mark.parametrize("path", ["/predict", "/read", "/predict_batch"])
def test_a_page_of_an_allowed_origin_may_post(client: TestClient, path: str) -> None:
    preflight = client.options(path, headers={"origin": ORIGIN} | PREFLIGHT)

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in preflight.headers["access-control-allow-methods"]


def test_a_page_of_another_origin_may_not(client: TestClient) -> None:
    other = {"origin": "https://example.com"}

    assert client.options("/predict", headers=other | PREFLIGHT).status_code == 400
    assert "access-control-allow-origin" not in client.post("/predict", content=FIVE, headers=PNG | other).headers


@pytest.mark.parametrize(
    ("method", "path", "content", "headers", "status"),
    [
        ("POST", "/predict", FIVE, PNG, 200),
        ("GET", "/model", b"", {}, 200),
        ("POST", "/predict", b"hello", PNG, 422),
        ("POST", "/predict", bytes(MAX_BODY + 1), PNG, 413),
        ("POST", "/predict", FIVE, {"content-type": "text/plain"}, 415),
        ("POST", "/guess", FIVE, PNG, 404),
        ("GET", "/predict", b"", {}, 405),
    ],
)
def test_every_answer_can_be_read_by_an_allowed_page(
    client: TestClient, method: str, path: str, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = client.request(method, path, content=content, headers=headers | {"origin": ORIGIN})

    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, ORIGIN)


def test_a_refusal_of_a_busy_service_can_be_read_too(model: Model) -> None:
    client = TestClient(with_cors(service(model, Limits(requests=0)), SETTINGS))

    answer = client.post("/predict", content=FIVE, headers=PNG | {"origin": ORIGIN})

    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (429, ORIGIN)
    assert answer.headers["access-control-expose-headers"] == "Retry-After"


def test_without_settings_nothing_is_added(model: Model) -> None:
    app = service(model)

    assert with_cors(app, None) is app
    assert settings_under() is None


@pytest.mark.parametrize("section", ["handwritten-digits", "http"])
def test_bentomls_overrides_are_honoured(section: str) -> None:
    services = {"http": {"cors": CORS}} if section == "http" else {section: {"http": {"cors": CORS}}}

    assert settings_under(BENTOML_CONFIG_OVERRIDES=json.dumps({"services": services})) == EXPECTED


def test_bentomls_configuration_file_is_honoured(tmp_path: Path) -> None:
    file = tmp_path / "bentoml.yaml"
    file.write_text(json.dumps({"services": {"http": {"cors": CORS}}}))  # YAML too

    assert settings_under(BENTOML_CONFIG=str(file)) == EXPECTED


def test_the_readmes_setting_lets_a_page_post() -> None:
    (setting,) = re.findall(r"BENTOML_CONFIG_OVERRIDES='(.*?)'", Path("README.md").read_text(), re.DOTALL)

    assert settings_under(BENTOML_CONFIG_OVERRIDES=setting) == SETTINGS
