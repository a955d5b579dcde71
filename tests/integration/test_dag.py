"""The whole pipeline under `dvc repro` in a clone, on synthetic digits."""

import re
import shutil
from pathlib import Path

import pytest

from pipeline.core.config import SECTIONS
from pipeline.core.environment import PINS_FILE
from pipeline.core.execution import execution_path
from pipeline.core.files import read_json, read_yaml
from pipeline.core.stage_inputs import read_stage
from pipeline.tracking import dvc_lock
from pipeline.tracking.tracking_uri import get_tracking_uri
from tests.support.dvc_output import commit_as_advised, stages_run, uncommitted
from tests.support.project_clone import LOG, Clone, duplicate


@pytest.fixture
def clone(computed: Clone, tmp_path: Path) -> Clone:
    """A copy of the computed clone, for a test that changes it."""
    return duplicate(computed, tmp_path / "clone")


def locked(clone: Clone) -> dict[str, object]:
    stages: dict[str, object] = read_yaml(clone.folder / "dvc.lock")["stages"]
    return stages


def executions(clone: Clone) -> dict[str, Path]:
    """Where the execution of each result in dvc.lock is, by stage."""
    stages = dvc_lock.read_lock(clone.folder / "dvc.lock")
    return {name: execution_path(clone.folder, name, stages[name].inputs_key) for name in SECTIONS}


def run_ids(clone: Clone) -> set[str]:
    return {run.info.run_id for run in clone.runs()}


def test_every_file_named_in_dvc_yaml_is_written(clone: Clone) -> None:
    assert list(locked(clone)) == list(read_yaml(clone.folder / "dvc.yaml")["stages"])
    assert clone.check_output("dvc", "status").strip() == "Data and pipelines are up to date."


def test_mlflow_has_a_finished_parent_with_a_finished_child_for_each_stage(computed: Clone) -> None:
    (parent,) = computed.parents()
    children = computed.children()

    assert {stage: len(runs) for stage, runs in children.items()} == dict.fromkeys(SECTIONS, 1)
    assert {run.info.status for run in computed.runs()} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for (run,) in children.values()} == {parent.info.run_id}
    assert {parent.data.tags[f"stage.{stage}"] for stage in SECTIONS} == {
        run.info.run_id for (run,) in children.values()
    }


def test_the_parent_run_has_parameters_metrics_and_the_commit(computed: Clone) -> None:
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
    version = computed.client().get_model_version_by_alias("mnist", "candidate")

    assert computed.download(version).read_bytes() == (computed.folder / "artifacts/export/model.onnx").read_bytes()


