"""The whole pipeline through real `dvc repro` in a clone, on synthetic digits; the tests build on each other."""

import re
import shutil
import time
from pathlib import Path

import pytest

from pipeline import stages
from pipeline.files import read_yaml
from pipeline.store import store_uri
from pipeline.track import STAGES
from tests import workplace
from tests.workplace import Workplace


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    made = workplace.make(tmp_path_factory.mktemp("dag"))
    made.must("dvc", "repro")
    return made


def locked(place: Workplace) -> dict[str, object]:
    stages: dict[str, object] = read_yaml(place.folder / "dvc.lock")["stages"]
    return stages


def test_every_file_that_dvc_yaml_names_is_made(place: Workplace) -> None:
    stages = read_yaml(place.folder / "dvc.yaml")["stages"]

    assert list(locked(place)) == list(stages)
    assert place.must("dvc", "status").strip() == "Data and pipelines are up to date."


def test_mlflow_has_a_finished_parent_with_a_finished_child_for_each_stage(place: Workplace) -> None:
    (parent,) = place.parents()
    children = place.children()

    assert {stage: len(runs) for stage, runs in children.items()} == dict.fromkeys(STAGES, 1)
    assert {run.info.status for run in place.runs()} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for (run,) in children.values()} == {parent.info.run_id}
    assert {parent.data.tags[f"stage.{stage}"] for stage in STAGES} == {run.info.run_id for (run,) in children.values()}


def test_the_parent_says_with_what_and_how_well(place: Workplace) -> None:
    (parent,) = place.parents()

    assert parent.data.params["train.optimiser.name"] == "sgd"
    assert parent.data.params["download.dataset"] == "mnist"
    assert 0 < parent.data.metrics["test_accuracy"] <= 1
    assert "validation_loss" in parent.data.metrics
    assert len(parent.data.tags["mlflow.source.git.commit"]) == 40
    assert parent.data.tags["git.dirty"] == "false"


def test_the_loss_curve_has_a_point_for_each_epoch_once(place: Workplace) -> None:
    (train,) = place.children()["train"]

    history = place.history(train, "train_loss")

    assert [point.step for point in history] == [1, 2]


def test_the_registered_model_is_the_exported_file(place: Workplace) -> None:
    version = place.client().get_model_version_by_alias("mnist", "champion")
    registered = place.download(version)

    assert registered.read_bytes() == (place.folder / "artifacts/export/model.onnx").read_bytes()


def test_the_champion_becomes_a_bento_once_and_the_bento_answers(place: Workplace, tmp_path: Path) -> None:
    home = {"BENTOML_HOME": str(tmp_path), "BENTOML_DO_NOT_TRACK": "true"}
    version = place.client().get_model_version_by_alias("mnist", "champion")

    said = [place.must("python", "-m", "pipeline.bento", **home).splitlines()[-1] for _ in range(2)]
    bento = (place.folder / ".cache/bento").read_text()
    answer = place.must("python", "-m", "serving.trial", bento, "data/7/colour-06.png", **home)

    assert said[0] == said[1] == f"model mnist:v1-{version.tags['sha256'][:8]}, Bento {bento}"
    assert re.search(rf"digit \d, confidence [01]\.\d+, mnist:v1-{version.tags['sha256'][:8]}", answer)


def test_the_task_that_train_announces_is_the_one_that_dvc_locks(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.folder)

    assert stages.about_to_run("train").inputs_key == stages.locked()["train"].inputs_key


def test_nothing_is_done_twice(place: Workplace) -> None:
    before = {run.info.run_id for run in place.runs()}

    assert "Data and pipelines are up to date." in place.must("dvc", "repro")
    place.must("python", "-m", "pipeline.track")

    assert {run.info.run_id for run in place.runs()} == before
    assert len(place.versions("mnist")) == 1


def test_a_clone_whose_lock_was_made_elsewhere_tells_its_own_mlflow(place: Workplace) -> None:
    elsewhere = f"sqlite:///{place.folder}/elsewhere.db"
    (place.folder / "artifacts/track/told.json").unlink()

    printed = place.must("dvc", "repro", MLFLOW_TRACKING_URI=elsewhere)

    assert [line for line in printed.splitlines() if line.startswith("Running")] == ["Running stage 'track':"]
    assert len(place.parents(elsewhere)) == 1


@pytest.mark.parametrize("threads", ["1", "3"])
def test_the_same_seed_gives_the_same_bytes_whatever_the_environment_says_of_threads(
    place: Workplace, threads: str
) -> None:
    before = locked(place)

    place.must("dvc", "repro", "--force", "--single-item", "train", "score", "export", OMP_NUM_THREADS=threads)

    assert locked(place) == before


