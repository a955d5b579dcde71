"""MLflow's store after what happens to it: started by several at once, moved, copied, emptied, edited in the UI."""

import contextlib
import os
import re
import shutil
import sqlite3
import sys
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking._tracking_service import utils

import pipeline.packaging.bento
import pipeline.track
import pipeline.tracking.ui
from pipeline.core.config import EXPERIMENT
from pipeline.core.errors import TrackingError
from pipeline.track import STAGES
from pipeline.tracking.mlflow_store import MlflowStore
from pipeline.tracking.registry import Registry
from pipeline.tracking.relocation import COLUMNS
from pipeline.tracking.tracking_uri import get_tracking_uri
from tests.support import project_clone
from tests.support.project_clone import Clone, moved

PROCESSES = 8


def opened(folder: Path) -> str:
    """The experiment in the store of a clone, as one of several processes that open it finds or makes it."""
    return MlflowStore(folder).experiment_id


def start_together(folder: Path, starts: int) -> None:
    """Assert that processes which open a fresh store at the same time all get it, so many times."""
    context = get_context("forkserver")
    context.set_forkserver_preload(
        ["pipeline.tracking.mlflow_store"]
    )  # MLflow takes seconds to import: once, not in each
    with ProcessPoolExecutor(PROCESSES, context) as pool:
        for start in range(starts):
            found = list(pool.map(opened, [folder / str(start)] * PROCESSES))
            assert len(set(found)) == 1


