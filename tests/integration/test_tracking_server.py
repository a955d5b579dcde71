"""Training and `track` against an MLflow server in a second process: slow, killed, protected, or not MLflow's."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.core.config import SECTIONS
from pipeline.core.files import read_yaml
from serving.smoke_test import free_port
from tests.support import fake_mlflow
from tests.support.fake_mlflow import Authenticating, EmptyJson, Failing, Gate, Greeting, Rejecting, blocking
from tests.support.project_clone import Clone, duplicate
from tests.support.waiting import wait_until


class Server:
    """`mlflow server` on loopback, with its store in a folder that outlives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = f"http://127.0.0.1:{free_port()}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
        command += ["--port", self.uri.rsplit(":", 1)[1], "--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        command += ["--artifacts-destination", str(self.folder / "server-artifacts")]
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 90
        while not self.is_healthy():
            assert time.monotonic() < deadline, (self.folder / "server.log").read_text()
            time.sleep(0.2)

    def is_healthy(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=2) as response:
            return bool(response.read() == b"OK")
        return False

    def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def untracked(computed: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A computed pipeline that was never synced. No test changes it."""
    clone = duplicate(computed, tmp_path_factory.mktemp("server") / "clone")
    (clone.folder / "mlflow.db").unlink()
    shutil.rmtree(clone.folder / "mlartifacts")
    shutil.rmtree(clone.folder / "artifacts/track")
    shutil.rmtree(clone.folder / ".cache/progress")
    return clone


def refusal(clone: Clone, uri: str, **environment: str) -> str:
    """The one sentence with which `track` fails at this tracking URI."""
    done = clone.run("python", "-m", "pipeline.track", MLFLOW_TRACKING_URI=uri, **environment)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.fixture
def clone(untracked: Clone, tmp_path: Path) -> Clone:
    """A copy of it, for a test that changes something."""
    return duplicate(untracked, tmp_path / "clone")


def test_a_server_that_fails_is_reported_with_the_reason(untracked: Clone) -> None:
    with fake_mlflow.running(Failing) as uri:
        message = refusal(untracked, uri)

    assert f"expected an MLflow server at {uri}, got: ResponseError('too many 500 error responses')" in message


def test_a_server_that_hangs_is_reported_after_the_timeout(untracked: Clone) -> None:
    gate = Gate()
    with fake_mlflow.running(blocking(gate)) as uri:
        message = refusal(untracked, uri, MLFLOW_HTTP_REQUEST_TIMEOUT="2")
        gate.open.set()

    assert f"expected an MLflow server at {uri}, got: " in message
    assert "Read timed out. (read timeout=2)" in message
    assert not gate.timed_out.is_set()


@pytest.mark.parametrize(
    ("credentials", "reason"),
    [
        ({}, "requires authentication: expected MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or"),
        ({"MLFLOW_TRACKING_TOKEN": "secret"}, "too many 500 error responses"),
        ({"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "secret"}, "too many 500 error responses"),
    ],
)
def test_a_protected_server_gets_the_credentials_that_mlflow_takes(
    untracked: Clone, credentials: dict[str, str], reason: str
) -> None:
    with fake_mlflow.running(Authenticating) as uri:
        message = refusal(untracked, uri, **credentials)

    assert reason in message
    assert "secret" not in message


def test_credentials_that_a_server_rejects_are_not_shown(untracked: Clone) -> None:
    with fake_mlflow.running(Rejecting) as uri:
        message = refusal(untracked, uri.replace("//", "//ada:secret@"))

    assert f"MLFLOW_TRACKING_URI: {uri} requires authentication" in message
    assert "got none that it accepts" in message
    assert "secret" not in message


def has_begun(clone: Clone, server: Server) -> bool:
    return any(run.info.status == "RUNNING" for run in clone.runs(server.uri))


def test_without_a_server_everything_is_computed_and_kept(clone: Clone) -> None:
    done = clone.run("dvc", "repro", MLFLOW_TRACKING_URI="http://127.0.0.1:9")

    assert done.returncode != 0
    assert "MLFLOW_TRACKING_URI: expected an MLflow server at http://127.0.0.1:9, got: " in done.stderr
    assert "Connection refused" in done.stderr
    assert "run the same command again to sync them to MLflow" in done.stderr
    assert (clone.folder / "artifacts/export/model.onnx").is_file()
    assert clone.check_output("dvc", "status", *SECTIONS).strip() == "Data and pipelines are up to date."


def test_after_a_killed_server_is_back_the_rest_is_synced_and_nothing_twice(clone: Clone, server: Server) -> None:
    tracking = subprocess.Popen(
        [sys.executable, "-m", "pipeline.track"],
        cwd=clone.folder,
        env=clone.environment | {"MLFLOW_TRACKING_URI": server.uri},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not has_begun(clone, server):
        assert tracking.poll() is None, "track ended before it was seen"
        time.sleep(0.02)
    server.kill()
    _, errors = tracking.communicate(timeout=120)
    assert tracking.returncode == 1
    assert errors.startswith("error: MLflow at http://127.0.0.1")
    assert "Traceback" not in errors

    server.start()
    with_password = server.uri.replace("//", "//ada:secret@")  # this server requires none
    printed = clone.check_output("dvc", "repro", MLFLOW_TRACKING_URI=with_password)
    assert f"MLflow at {server.uri}: run mnist-" in printed
    assert "secret" not in printed

    assert len(clone.parents(server.uri)) == 1
    assert {stage: len(runs) for stage, runs in clone.children(server.uri).items()} == dict.fromkeys(SECTIONS, 1)
    assert {run.info.status for run in clone.runs(server.uri)} == {"FINISHED"}
    assert [version.aliases for version in clone.versions("mnist", server.uri)] == [["candidate"]]
    (train,) = clone.children(server.uri)["train"]
    history = clone.client(server.uri).get_metric_history(train.info.run_id, "train_loss")
    assert [point.step for point in history] == [1, 2]


@pytest.mark.parametrize(
    ("handler", "reason"), [(Greeting, "Response body: 'hello'"), (EmptyJson, "without the experiment")]
)
def test_an_http_server_that_is_not_mlflow_is_reported(
    untracked: Clone, handler: type[fake_mlflow.Handler], reason: str
) -> None:
    with fake_mlflow.running(handler) as uri:
        message = refusal(untracked, uri)

    assert f"expected an MLflow server at {uri}, got" in message
    assert reason in message


def test_a_server_without_http_is_reported(untracked: Clone) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            with contextlib.suppress(OSError):  # until the socket is closed
                while True:
                    connection, _ = other.accept()
                    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                    connection.close()

        threading.Thread(target=greet, daemon=True).start()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        message = refusal(untracked, f"http://ada:secret@{address}")

    assert f"expected an MLflow server at http://{address}, got: " in message
    assert "secret" not in message


def test_https_at_a_server_without_it_is_reported(untracked: Clone) -> None:
    with fake_mlflow.running(Failing) as uri:
        https = uri.replace("http:", "https:")
        message = refusal(untracked, https)

    assert f"expected an MLflow server at {https}, got: SSLError" in message


def test_a_database_without_its_driver_is_reported_with_the_reason(untracked: Clone) -> None:
    message = refusal(untracked, "mysql://ada:secret@127.0.0.1:1/db")

    assert message.startswith("error: MLflow at mysql://127.0.0.1:1/db failed: No module named")
    assert "secret" not in message


@pytest.mark.parametrize("uri", ["http://ada:secret@127.0.0.1:port", "http://ada:secret@[1", "nonsense://127.0.0.1"])
def test_an_invalid_uri_is_reported_without_its_password(untracked: Clone, uri: str) -> None:
    message = refusal(untracked, uri)

    assert uri.replace("http://ada:secret@", "") in message
    assert message.lower().startswith("error: mlflow")
    assert "secret" not in message


def started_training(clone: Clone, repro: subprocess.Popen[bytes]) -> psutil.Process:
    """The process of the training under `dvc repro`, once an epoch has ended."""
    progress = clone.folder / ".cache/progress"
    wait_until(lambda: any(b"train_loss" in path.read_bytes() for path in progress.glob("*")))
    children = psutil.Process(repro.pid).children(recursive=True)
    (training,) = [child for child in children if child.cmdline()[1:] == ["-m", "pipeline.train"]]
    return training


def is_shown_live(clone: Clone, server: Server) -> bool:
    """Whether MLflow has a point of the loss curve of a training that has not ended."""
    live = clone.children(server.uri).get("train", [])
    return bool(live) and "dvc.key" not in live[0].data.tags and "train_loss" in live[0].data.metrics


def test_a_training_shows_its_curve_while_it_runs_and_track_completes_that_run(clone: Clone, server: Server) -> None:
    # DVC writes the small number into dvc.lock as 1e-05, which is text in YAML 1.1.
    optimizer = read_yaml(clone.folder / "params.yaml")["train"]["optimizer"]
    clone.set("train", epochs=20, optimizer=optimizer | {"weight_decay": 1e-05})
    environment = clone.environment | {"MLFLOW_TRACKING_URI": server.uri}
    with (clone.folder / "repro.log").open("w") as log:
        repro = subprocess.Popen(["dvc", "repro"], cwd=clone.folder, env=environment, stdout=log, stderr=log)
    with repro:
        training = started_training(clone, repro)
        training.suspend()  # so that it cannot end before its curve was seen
        try:
            wait_until(lambda: is_shown_live(clone, server))
        finally:
            training.resume()

    assert repro.returncode == 0, (clone.folder / "repro.log").read_text()
    (train,) = clone.children(server.uri)["train"]
    history = clone.client(server.uri).get_metric_history(train.info.run_id, "train_loss")
    assert sorted(point.step for point in history) == list(range(1, 21))
    assert train.info.status == "FINISHED"


def test_a_training_does_not_wait_for_a_server_that_does_not_answer(clone: Clone) -> None:
    clone.set("train", epochs=1000)
    gate = Gate()
    with fake_mlflow.running(blocking(gate)) as uri:
        training = subprocess.Popen(
            [sys.executable, "-m", "pipeline.train"],
            cwd=clone.folder,
            env=clone.environment | {"MLFLOW_TRACKING_URI": uri, "MLFLOW_HTTP_REQUEST_TIMEOUT": "3600"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert training.stdout is not None
            lines = iter(training.stdout)
            next(line for line in lines if gate.requested.is_set())
            epochs = [next(lines) for _ in range(10)]
            waited = gate.timed_out.is_set()
        finally:
            gate.open.set()
            training.terminate()
            training.communicate(timeout=60)

    assert all(line.startswith("epoch ") for line in epochs)
    assert not waited, "the training waited for the server"