def test_other_parameters_give_another_parent_that_links_what_did_not_change(place: Workplace) -> None:
    place.set("train", epochs=1)
    place.must("dvc", "repro")

    children = place.children()

    assert len(place.parents()) == 2
    assert {stage: len(children[stage]) for stage in STAGES} == {
        "download": 1, "eda": 1, "normalise": 1, "train": 2, "score": 2, "export": 2
    }  # fmt: skip


def test_going_back_runs_nothing_again_and_logs_nothing_again(place: Workplace) -> None:
    before = {run.info.run_id for run in place.runs()}
    place.set("train", epochs=2)

    printed = place.must("dvc", "repro")

    assert printed.count("is cached - skipping run") == 3
    assert "pipeline.train" not in printed
    assert {run.info.run_id for run in place.runs()} == before


def test_a_changed_picture_runs_score_and_nothing_before_it(place: Workplace) -> None:
    picture = next((place.folder / "data" / "3").glob("*.png"))
    shutil.copy(next((place.folder / "data" / "3").glob("*.jpg")), picture.with_suffix(".jpg"))

    printed = place.must("dvc", "repro")

    assert [line for line in printed.splitlines() if line.startswith("Running stage")] == [
        "Running stage 'score':", "Running stage 'export':", "Running stage 'track':"
    ]  # fmt: skip


def test_a_result_that_is_computed_again_is_one_run(place: Workplace) -> None:
    before = {run.info.run_id for run in place.runs()}
    code = place.folder / "pipeline/training.py"
    code.write_text(code.read_text() + "# another comment\n")

    printed = place.must("dvc", "repro")

    assert "Running stage 'train'" in printed
    assert "Running stage 'score'" not in printed
    place.must("python", "-m", "pipeline.track")
    assert {run.info.run_id for run in place.runs()} == before


def test_a_sqlite_file_of_a_relative_path_lies_in_the_main_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///own.db")
    assert store_uri(tmp_path) == f"sqlite:///{tmp_path}/own.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////srv/own.db")
    assert store_uri(tmp_path) == "sqlite:////srv/own.db"


def test_an_empty_store_is_filled_from_dvc_lock(place: Workplace) -> None:
    empty = f"sqlite:///{place.folder}/another.db"

    place.must("python", "-m", "pipeline.track", MLFLOW_TRACKING_URI=empty)

    assert len(place.parents(empty)) == 1
    assert {stage: len(runs) for stage, runs in place.children(empty).items()} == dict.fromkeys(STAGES, 1)
    assert [version.aliases for version in place.versions("mnist", empty)] == [["champion"]]


def test_an_artifact_that_is_not_the_locked_one_is_not_logged(place: Workplace) -> None:
    card = place.folder / "artifacts/export/model_card.md"
    kept = card.read_text()
    card.write_text("another")

    done = place.run("python", "-m", "pipeline.track")
    card.write_text(kept)

    assert done.returncode == 1
    assert "error: artifacts/export: got other contents than dvc.lock says" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_workers_of_a_queue_share_a_record(place: Workplace) -> None:
    epochs = (3, 4)
    for number in epochs:
        place.must("dvc", "exp", "run", "--queue", "--name", f"e{number}", "--set-param", f"train.epochs={number}")
    place.must("dvc", "queue", "start", "--jobs", "2")
    deadline = time.monotonic() + 240
    while "Running" in (status := place.must("dvc", "queue", "status")) or "Queued" in status:
        assert time.monotonic() < deadline, status
        time.sleep(2)

    assert status.count("Success") == len(epochs), status
    assert {f"e{number}" for number in epochs} <= {run.info.run_name for run in place.parents()}
    assert {stage: len(runs) for stage, runs in place.children().items() if stage != "export"} == {
        "download": 1, "eda": 1, "normalise": 1, "train": 4, "score": 5
    }  # fmt: skip


def test_an_experiment_that_mlflow_was_not_told_of_is_told_when_typed_again(place: Workplace) -> None:
    small = "train.optimiser.weight_decay=0.00001"  # DVC writes it as 1e-05
    command = ("dvc", "exp", "run", "--temp", "--name", "untold", "--set-param", "train.epochs=5", "--set-param", small)
    done = place.run(*command, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode != 0
    assert "the same command, typed again, then only tells MLflow" in done.stderr

    printed = place.must(*command)

    assert "pipeline.train" not in printed
    assert "untold" in {run.info.run_name for run in place.parents()}