@pytest.fixture
def place(computed: Clone, tmp_path: Path) -> Clone:
    """The same clone in another folder."""
    return moved(computed, tmp_path / "moved")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def track(place: Clone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """`make track` in the clone, in this process; what it prints."""
    go_to(place, monkeypatch)

    def run() -> str:
        capsys.readouterr()
        pipeline.track.main()
        return capsys.readouterr().out

    return run


def go_to(place: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process work in the clone, without settings of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(project_clone.STAGE_SETTINGS):
            monkeypatch.delenv(name)
    # MLflow remembers in each process where the artifacts of a run are; here the same runs are in many places.
    monkeypatch.setattr(utils, "_artifact_repos_cache", OrderedDict())
    monkeypatch.chdir(place.folder)
    monkeypatch.setattr(sys, "argv", ["make bento"])


def complaint() -> str:
    """What `make bento` says, which cannot find the model."""
    with pytest.raises(TrackingError) as refused:
        pipeline.packaging.bento.main()
    return str(refused.value)


def collect(place: Clone) -> None:
    """`mlflow gc`: what was deleted is gone for good."""
    uri = f"sqlite:///{place.folder}/mlflow.db"
    MlflowStore(place.folder)  # else what the store of a copy names lies in the original
    place.must("mlflow", "gc", "--backend-store-uri", uri, "--tracking-uri", uri)


def is_whole(place: Clone) -> None:
    """Assert that each run has its files, the stages have one parent, and `make bento` finds the champion."""
    client = place.client()
    (parent,) = place.parents()
    children = place.children()
    assert {stage: len(runs) for stage, runs in children.items()} == dict.fromkeys(STAGES, 1)
    assert {run.data.tags["mlflow.parentRunId"] for (run,) in children.values()} == {parent.info.run_id}
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {
        "dvc.lock", "params.yaml", "model_card.md"
    }  # fmt: skip
    (export,) = children["export"]
    assert "model.onnx" in {file.path for file in client.list_artifacts(export.info.run_id)}
    assert place.folder.as_uri() in export.info.artifact_uri
    champion = client.get_model_version_by_alias("mnist", "champion")
    assert champion.tags["parent_run"] == parent.info.run_id
    registry = Registry(MlflowStore(place.folder))
    assert registry.read_model(champion) == (place.folder / "artifacts/export/model.onnx").read_bytes()
    assert registry.commit(champion) == parent.data.tags["mlflow.source.git.commit"]


def test_processes_that_start_on_a_fresh_store_at_once_all_get_it(tmp_path: Path) -> None:
    start_together(tmp_path, starts=4)


def test_a_clone_that_was_copied_leaves_the_original_alone(
    computed: Clone, place: Clone, track: Callable[[], str]
) -> None:
    before = contents(computed.folder)
    shutil.rmtree(place.folder / "mlartifacts")

    track()

    assert contents(computed.folder) == before
    assert {run.info.artifact_uri.partition("/mlartifacts/")[0] for run in place.runs()} == {place.folder.as_uri()}
    is_whole(place)


def test_a_clone_that_was_moved_has_its_runs_and_its_model(place: Clone, track: Callable[[], str]) -> None:
    home = {"BENTOML_HOME": str(place.folder / ".cache/bentoml"), "BENTOML_DO_NOT_TRACK": "true"}
    assert "Bento mnist-service:v1-" in place.must("python", "-m", "pipeline.packaging.bento", **home)
    files = contents(place.folder / "mlartifacts")

    assert "version 1 (champion)" in track()

    assert contents(place.folder / "mlartifacts") == files
    is_whole(place)


def test_artifacts_that_are_gone_are_uploaded_again(place: Clone, track: Callable[[], str]) -> None:
    shutil.rmtree(place.folder / "mlartifacts")
    said = complaint()
    assert "models:/mnist/1: model.onnx: got no file" in said
    assert "`make track` uploads it again" in said

    assert "version 1 (champion)" in track()

    is_whole(place)
    (model,) = place.client().search_logged_models([place.parents()[0].info.experiment_id])
    assert "MLmodel" in {file.path for file in place.client().list_logged_model_artifacts(model.model_id)}
    loaded = mlflow.onnx.load_model(f"{place.folder}/mlartifacts/models/{model.model_id}/artifacts")
    assert loaded.graph.input[0].name == "images"


def test_a_model_file_that_was_damaged_is_uploaded_again(place: Clone, track: Callable[[], str]) -> None:
    (file,) = (place.folder / "mlartifacts").glob("models/*/artifacts/model.onnx")
    file.write_bytes(file.read_bytes()[:-1])
    assert "models:/mnist/1: model.onnx: got SHA-256" in complaint()

    track()

    is_whole(place)


def test_a_deleted_model_is_registered_again_with_its_alias(place: Clone, track: Callable[[], str]) -> None:
    client = place.client()
    (model,) = client.search_logged_models([place.parents()[0].info.experiment_id])
    client.delete_logged_model(model.model_id)
    shutil.rmtree(place.folder / "mlartifacts/models")

    assert "version 2 (champion)" in track()

    is_whole(place)
    assert "version 2 (champion)" in track()


def test_a_registered_model_that_was_deleted_is_registered_again(place: Clone, track: Callable[[], str]) -> None:
    place.client().delete_registered_model("mnist")
    assert "got none; other models: none; `make repro` registers" in complaint()

    assert "version 1 (champion)" in track()

    is_whole(place)


@pytest.mark.parametrize("collected", [False, True], ids=["deleted", "deleted and collected"])
def test_a_parent_run_that_was_deleted_is_written_again(
    place: Clone, track: Callable[[], str], collected: bool
) -> None:
    (parent,) = place.parents()
    place.client().delete_run(parent.info.run_id)
    if collected:
        collect(place)
        assert "`make track` creates it again" in complaint()

    track()

    assert place.parents()[0].info.run_id != parent.info.run_id
    is_whole(place)


def test_a_stage_run_that_was_deleted_is_written_again(place: Clone, track: Callable[[], str]) -> None:
    (train,) = place.children()["train"]
    place.client().delete_run(train.info.run_id)

    track()

    is_whole(place)
    assert place.parents()[0].data.tags["stage.train"] == place.children()["train"][0].info.run_id


@pytest.mark.parametrize("collected", [False, True], ids=["deleted", "deleted and collected"])
def test_an_experiment_that_was_deleted_is_there_again(place: Clone, track: Callable[[], str], collected: bool) -> None:
    client = place.client()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    if collected:
        collect(place)

    track()

    is_whole(place)


def test_an_alias_that_was_removed_is_set_again(place: Clone, track: Callable[[], str]) -> None:
    place.client().delete_registered_model_alias("mnist", "champion")
    assert "a version with the alias 'champion' of model 'mnist', got versions 1 (no alias)" in complaint()

    assert "version 1 (champion)" in track()

    is_whole(place)


def test_artifacts_that_a_server_kept_are_found_without_it(place: Clone, track: Callable[[], str]) -> None:
    """As after `make ui` and MLFLOW_TRACKING_URI=http://127.0.0.1:5000."""
    (place.folder / "mlartifacts").rename(place.folder / "1")
    (place.folder / "mlartifacts").mkdir()
    (place.folder / "1").rename(place.folder / "mlartifacts/1")
    recorded = place.runs()[0].info.artifact_uri.partition("/mlartifacts/")[0] + "/mlartifacts"
    with contextlib.closing(sqlite3.connect(place.folder / "mlflow.db")) as database, database:
        for table, column in COLUMNS:
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, 'mlflow-artifacts:/1')", (recorded,))
    files = contents(place.folder / "mlartifacts")

    assert "version 1 (champion)" in track()

    assert contents(place.folder / "mlartifacts") == files
    is_whole(place)


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
    place = moved(computed, tmp_path / name)
    (place.folder / "mlflow.db").unlink()
    shutil.rmtree(place.folder / "mlartifacts")
    home = {"BENTOML_HOME": str(place.folder / ".cache/bentoml"), "BENTOML_DO_NOT_TRACK": "true"}

    place.must("python", "-m", "pipeline.track")

    assert "Bento mnist-service:v1-" in place.must("python", "-m", "pipeline.packaging.bento", **home)
    assert (place.folder / "mlflow.db").is_file()
    assert list((place.folder / "mlartifacts").iterdir())
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_advice_about_an_old_schema_is_whole(place: Clone) -> None:
    with contextlib.closing(sqlite3.connect(place.folder / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")

    done = place.run("python", "-m", "pipeline.track")

    assert done.returncode == 1
    assert f"mlflow db upgrade sqlite:///{place.folder}/mlflow.db" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:5000", "expected http://127.0.0.1:5000 or https://127.0.0.1:5000"),
        ("localhost:5000", "expected http://localhost:5000"),
        ("mlflow.example.org:5000/base", "expected http://mlflow.example.org:5000/base"),
        ("mlflow", "expected an address such as http://server:5000"),
        ("./mlruns", "expected an address such as http://server:5000"),
    ],
)
def test_an_address_without_its_scheme_is_named(monkeypatch: pytest.MonkeyPatch, address: str, expected: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(TrackingError, match=re.escape(f"MLFLOW_TRACKING_URI: got {address!r}, {expected}")):
        get_tracking_uri(Path())