def test_the_inputs_key_before_a_training_is_the_one_in_dvc_lock_after_it(
    computed: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(computed.folder)

    assert read_stage("train").inputs_key == dvc_lock.read_lock()["train"].inputs_key


def test_every_stage_writes_its_execution_under_the_key_of_its_inputs_in_dvc_lock(computed: Clone) -> None:
    written = {name: read_json(path) for name, path in executions(computed).items()}
    stages = dvc_lock.read_lock(computed.folder / "dvc.lock")

    assert {path.name for path in (computed.folder / ".cache/executions").iterdir()} == {
        path.name for path in executions(computed).values()
    }
    for name, execution in written.items():
        assert (execution["stage"], execution["inputs_key"]) == (name, stages[name].inputs_key)
        assert list(execution["packages"]) == sorted(stages[name].params[str(PINS_FILE)])
    assert written["train"]["cpu_seconds"] > 0
    assert {name for name in SECTIONS if "precision" in written[name]} == {"train", "score", "export"}
    starts = [written[name]["start"] for name in ("download", "normalise", "train", "score", "export")]
    assert starts == sorted(starts)


def test_after_an_upgrade_of_torch_dvc_names_the_stages_that_compute_with_it(clone: Clone) -> None:
    pins = clone.folder / PINS_FILE
    pins.write_text(re.sub(r'^torch: ".*"$', 'torch: "99.0"', pins.read_text(), flags=re.MULTILINE))

    printed = clone.check_output("dvc", "status", "download", "eda", "normalise", "train", "score", "export")

    changed = {name for name in SECTIONS if f"{name}:\n" in printed}
    assert changed == {"train", "score", "export"}
    assert "torch" in printed


def test_after_an_upgrade_of_pytest_dvc_names_nothing(clone: Clone) -> None:
    lock = clone.folder / "requirements.lock"
    text = lock.read_text()
    lock.write_text(re.sub(r"^pytest==\S+", "pytest==99.0", text, flags=re.MULTILINE))
    clone.check_output("python", "-m", "pipeline.core.environment")

    assert lock.read_text() != text
    assert clone.check_output("dvc", "status").strip() == "Data and pipelines are up to date."


def test_the_candidate_becomes_a_bento_once_and_the_bento_answers(clone: Clone, tmp_path: Path) -> None:
    home = {"BENTOML_HOME": str(tmp_path)}
    version = clone.client().get_model_version_by_alias("mnist", "candidate")

    printed = [
        clone.check_output("python", "-m", "pipeline.packaging.bento", "--alias", "candidate", **home).splitlines()[-1]
        for _ in range(2)
    ]
    bento = (clone.folder / ".cache/bento").read_text()
    answer = clone.check_output("python", "-m", "serving.smoke_test", bento, "data/7/colour-06.png", **home)

    tag = bento.partition("-service:")[2].rpartition("-")[0]
    assert tag.startswith(f"v{version.version}-")
    assert printed[0] == printed[1] == f"model mnist:{tag}, Bento {bento}"
    assert re.search(rf"digit \d, confidence [01]\.\d+, mnist:{tag}", answer)


def test_nothing_is_done_twice(clone: Clone) -> None:
    before = run_ids(clone)

    assert "Data and pipelines are up to date." in clone.check_output("dvc", "repro")
    clone.check_output("python", "-m", "pipeline.track")

    assert run_ids(clone) == before
    assert len(clone.versions("mnist")) == 1


def test_a_clone_whose_lock_was_written_elsewhere_syncs_to_its_own_mlflow(clone: Clone) -> None:
    elsewhere = f"sqlite:///{clone.folder}/elsewhere.db"
    (clone.folder / "artifacts/track/synced.json").unlink()

    printed = clone.check_output("dvc", "repro", MLFLOW_TRACKING_URI=elsewhere)

    assert stages_run(printed) == ["track"]
    assert len(clone.parents(elsewhere)) == 1
    assert {stage: len(runs) for stage, runs in clone.children(elsewhere).items()} == dict.fromkeys(SECTIONS, 1)
    assert [version.aliases for version in clone.versions("mnist", elsewhere)] == [["candidate"]]


def test_a_repro_prints_how_to_commit_all_its_results_and_nothing_once_they_are_committed(clone: Clone) -> None:
    commit_as_advised(clone, (clone.folder / LOG).read_text())

    assert uncommitted(clone) == ""
    assert "git add" not in clone.check_output("python", "-m", "pipeline.track")


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_threads_in_the_environment(clone: Clone) -> None:
    before = locked(clone)

    clone.check_output("dvc", "repro", "--force", "--single-item", "train", "score", "export", OMP_NUM_THREADS="3")

    assert locked(clone) == before


def test_other_parameters_compute_what_depends_on_them_and_going_back_computes_nothing(clone: Clone) -> None:
    clone.set("train", epochs=1)
    clone.check_output("dvc", "repro")
    children = clone.children()

    assert len(clone.parents()) == 2
    assert {stage: len(children[stage]) for stage in SECTIONS} == {
        "download": 1, "eda": 1, "normalise": 1, "train": 2, "score": 2, "export": 2
    }  # fmt: skip

    assert {run.data.params["train.epochs"] for run in clone.parents()} == {"1", "2"}

    before = run_ids(clone)
    clone.set("train", epochs=2)
    printed = clone.check_output("dvc", "repro")

    assert printed.count("is cached - skipping run") == 3
    assert "pipeline.train" not in printed
    assert all(path.is_file() for path in executions(clone).values())  # of the runs that computed the results
    assert run_ids(clone) == before


def test_a_changed_picture_is_scored_and_trains_nothing(clone: Clone) -> None:
    picture = next((clone.folder / "data" / "3").glob("*.png"))
    shutil.copy(next((clone.folder / "data" / "3").glob("*.jpg")), picture.with_suffix(".jpg"))

    printed = clone.check_output("dvc", "repro")

    assert stages_run(printed) == ["normalise", "score", "export", "track"]  # it may be a correction; training stays
    commit_as_advised(clone, printed)
    assert uncommitted(clone) == ""  # the picture and the figures, too


def test_a_result_that_is_computed_again_stays_one_run(clone: Clone) -> None:
    before = run_ids(clone)
    code = clone.folder / "pipeline/training/trainer.py"
    code.write_text(code.read_text(encoding="utf-8") + "# another comment\n", encoding="utf-8")

    printed = clone.check_output("dvc", "repro")

    assert "Running stage 'train'" in printed
    assert "Running stage 'score'" not in printed
    clone.check_output("python", "-m", "pipeline.track")
    assert run_ids(clone) == before


def test_a_relative_path_to_sqlite_is_resolved_in_the_main_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///own.db")
    assert get_tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/own.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////srv/own.db")
    assert get_tracking_uri(tmp_path) == "sqlite:////srv/own.db"


def test_an_artifact_that_differs_from_dvc_lock_is_not_logged(clone: Clone) -> None:
    (clone.folder / "artifacts/export/model_card.md").write_text("another")

    done = clone.run("python", "-m", "pipeline.track")

    assert done.returncode == 1
    assert "error: artifacts/export/model_card.md: got contents that differ from dvc.lock" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_experiment_that_was_not_synced_is_synced_by_the_same_command(clone: Clone) -> None:
    command = ("dvc", "exp", "run", "--temp", "--name", "later", "--set-param", "score.first=10")
    done = clone.run(*command, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode != 0
    assert "run the same command again to sync them to MLflow" in done.stderr

    printed = clone.check_output(*command)

    assert stages_run(printed) == ["track"]
    assert len(list((clone.folder / ".cache/executions").glob("score-*.json"))) == 2  # here, not in a temporary copy
    assert "later" in {run.info.run_name for run in clone.parents()}
