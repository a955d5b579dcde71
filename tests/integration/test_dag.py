"""The whole pipeline through real `dvc repro` in a clone, on synthetic digits."""

import re
import shutil
from pathlib import Path

import pytest

from pipeline.core.files import read_yaml
from pipeline.track import STAGES
from pipeline.tracking import dvc_lock
from pipeline.tracking.tracking_uri import get_tracking_uri
from tests.support.project_clone import LOG, Clone, moved


@pytest.fixture
def place(computed: Clone, tmp_path: Path) -> Clone:
    """A copy of it, for a test that changes something."""
    return moved(computed, tmp_path / "clone")


def locked(place: Clone) -> dict[str, object]:
    stages: dict[str, object] = read_yaml(place.folder / "dvc.lock")["stages"]
    return stages


def run_ids(place: Clone) -> set[str]:
    return {run.info.run_id for run in place.runs()}


def stages_run(printed: str) -> list[str]:
    return re.findall(r"^Running stage '(\w+)'", printed, re.MULTILINE)


def commit_as_advised(place: Clone, printed: str) -> None:
    """Type the commands that `track` prints when results are not committed yet."""
    (command,) = re.findall(r"^  (git add .+)$", printed, re.MULTILINE)
    place.must("bash", "-c", command)


def uncommitted(place: Clone) -> str:
    return place.must("git", "status", "--porcelain")


def test_every_file_that_dvc_yaml_names_is_made(place: Clone) -> None:
    assert list(locked(place)) == list(read_yaml(place.folder / "dvc.yaml")["stages"])
    assert place.must("dvc", "status").strip() == "Data and pipelines are up to date."


def test_mlflow_has_a_finished_parent_with_a_finished_child_for_each_stage(computed: Clone) -> None:
    (parent,) = computed.parents()
    children = computed.children()

    assert {stage: len(runs) for stage, runs in children.items()} == dict.fromkeys(STAGES, 1)
    assert {run.info.status for run in computed.runs()} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for (run,) in children.values()} == {parent.info.run_id}
    assert {parent.data.tags[f"stage.{stage}"] for stage in STAGES} == {run.info.run_id for (run,) in children.values()}


def test_the_parent_says_with_what_and_how_well(computed: Clone) -> None:
    (parent,) = computed.parents()

    assert parent.data.params["train.optimizer.name"] == "sgd"
    assert parent.data.params["train.threads"] == "auto"
    assert parent.data.params["download.dataset"] == "mnist"
    assert 0 < parent.data.metrics["test_accuracy"] <= 1
    assert "validation_loss" in parent.data.metrics
    assert len(parent.data.tags["mlflow.source.git.commit"]) == 40
    assert parent.data.tags["git.dirty"] == "false"


def test_the_loss_curve_has_a_point_for_each_epoch_once(computed: Clone) -> None:
    (train,) = computed.children()["train"]

    assert [point.step for point in computed.history(train, "train_loss")] == [1, 2]


def test_the_registered_model_is_the_exported_file(computed: Clone) -> None:
    version = computed.client().get_model_version_by_alias("mnist", "champion")

    assert computed.download(version).read_bytes() == (computed.folder / "artifacts/export/model.onnx").read_bytes()


