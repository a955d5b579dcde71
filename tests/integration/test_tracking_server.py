"""Training and `track` against a real MLflow server in a second process, which dies at a bad moment."""

import contextlib
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.core.files import read_yaml
from pipeline.track import STAGES
from tests.support.fake_mlflow import Broken, Guarded, Hanging, Holding, Stranger, answering
from tests.support.project_clone import Clone, moved


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
        while not self.answers():
            assert time.monotonic() < deadline, (self.folder / "server.log").read_text()
            time.sleep(0.2)

    def answers(self) -> bool:
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
    made = Server(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.kill()


@pytest.fixture(scope="module")
def untracked(computed: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A pipeline that was computed while no MLflow server answered. No test changes it."""
    made = moved(computed, tmp_path_factory.mktemp("server") / "clone")
    (made.folder / "mlflow.db").unlink()
    shutil.rmtree(made.folder / "mlartifacts")
    shutil.rmtree(made.folder / "artifacts/track")
    shutil.rmtree(made.folder / ".cache/progress")
    return made


@pytest.fixture
def place(untracked: Clone, tmp_path: Path) -> Clone:
    """A copy of it, for a test that changes something."""
    return moved(untracked, tmp_path / "clone")


@pytest.mark.parametrize(("kind", "reason"), [(Broken, "too many 500 error responses"), (Hanging, "timed out")])
def test_a_server_that_fails_or_hangs_is_told_of_with_its_reason(
    untracked: Clone, kind: type[http.server.BaseHTTPRequestHandler], reason: str
) -> None:
    with answering(kind) as uri:
        patience = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "2"}
        done = untracked.run("python", "-m", "pipeline.track", MLFLOW_TRACKING_URI=uri, **patience)

    assert done.returncode == 1
    assert reason in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("credentials", "reason"),
    [
        ({}, "expected MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"),
        ({"MLFLOW_TRACKING_TOKEN": "secret"}, "too many 500 error responses"),
        ({"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "secret"}, "too many 500 error responses"),
    ],
)
def test_a_guarded_server_is_asked_with_the_credentials_that_mlflow_takes(
    untracked: Clone, credentials: dict[str, str], reason: str
) -> None:
    with answering(Guarded) as uri:
        done = untracked.run("python", "-m", "pipeline.track", MLFLOW_TRACKING_URI=uri, **credentials)

    assert done.returncode == 1
    assert reason in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def begun(place: Clone, server: Server) -> bool:
    return any(run.info.status == "RUNNING" for run in place.runs(server.uri))


def test_without_a_server_everything_is_computed_and_kept(place: Clone) -> None:
    done = place.run("dvc", "repro", MLFLOW_TRACKING_URI="http://127.0.0.1:9")

    assert done.returncode != 0
    assert "MLFLOW_TRACKING_URI: no server answers at http://127.0.0.1:9" in done.stderr
    assert "the same command, typed again, only syncs to MLflow" in done.stderr
    assert (place.folder / "artifacts/export/model.onnx").is_file()
    assert place.must("dvc", "status", *STAGES).strip() == "Data and pipelines are up to date."


def test_a_server_killed_in_the_middle_is_told_the_rest_and_nothing_twice(place: Clone, server: Server) -> None:
    tracking = subprocess.Popen(
        [sys.executable, "-m", "pipeline.track"],
        cwd=place.folder,
        env=place.environment | {"MLFLOW_TRACKING_URI": server.uri},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not begun(place, server):
        assert tracking.poll() is None, "track was done before it was seen"
        time.sleep(0.02)
    server.kill()
    _, complaint = tracking.communicate(timeout=120)
    assert tracking.returncode == 1
    assert complaint.startswith("error: MLflow at http://127.0.0.1")
    assert "Traceback" not in complaint

    server.start()
    with_password = server.uri.replace("//", "//ada:secret@")  # this server does not ask for one
    told = place.must("dvc", "repro", MLFLOW_TRACKING_URI=with_password)
    assert f"MLflow at {server.uri}: run mnist-" in told
    assert "secret" not in told

    assert len(place.parents(server.uri)) == 1
    assert {stage: len(runs) for stage, runs in place.children(server.uri).items()} == dict.fromkeys(STAGES, 1)
    assert {run.info.status for run in place.runs(server.uri)} == {"FINISHED"}
    assert [version.aliases for version in place.versions("mnist", server.uri)] == [["champion"]]
    (train,) = place.children(server.uri)["train"]
    history = place.client(server.uri).get_metric_history(train.info.run_id, "train_loss")
    assert [point.step for point in history] == [1, 2]


def test_what_answers_but_is_no_mlflow_server_is_told_apart(untracked: Clone) -> None:
    with answering(Stranger) as uri:
        done = untracked.run("python", "-m", "pipeline.track", MLFLOW_TRACKING_URI=uri)

    assert done.returncode == 1
    assert "is no MLflow server" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_without_its_driver_is_named_with_the_reason(untracked: Clone) -> None:
    done = untracked.run("python", "-m", "pipeline.track", MLFLOW_TRACKING_URI="mysql://ada:secret@127.0.0.1:1/db")

    assert done.returncode == 1
    assert done.stderr.startswith("error: MLflow at mysql://127.0.0.1:1/db failed: No module named")
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("address", ["http://127.0.0.1:port", "http://[1", "nonsense://127.0.0.1"])
def test_what_is_no_address_is_named(untracked: Clone, address: str) -> None:
    done = untracked.run("python", "-m", "pipeline.track", MLFLOW_TRACKING_URI=address)

    assert done.returncode == 1
    assert address in done.stderr
    assert done.stderr.splitlines()[-1].lower().startswith("error: mlflow")
    assert "Traceback" not in done.stderr


def test_a_server_of_another_kind_is_told_apart(untracked: Clone) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()

        def greet() -> None:
            caller, _ = stranger.accept()
            caller.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            caller.close()

        threading.Thread(target=greet, daemon=True).start()
        address = f"http://127.0.0.1:{stranger.getsockname()[1]}"
        done = untracked.run("python", "-m", "pipeline.track", MLFLOW_TRACKING_URI=address)

    assert done.returncode == 1
    assert f"no server answers at {address}" in done.stderr
    assert "Traceback" not in done.stderr


def begun_training(place: Clone, repro: subprocess.Popen[bytes]) -> psutil.Process:
    """The training that `dvc repro` runs, once it has done an epoch."""
    progress = place.folder / ".cache/progress"
    wait_until(lambda: any(b"train_loss" in path.read_bytes() for path in progress.glob("*")))
    children = psutil.Process(repro.pid).children(recursive=True)
    (training,) = [child for child in children if child.cmdline()[1:] == ["-m", "pipeline.train"]]
    return training


def shown_live(place: Clone, server: Server) -> bool:
    """Whether MLflow shows a point of the loss of a training that is not over."""
    live = place.children(server.uri).get("train", [])
    return bool(live) and "dvc.key" not in live[0].data.tags and "train_loss" in live[0].data.metrics


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Wait for a condition, far longer than it ever takes."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_training_shows_its_curve_while_it_runs_and_track_completes_that_run(place: Clone, server: Server) -> None:
    # DVC notes the small number in dvc.lock as 1e-05, which YAML 1.1 takes for text.
    optimizer = read_yaml(place.folder / "params.yaml")["train"]["optimizer"]
    place.set("train", epochs=20, optimizer=optimizer | {"weight_decay": 1e-05})
    environment = place.environment | {"MLFLOW_TRACKING_URI": server.uri}
    with (place.folder / "repro.log").open("w") as log:
        repro = subprocess.Popen(["dvc", "repro"], cwd=place.folder, env=environment, stdout=log, stderr=log)
    with repro:
        training = begun_training(place, repro)
        training.suspend()  # however short it is, it is not over before it has been seen
        try:
            wait_until(lambda: shown_live(place, server))
        finally:
            training.resume()

    assert repro.returncode == 0, (place.folder / "repro.log").read_text()
    (train,) = place.children(server.uri)["train"]
    history = place.client(server.uri).get_metric_history(train.info.run_id, "train_loss")
    assert sorted(point.step for point in history) == list(range(1, 21))
    assert train.info.status == "FINISHED"


def test_a_training_goes_on_while_its_server_leaves_it_without_an_answer(place: Clone) -> None:
    place.set("train", epochs=1000)
    with answering(Holding) as uri:
        training = subprocess.Popen(
            [sys.executable, "-m", "pipeline.train"],
            cwd=place.folder,
            env=place.environment | {"MLFLOW_TRACKING_URI": uri, "MLFLOW_HTTP_REQUEST_TIMEOUT": "3600"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert training.stdout is not None
            lines = iter(training.stdout)
            next(line for line in lines if Holding.asked.is_set())
            epochs = [next(lines) for _ in range(10)]
            waited = Holding.gave_up.is_set()
        finally:
            Holding.let_go.set()
            training.terminate()
            training.communicate(timeout=60)

    assert all(line.startswith("epoch ") for line in epochs)
    assert not waited, "the training waited for the server"
