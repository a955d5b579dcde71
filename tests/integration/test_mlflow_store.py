"""MLflow's store opened by several processes at once, moved, copied, emptied, edited in the UI."""

import contextlib
import os
import re
import shutil
import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking._tracking_service import utils

import pipeline.track
import pipeline.tracking.ui
from pipeline.core.config import EXPERIMENT, SECTIONS
from pipeline.core.errors import TrackingError
from pipeline.tracking.mlflow_store import MlflowStore
from pipeline.tracking.registry import Registry
from pipeline.tracking.relocation import COLUMNS
from pipeline.tracking.tracking_uri import get_tracking_uri
from tests.support import project_clone
from tests.support.opening_stores import start_together
from tests.support.project_clone import Clone, duplicate


@pytest.fixture
def clone(computed: Clone, tmp_path: Path) -> Clone:
    """A copy of the computed clone, for a test that changes it."""
    return duplicate(computed, tmp_path / "moved")


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def track(clone: Clone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """`make track` in the clone, in this process; returns what it prints."""
    work_in(clone, monkeypatch)

    def run() -> str:
        capsys.readouterr()
        pipeline.track.main()
        return capsys.readouterr().out

    return run


def work_in(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process work in the clone, without the settings of the user who runs the tests."""
    for name in list(os.environ):
        if name.startswith(project_clone.STAGE_SETTINGS):
            monkeypatch.delenv(name)
    # A process of MLflow's caches where the artifacts of a run are; here the same runs are in many folders.
    monkeypatch.setattr(utils, "_artifact_repos_cache", OrderedDict())
    monkeypatch.chdir(clone.folder)


def read_candidate(clone: Clone) -> tuple[bytes, str | None]:
    """The candidate's file and commit, which `make bento` takes from the registry."""
    registry = Registry(MlflowStore(clone.folder))
    version = registry.get_version("mnist", None, "candidate")
    return registry.read_model(version), registry.origin(version)["commit"]


def refusal(clone: Clone) -> str:
    """The message with which the registry refuses the candidate."""
    with pytest.raises(TrackingError) as refused:
        read_candidate(clone)
    return str(refused.value)


def collect_garbage(clone: Clone) -> None:
    """`mlflow gc`, which removes for good what was deleted."""
    uri = f"sqlite:///{clone.folder}/mlflow.db"
    MlflowStore(clone.folder)  # otherwise the paths in the store of a copy are those of the original
    clone.check_output("mlflow", "gc", "--backend-store-uri", uri, "--tracking-uri", uri)


def assert_complete(clone: Clone) -> None:
    """Assert that each run has its files, the stages have one parent, and the registry has the candidate."""
    client = clone.client()
    (parent,) = clone.parents()
    children = clone.children()
    assert {stage: len(runs) for stage, runs in children.items()} == dict.fromkeys(SECTIONS, 1)
    assert {run.data.tags["mlflow.parentRunId"] for (run,) in children.values()} == {parent.info.run_id}
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {
        "dvc.lock", "dvc.yaml", "params.yaml", "pipeline"  # /environment.yaml, of which stages have parameters
    }  # fmt: skip
    (export,) = children["export"]
    assert "model.onnx" in {file.path for file in client.list_artifacts(export.info.run_id)}
    assert clone.folder.as_uri() in export.info.artifact_uri
    candidate = client.get_model_version_by_alias("mnist", "candidate")
    assert candidate.tags["parent_run"] == parent.info.run_id
    assert read_candidate(clone) == (
        (clone.folder / "artifacts/export/model.onnx").read_bytes(),
        parent.data.tags["mlflow.source.git.commit"],
    )


def test_processes_that_open_a_fresh_store_at_once_all_get_the_same_experiment(tmp_path: Path) -> None:
    start_together(tmp_path, starts=4)


def test_a_clone_that_was_copied_leaves_the_original_alone(
    computed: Clone, clone: Clone, track: Callable[[], str]
) -> None:
    before = read_files(computed.folder)
    shutil.rmtree(clone.folder / "mlartifacts")

    track()

    assert read_files(computed.folder) == before
    assert {run.info.artifact_uri.partition("/mlartifacts/")[0] for run in clone.runs()} == {clone.folder.as_uri()}
    assert_complete(clone)


def test_a_clone_that_was_moved_has_its_runs_and_its_model(clone: Clone, track: Callable[[], str]) -> None:
    home = {"BENTOML_HOME": str(clone.folder / ".cache/bentoml"), "BENTOML_DO_NOT_TRACK": "true"}
    assert "Bento mnist-service:v1-" in clone.check_output(
        "python", "-m", "pipeline.packaging.bento", "--version", "1", **home
    )
    files = read_files(clone.folder / "mlartifacts")

    assert "version 1 (candidate)" in track()

    assert read_files(clone.folder / "mlartifacts") == files
    assert_complete(clone)


def test_lost_artifacts_are_uploaded_again(clone: Clone, track: Callable[[], str]) -> None:
    shutil.rmtree(clone.folder / "mlartifacts")
    message = refusal(clone)
    assert "models:/mnist/1: model.onnx: got no file" in message
    assert "`make track` uploads it again" in message

    assert "version 1 (candidate)" in track()

    assert_complete(clone)
    (model,) = clone.client().search_logged_models([clone.parents()[0].info.experiment_id])
    assert "MLmodel" in {file.path for file in clone.client().list_logged_model_artifacts(model.model_id)}
    loaded = mlflow.onnx.load_model(f"{clone.folder}/mlartifacts/models/{model.model_id}/artifacts")
    assert loaded.graph.input[0].name == "images"


def test_a_damaged_model_file_is_uploaded_again(clone: Clone, track: Callable[[], str]) -> None:
    (file,) = (clone.folder / "mlartifacts").glob("models/*/artifacts/model.onnx")
    file.write_bytes(file.read_bytes()[:-1])
    assert "models:/mnist/1: model.onnx: got SHA-256" in refusal(clone)

    track()

    assert_complete(clone)


def test_a_deleted_model_is_registered_again_with_its_alias(clone: Clone, track: Callable[[], str]) -> None:
    client = clone.client()
    (model,) = client.search_logged_models([clone.parents()[0].info.experiment_id])
    client.delete_logged_model(model.model_id)
    shutil.rmtree(clone.folder / "mlartifacts/models")

    assert "version 2 (candidate)" in track()

    assert_complete(clone)
    assert "version 2 (candidate)" in track()


def test_a_registered_model_that_was_deleted_is_registered_again(clone: Clone, track: Callable[[], str]) -> None:
    clone.client().delete_registered_model("mnist")
    assert "got none; other models: none; `make repro` registers" in refusal(clone)

    assert "version 1 (candidate)" in track()

    assert_complete(clone)


@pytest.mark.parametrize("collected", [False, True], ids=["deleted", "deleted and collected"])
def test_a_deleted_parent_run_is_created_again(clone: Clone, track: Callable[[], str], collected: bool) -> None:
    (parent,) = clone.parents()
    clone.client().delete_run(parent.info.run_id)
    if collected:
        collect_garbage(clone)
        assert "`make track` creates it again" in refusal(clone)

    track()

    assert clone.parents()[0].info.run_id != parent.info.run_id
    assert_complete(clone)


def test_a_deleted_stage_run_is_created_again(clone: Clone, track: Callable[[], str]) -> None:
    (train,) = clone.children()["train"]
    clone.client().delete_run(train.info.run_id)

    track()

    assert_complete(clone)
    assert clone.parents()[0].data.tags["stage.train"] == clone.children()["train"][0].info.run_id


@pytest.mark.parametrize("collected", [False, True], ids=["deleted", "deleted and collected"])
def test_a_deleted_experiment_is_restored(clone: Clone, track: Callable[[], str], collected: bool) -> None:
    client = clone.client()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    if collected:
        collect_garbage(clone)

    track()

    assert_complete(clone)


def test_a_removed_alias_is_set_again(clone: Clone, track: Callable[[], str]) -> None:
    clone.client().delete_registered_model_alias("mnist", "candidate")
    assert "a version with the alias 'candidate' of model 'mnist', got versions 1 (no alias)" in refusal(clone)

    assert "version 1 (candidate)" in track()

    assert_complete(clone)


def test_artifacts_stored_by_a_server_are_found_without_it(clone: Clone, track: Callable[[], str]) -> None:
    """As after `make ui` and MLFLOW_TRACKING_URI=http://127.0.0.1:5000."""
    (clone.folder / "mlartifacts").rename(clone.folder / "1")
    (clone.folder / "mlartifacts").mkdir()
    (clone.folder / "1").rename(clone.folder / "mlartifacts/1")
    recorded = clone.runs()[0].info.artifact_uri.partition("/mlartifacts/")[0] + "/mlartifacts"
    with contextlib.closing(sqlite3.connect(clone.folder / "mlflow.db")) as database, database:
        for table, column in COLUMNS:
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, 'mlflow-artifacts:/1')", (recorded,))
    files = read_files(clone.folder / "mlartifacts")

    assert "version 1 (candidate)" in track()

    assert read_files(clone.folder / "mlartifacts") == files
    assert_complete(clone)


def test_the_ui_serves_the_store_beside_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    command = pipeline.tracking.ui.command(tmp_path, "5001")
    assert f"sqlite:///{tmp_path}/mlflow.db" in command
    assert str(tmp_path / "mlartifacts") in command

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ada:secret@mlflow.example.org")
    with pytest.raises(TrackingError, match=r"MLflow's runs are at https://mlflow\.example\.org: open that"):
        pipeline.tracking.ui.command(tmp_path, "5001")


@pytest.mark.parametrize("name", ["a%2Fb 100%25", "what? #1 it's"])
def test_a_folder_may_have_any_name(computed: Clone, tmp_path: Path, name: str) -> None:
    clone = duplicate(computed, tmp_path / name)
    (clone.folder / "mlflow.db").unlink()
    shutil.rmtree(clone.folder / "mlartifacts")
    home = {"BENTOML_HOME": str(clone.folder / ".cache/bentoml"), "BENTOML_DO_NOT_TRACK": "true"}

    clone.check_output("python", "-m", "pipeline.track")

    assert "Bento mnist-service:v1-" in clone.check_output(
        "python", "-m", "pipeline.packaging.bento", "--version", "1", **home
    )
    assert (clone.folder / "mlflow.db").is_file()
    assert list((clone.folder / "mlartifacts").iterdir())
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_advice_about_an_old_schema_names_the_database(clone: Clone) -> None:
    with contextlib.closing(sqlite3.connect(clone.folder / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")

    done = clone.run("python", "-m", "pipeline.track")

    assert done.returncode == 1
    assert f"mlflow db upgrade sqlite:///{clone.folder}/mlflow.db" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:5000", "expected http://127.0.0.1:5000 or https://127.0.0.1:5000"),
        ("localhost:5000", "expected http://localhost:5000"),
        ("mlflow.example.org:5000/base", "expected http://mlflow.example.org:5000/base"),
        ("mlflow", "expected a URI such as http://server:5000"),
        ("./mlruns", "expected a URI such as http://server:5000"),
    ],
)
def test_a_uri_without_a_scheme_is_reported(monkeypatch: pytest.MonkeyPatch, address: str, expected: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(TrackingError, match=re.escape(f"MLFLOW_TRACKING_URI: got {address!r}, {expected}")):
        get_tracking_uri(Path())