def test_the_task_that_train_announces_is_the_one_that_dvc_locks(
    computed: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(computed.folder)

    assert dvc_lock.read_stage("train").inputs_key == dvc_lock.read_lock()["train"].inputs_key


def test_the_champion_becomes_a_bento_once_and_the_bento_answers(place: Clone, tmp_path: Path) -> None:
    home = {"BENTOML_HOME": str(tmp_path)}
    version = place.client().get_model_version_by_alias("mnist", "champion")

    said = [place.must("python", "-m", "pipeline.packaging.bento", **home).splitlines()[-1] for _ in range(2)]
    bento = (place.folder / ".cache/bento").read_text()
    answer = place.must("python", "-m", "serving.smoke_test", bento, "data/7/colour-06.png", **home)

    assert said[0] == said[1] == f"model mnist:v1-{version.tags['sha256'][:8]}, Bento {bento}"
    assert re.search(rf"digit \d, confidence [01]\.\d+, mnist:v1-{version.tags['sha256'][:8]}", answer)


def test_nothing_is_done_twice(place: Clone) -> None:
    before = run_ids(place)

    assert "Data and pipelines are up to date." in place.must("dvc", "repro")
    place.must("python", "-m", "pipeline.track")

    assert run_ids(place) == before
    assert len(place.versions("mnist")) == 1


def test_a_clone_whose_lock_was_made_elsewhere_fills_its_own_mlflow(place: Clone) -> None:
    elsewhere = f"sqlite:///{place.folder}/elsewhere.db"
    (place.folder / "artifacts/track/synced.json").unlink()

    printed = place.must("dvc", "repro", MLFLOW_TRACKING_URI=elsewhere)

    assert stages_run(printed) == ["track"]
    assert len(place.parents(elsewhere)) == 1
    assert {stage: len(runs) for stage, runs in place.children(elsewhere).items()} == dict.fromkeys(STAGES, 1)
    assert [version.aliases for version in place.versions("mnist", elsewhere)] == [["champion"]]


def test_a_repro_says_how_to_commit_all_that_it_made_and_what_is_committed_needs_no_advice(place: Clone) -> None:
    commit_as_advised(place, (place.folder / LOG).read_text())

    assert uncommitted(place) == ""
    assert "git add" not in place.must("python", "-m", "pipeline.track")


def test_the_same_seed_gives_the_same_bytes_whatever_the_environment_says_of_threads(place: Clone) -> None:
    before = locked(place)

    place.must("dvc", "repro", "--force", "--single-item", "train", "score", "export", OMP_NUM_THREADS="3")

    assert locked(place) == before


def test_other_parameters_compute_what_depends_on_them_and_going_back_computes_nothing(place: Clone) -> None:
    place.set("train", epochs=1)
    place.must("dvc", "repro")
    children = place.children()

    assert len(place.parents()) == 2
    assert {stage: len(children[stage]) for stage in STAGES} == {
        "download": 1, "eda": 1, "normalise": 1, "train": 2, "score": 2, "export": 2
    }  # fmt: skip

    before = run_ids(place)
    place.set("train", epochs=2)
    printed = place.must("dvc", "repro")

    assert printed.count("is cached - skipping run") == 3
    assert "pipeline.train" not in printed
    assert run_ids(place) == before


def test_a_changed_picture_runs_score_and_nothing_before_it(place: Clone) -> None:
    picture = next((place.folder / "data" / "3").glob("*.png"))
    shutil.copy(next((place.folder / "data" / "3").glob("*.jpg")), picture.with_suffix(".jpg"))

    printed = place.must("dvc", "repro")

    assert stages_run(printed) == ["score", "export", "track"]
    commit_as_advised(place, printed)
    assert uncommitted(place) == ""  # the picture and the figures, too


def test_a_result_that_is_computed_again_is_one_run(place: Clone) -> None:
    before = run_ids(place)
    code = place.folder / "pipeline/training/trainer.py"
    code.write_text(code.read_text(encoding="utf-8") + "# another comment\n", encoding="utf-8")

    printed = place.must("dvc", "repro")

    assert "Running stage 'train'" in printed
    assert "Running stage 'score'" not in printed
    place.must("python", "-m", "pipeline.track")
    assert run_ids(place) == before


def test_a_sqlite_file_of_a_relative_path_lies_in_the_main_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///own.db")
    assert get_tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/own.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////srv/own.db")
    assert get_tracking_uri(tmp_path) == "sqlite:////srv/own.db"


def test_an_artifact_that_is_not_the_locked_one_is_not_logged(place: Clone) -> None:
    (place.folder / "artifacts/export/model_card.md").write_text("another")

    done = place.run("python", "-m", "pipeline.track")

    assert done.returncode == 1
    assert "error: artifacts/export: got other contents than those in dvc.lock" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_experiment_that_mlflow_did_not_get_reaches_it_when_typed_again(place: Clone) -> None:
    command = ("dvc", "exp", "run", "--temp", "--name", "later", "--set-param", "score.first=10")
    done = place.run(*command, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode != 0
    assert "the same command, typed again, only syncs to MLflow" in done.stderr

    printed = place.must(*command)

    assert stages_run(printed) == ["track"]
    assert "later" in {run.info.run_name for run in place.parents()}
