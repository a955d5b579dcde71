"""MLflow as deploy/compose.yaml starts it, on PostgreSQL. Needs Debian's package `postgresql`."""

import contextlib
import hashlib
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from pipeline.core.config import SECTIONS
from serving.smoke_test import free_port
from tests.support import project_clone
from tests.support.postgres import running_postgres, stopping, wait_for
from tests.support.project_clone import ROOT, Clone

DEPLOYED: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]["mlflow"]


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of an empty database."""
    with running_postgres(tmp_path_factory.mktemp("postgres") / "log") as uri:
        yield uri


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("postgres.crt", "missing.crt", 'root certificate file ".*missing.crt" does not exist'),
        ("@127.0.0.1", "@localhost", 'does not match host name "localhost"'),
    ],
)
def test_a_server_that_cannot_be_verified_is_not_connected_to(postgres: str, old: str, new: str, message: str) -> None:
    for uri, expected in ((postgres, None), (postgres.replace(old, new), message)):
        with contextlib.ExitStack() as stack:
            if expected:
                stack.enter_context(pytest.raises(OperationalError, match=expected))
            create_engine(uri).connect().close()


def deployed_command(**replaced: str) -> list[str]:
    """The command in compose.yaml, `${NAME:-default}` replaced by its default, and some options `replaced`."""
    command = [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", part) for part in DEPLOYED["command"]]
    options = dict(part.removeprefix("--").split("=", 1) for part in command if part.startswith("--"))
    return [*(part for part in command if "=" not in part), *(f"--{k}={v}" for k, v in (options | replaced).items())]


@pytest.fixture(scope="session")
def server(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of the MLflow server, with the options and settings of compose.yaml and a folder in place of S3."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    settings = {name: value for name, value in DEPLOYED["environment"].items() if "$" not in value}
    settings |= {"HOME": str(folder), "MLFLOW_BACKEND_STORE_URI": postgres}
    settings |= {"MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts")}
    settings |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with (folder / "log").open("wb") as log:
        command = deployed_command(host="127.0.0.1", port=str(port))
        process = subprocess.Popen(command, cwd=folder, env=settings, stdout=log, stderr=log)
    with stopping(process):
        probe = [part.replace(":5000/", f":{port}/") for part in DEPLOYED["healthcheck"]["test"][2:]]
        wait_for(process, [sys.executable, *probe], folder / "log")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def clone(server: str, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which the pipeline has run, with its runs and its champion on the server."""
    clone = project_clone.make(tmp_path_factory.mktemp("clone"))
    clone.environment |= {"MLFLOW_TRACKING_URI": server, "BENTOML_HOME": str(tmp_path_factory.mktemp("bentoml"))}
    clone.check_output("dvc", "repro")
    clone.check_output("python", "-m", "pipeline.promotion.promote")
    return clone


def test_the_runs_of_the_pipeline_are_in_postgresql(clone: Clone, server: str, postgres: str) -> None:
    for uri in (server, postgres):  # through the server, and from the database itself
        (parent,) = clone.parents(uri)
        children = clone.children(uri)
        (version,) = clone.versions("mnist", uri)

        assert {stage: len(runs) for stage, runs in children.items()} == dict.fromkeys(SECTIONS, 1)
        assert {run.data.tags["mlflow.parentRunId"] for (run,) in children.values()} == {parent.info.run_id}
        assert {run.info.status for run in clone.runs(uri)} == {"FINISHED"}
        assert sorted(version.aliases) == ["candidate", "champion"]


def test_the_artifacts_of_a_run_are_read_through_the_server(clone: Clone, server: str) -> None:
    (parent,) = clone.parents(server)

    files = {file.path for file in clone.client(server).list_artifacts(parent.info.run_id)}

    assert parent.info.artifact_uri.startswith("mlflow-artifacts:")
    assert {"dvc.lock", "params.yaml"} <= files


def test_a_second_sync_changes_nothing(clone: Clone, server: str) -> None:
    before = sorted((run.info.run_id, str(run.data)) for run in clone.runs(server))

    clone.check_output("python", "-m", "pipeline.track")

    assert sorted((run.info.run_id, str(run.data)) for run in clone.runs(server)) == before
    assert len(clone.versions("mnist", server)) == 1


def stored_files(clone: Clone) -> dict[str, tuple[int, str]]:
    """Modification time and SHA-256 of every file in BentoML's store."""
    store = Path(clone.environment["BENTOML_HOME"])
    files = [path for path in store.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files}


def test_the_registered_model_becomes_a_bento_once(clone: Clone, server: str) -> None:
    (version,) = clone.versions("mnist", server)

    printed = clone.check_output("python", "-m", "pipeline.packaging.bento", "--name", "mnist")
    before = stored_files(clone)
    printed_again = clone.check_output("python", "-m", "pipeline.packaging.bento", "--name", "mnist")

    found = re.search(r"model mnist:(v1-[0-9a-f]{8}), ", printed)
    assert found is not None
    tag = found[1]
    model = Path(clone.environment["BENTOML_HOME"]) / "models/mnist" / tag / "model.onnx"
    assert before[str(model)][1] == version.tags["sha256"]
    assert stored_files(clone) == before
    assert printed_again == printed


@pytest.mark.parametrize(("host", "status"), [("mlflow:5000", 200), ("localhost", 403), ("evil.example.org", 403)])
def test_only_the_host_names_in_compose_are_allowed(server: str, host: str, status: int) -> None:
    url = f"{server}/api/2.0/mlflow/experiments/search?max_results=1"
    request = urllib.request.Request(url, headers={"Host": host})
    try:
        got = urllib.request.urlopen(request, timeout=30).status
    except urllib.error.HTTPError as error:
        got = error.code

    assert got == status
