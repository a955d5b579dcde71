"""`make promote` and `make rollback` on models that the pipeline has computed from synthetic digits."""

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from serving.smoke_test import running
from tests.support.project_clone import NO_MLFLOW, Clone, duplicate

BETTER: dict[str, Any] = {"epochs": 8, "averaging": 0.0}


@pytest.fixture
def clone(computed: Clone, tmp_path: Path) -> Clone:
    """A copy of the computed clone with its results committed, whose model has become the first champion, and a BentoML
    store of its own."""
    clone = duplicate(computed, tmp_path / "clone")
    commit_results(clone)
    clone.environment["BENTOML_HOME"] = str(tmp_path / "bentoml")
    assert promote(clone).returncode == 0
    return clone


def promote(clone: Clone, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return clone.run("python", "-m", "pipeline.promotion.promote", *arguments, **environment)


def commit_results(clone: Clone) -> None:
    clone.check_output("git", "add", "--all")
    clone.check_output("git", "commit", "--quiet", "--message", "results")


def repro(clone: Clone, section: str, **values: Any) -> None:
    """Commit other parameters, compute and register their model, and commit its results."""
    clone.set(section, **values)
    clone.check_output("git", "commit", "--quiet", "--message", "other parameters", "params.yaml")
    clone.check_output("dvc", "repro")
    commit_results(clone)


def aliases(clone: Clone, name: str = "mnist") -> dict[str, str]:
    found = clone.client().get_registered_model(name).aliases
    return {alias: str(version) for alias, version in found.items()}


def reasons(printed: str) -> dict[str, str]:
    """`passed` or `FAILED` of each criterion that was printed."""
    return {name: result for result, name in re.findall(r"^  (passed|FAILED)  ([\w ]+?)  ", printed, re.MULTILINE)}


def failed(printed: str) -> set[str]:
    return {name for name, result in reasons(printed).items() if result == "FAILED"}


def test_dvc_repro_registers_a_candidate_and_the_first_one_within_the_limits_becomes_champion(
    computed: Clone, tmp_path: Path
) -> None:
    clone = duplicate(computed, tmp_path / "clone")
    assert aliases(clone) == {"candidate": "1"}

    clone.set("promote", min_accuracy=1.0)
    refused = promote(clone)
    assert refused.returncode == 1
    assert failed(refused.stdout) == {"limit of accuracy"}
    assert (
        "error: mnist version 1 is refused: limit of accuracy, see above; there is still no champion" in refused.stderr
    )
    assert aliases(clone) == {"candidate": "1"}

    clone.set("promote", min_accuracy=0.0)
    promoted = promote(clone)
    assert promoted.returncode == 0, promoted.stdout + promoted.stderr
    assert promoted.stdout.startswith("mnist version 1: promoted; there was no champion\n")
    assert aliases(clone) == {"candidate": "1", "champion": "1"}
    assert promote(clone).stdout == "mnist version 1 is the champion\n"


def test_a_better_candidate_is_promoted_an_equal_one_refused_and_a_worse_one_refused(clone: Clone) -> None:
    repro(clone, "train", **BETTER)
    better = promote(clone)
    assert better.returncode == 0, better.stdout + better.stderr
    assert failed(better.stdout) == set()
    assert re.search(r"passed  accuracy +10\.\d+% → \d+\.\d+%; of \d+ images \d+ are wrong now", better.stdout)
    assert "champion: mnist version 2, previous: 1" in better.stdout
    assert aliases(clone) == {"candidate": "2", "champion": "2", "previous": "1"}

    repro(clone, "export", opset=21)  # another file of the same weights
    equal = promote(clone)
    assert equal.returncode == 1
    assert failed(equal.stdout) == {"evidence"}
    assert "no evidence that it is better" in equal.stdout
    assert "error: mnist version 3 is refused: evidence, see above; the champion is still version 2." in equal.stderr

    worse = promote(clone, "--version", "1")
    assert worse.returncode == 1
    assert {"accuracy", "NLL", "evidence"} <= failed(worse.stdout)
    assert aliases(clone) == {"candidate": "3", "champion": "2", "previous": "1"}

    version = clone.client().get_model_version("mnist", "3")
    assert (version.tags["promotion"], version.tags["promotion.champion"]) == ("refused", "2")
    assert version.tags["promotion.reasons"] in equal.stdout
    (shown,) = clone.client().list_artifacts(version.tags["parent_run"], "promotion")
    text = Path(clone.client().download_artifacts(version.tags["parent_run"], shown.path)).read_text(encoding="utf-8")
    assert "| **failed** | evidence | no evidence that it is better" in text

    shown_only = promote(clone, "--exported", "--exit-zero")
    assert shown_only.returncode == 0
    assert "the champion is still version 2" in shown_only.stdout


def test_a_rollback_returns_to_the_former_champion_which_the_next_service_has(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = clone.run("python", "-m", "pipeline.promotion.rollback")
    assert alone.returncode == 1
    assert "error: mnist: expected a version with the alias 'previous'" in alone.stderr
    repro(clone, "train", **BETTER)
    assert promote(clone).returncode == 0

    start = time.monotonic()
    done = clone.check_output("python", "-m", "pipeline.promotion.rollback")
    print(f"rollback: {time.monotonic() - start:.1f} s")

    assert done.startswith("champion: mnist version 1 instead of 2, which is `previous` now")
    assert aliases(clone) == {"candidate": "2", "champion": "1", "previous": "2"}
    clone.check_output("python", "-m", "pipeline.packaging.bento")
    bento = (clone.folder / ".cache/bento").read_text()
    assert bento.startswith("mnist-service:v1-")
    monkeypatch.setenv("BENTOML_HOME", clone.environment["BENTOML_HOME"])
    with running(bento, clone.folder / ".cache" / "service.log") as url:
        assert httpx2.get(f"{url}/model").json()["model"].startswith("mnist:v1-")

    again = promote(clone)
    assert failed(again.stdout) == {"rollback"}
    assert "`make rollback` replaced it on 20" in again.stdout
    clone.check_output("python", "-m", "pipeline.promotion.rollback")
    assert aliases(clone) == {"candidate": "2", "champion": "2", "previous": "1"}
    clone.check_output("python", "-m", "pipeline.packaging.bento")
    assert (clone.folder / ".cache/bento").read_text().startswith("mnist-service:v2-")


def test_a_former_champion_that_git_cannot_vouch_for_any_more_is_named_and_nothing_moves(
    computed: Clone, tmp_path: Path
) -> None:
    clone = duplicate(computed, tmp_path / "clone")  # its results are not committed
    assert promote(clone).returncode == 0
    repro(clone, "export", opset=21)
    assert promote(clone, "--force", "newer").returncode == 0

    done = clone.run("python", "-m", "pipeline.promotion.rollback")

    assert done.returncode == 1
    assert "error: models:/mnist/1: model.onnx: got MD5 " in done.stderr
    assert aliases(clone) == {"candidate": "2", "champion": "2", "previous": "1"}


def test_uncommitted_changes_are_refused_until_they_are_committed_and_a_force_is_recorded(clone: Clone) -> None:
    clone.set("train", **BETTER)
    clone.check_output("dvc", "repro")
    dirty = promote(clone)
    assert dirty.returncode == 1
    assert failed(dirty.stdout) == {"clean commit"}
    assert "commit the changes, run `make track`, then `make promote`" in dirty.stdout

    forced = promote(clone, "--force", 'the demonstration\'s "today"')
    assert forced.returncode == 0
    assert aliases(clone)["champion"] == "2"
    tags = clone.client().get_model_version("mnist", "2").tags
    assert tags["promotion"] == "forced"
    assert tags["promotion.reasons"].startswith('mnist version 2: forced (the demonstration\'s "today"); compared with')

    clone.check_output("python", "-m", "pipeline.promotion.rollback")
    clone.client().delete_model_version_tag("mnist", "2", "rolled_back")
    commit_results(clone)
    clone.check_output("python", "-m", "pipeline.track")
    clean = promote(clone)
    assert clean.returncode == 0, clean.stdout
    assert failed(clean.stdout) == set()


def test_an_experiment_only_registers_and_its_own_commit_counts(clone: Clone) -> None:
    settings = [f"--set-param=train.{name}={value}" for name, value in BETTER.items()]
    clone.check_output("dvc", "exp", "run", "--temp", "--name", "long", *settings)
    assert aliases(clone) == {"candidate": "2", "champion": "1", "long": "2"}

    promoted = promote(clone, "--alias", "long")

    assert promoted.returncode == 0, promoted.stdout + promoted.stderr
    assert "with other parameters" in promoted.stdout
    assert promote(clone, "--exported").returncode == 1  # the model in artifacts/ is the former champion
    assert aliases(clone)["champion"] == "2"


def test_with_another_validation_split_both_models_answer_the_same_images(clone: Clone) -> None:
    repro(clone, "normalise", seed=2)
    with clone.changed("promote", significance=0.4):
        printed = promote(clone).stdout

    assert "compared with the champion, version 1" in printed
    assert re.search(r"on +\d+ validation images \(without \d+ of them on which the champion was trained\)", printed)
    assert {"accuracy", "NLL", "ECE", "own handwriting", "evidence"} <= set(reasons(printed))


def test_a_model_of_an_earlier_data_set_is_compared_on_its_images_from_dvcs_cache(clone: Clone) -> None:
    repro(clone, "normalise", seed=2)
    assert promote(clone, "--force", "newer").returncode == 0

    assert "compared with the champion, version 2" in promote(clone, "--version", "1").stdout


def test_a_file_that_is_not_the_registered_one_is_refused_whatever_the_force(clone: Clone) -> None:
    repro(clone, "export", opset=21)
    for file in (clone.folder / "mlartifacts").glob("models/*/artifacts/model.onnx"):
        file.write_bytes(file.read_bytes() + b"\0")

    done = promote(clone, "--force", "anyway")

    assert done.returncode == 1
    assert "error: models:/mnist/2: model.onnx: got SHA-256 " in done.stderr
    assert aliases(clone)["champion"] == "1"


def test_without_a_server_the_error_is_a_sentence(clone: Clone) -> None:
    for module in ("promote", "rollback"):
        done = clone.run("python", "-m", f"pipeline.promotion.{module}", **NO_MLFLOW)
        assert done.returncode == 1
        assert done.stderr.startswith("error: MLFLOW_TRACKING_URI: expected an MLflow server at http://127.0.0.1:9")
