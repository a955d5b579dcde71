"""`dvc repro` on MNIST as committed, on the published archives."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest

from pipeline.core.config import SECTIONS
from pipeline.core.files import read_yaml
from tests.support.project_clone import ROOT, Clone, git_clone


def metrics(clone: Clone) -> Any:
    return json.loads((clone.folder / "artifacts/score/metrics.json").read_text())


def code(stage: Any) -> dict[str, str]:
    """The hashes of a stage's modules in dvc.lock, by path."""
    return {entry["path"]: entry["md5"] for entry in stage["deps"] if entry["path"].endswith(".py")}


def test_the_accuracy_on_the_test_set_is_at_least_the_documented_one(mnist: Clone) -> None:
    scores = metrics(mnist)

    assert scores["test"]["images"] == 10_000
    assert scores["test"]["accuracy"] >= 0.995
    assert scores["handwriting"]["images"] >= 100
    assert scores["handwriting"]["accuracy"] >= 0.95


def test_the_network_takes_no_more_operations_than_documented(mnist: Clone) -> None:
    """Operations, because the time depends on the machine: two for a multiplication and its addition."""
    summary = (mnist.folder / "artifacts/export/summary.txt").read_text(encoding="utf-8")
    (multiplications,) = re.findall(r"^total +[\d,]+ +([\d,]+)$", summary, re.MULTILINE)

    assert 2 * int(multiplications.replace(",", "")) <= 5_000_000


def test_the_computed_statistics_are_the_published_ones(mnist: Clone) -> None:
    statistics = json.loads((mnist.folder / "artifacts/normalise/statistics.json").read_text())

    assert statistics["mean"] == pytest.approx(0.1307, abs=5e-4)
    assert statistics["standard_deviation"] == pytest.approx(0.3081, abs=5e-4)
    assert statistics["train_images"] + statistics["validation_images"] == 60_000


def test_what_does_not_depend_on_the_processor_has_the_committed_hashes(mnist: Clone) -> None:
    computed = read_yaml(mnist.folder / "dvc.lock")["stages"]
    committed = read_yaml(ROOT / "dvc.lock")["stages"]

    for stage in ("download", "eda", "normalise"):
        assert computed[stage] == committed[stage], stage
    for stage in SECTIONS:
        assert computed[stage]["params"] == committed[stage]["params"], stage
        assert code(computed[stage]) == code(committed[stage]), stage


def test_dvcs_commands_show_the_results_and_find_them_up_to_date(mnist: Clone) -> None:
    assert "Data and pipelines are up to date." in mnist.check_output("dvc", "repro")
    assert "artifacts/score/metrics.json" in mnist.check_output("dvc", "metrics", "show")
    assert "train" in mnist.check_output("dvc", "dag")
    assert "index.html" in mnist.check_output("dvc", "plots", "show")


def test_dvc_compares_an_experiment_with_what_is_committed(mnist: Clone) -> None:
    with mnist.changed("train", epochs=1):
        params_diff = mnist.check_output("dvc", "params", "diff", "--md")
        metrics_diff = mnist.check_output("dvc", "metrics", "diff", "--md", "--all")

    assert re.search(r"\| params.yaml *\| train.epochs *\| \d+ *\| 1 *\|", params_diff)
    assert "test.accuracy" in metrics_diff


def test_another_clone_pulls_everything_from_a_remote_and_syncs_its_own_mlflow(mnist: Clone, tmp_path: Path) -> None:
    other = git_clone(tmp_path / "other")
    with mnist.preserved(".dvc/config"):
        mnist.check_output("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
        mnist.check_output("dvc", "push")
        # What a commit would bring: the lock, and the metrics that belong to it on this processor.
        for name in ("dvc.lock", ".dvc/config", *mnist.check_output("git", "ls-files", "artifacts").split()):
            shutil.copy(mnist.folder / name, other.folder / name)

    other.check_output("dvc", "pull", "--allow-missing")  # without what `track` wrote, which is in no cache
    other.check_output("python", "-m", "pipeline.track")

    candidate = other.client().get_model_version_by_alias("mnist", "candidate")
    assert other.download(candidate).read_bytes() == (mnist.folder / "artifacts/export/model.onnx").read_bytes()


def test_fashion_mnist_needs_only_its_name(mnist: Clone) -> None:
    settings = ("download.dataset=fashion_mnist", "train.epochs=1")
    mnist.check_output(
        "dvc", "exp", "run", "--temp", "--name", "clothes", *(f"--set-param={setting}" for setting in settings)
    )

    clothes = mnist.client().get_model_version_by_alias("fashion_mnist", "clothes")
    assert float(clothes.tags["test_accuracy"]) > 0.8
    metadata = {entry.key: entry.value for entry in onnx.load(mnist.download(clothes)).metadata_props}
    assert "Ankle boot" in json.loads(metadata["classes"])


def test_mlflow_has_the_run_and_the_champion(mnist: Clone) -> None:
    (parent,) = [run for run in mnist.parents() if run.info.run_name.startswith("mnist-")]
    champion = mnist.client().get_model_version_by_alias("mnist", "champion")

    assert parent.data.metrics["test_accuracy"] == metrics(mnist)["test"]["accuracy"]
    assert set(mnist.children()) == set(SECTIONS)
    assert mnist.download(champion).read_bytes() == (mnist.folder / "artifacts/export/model.onnx").read_bytes()


def test_the_textbooks_network_by_parameters_alone_gives_the_textbooks_accuracy(mnist: Clone) -> None:
    mnist.check_output("make", "--old-file=.venv/locked", "textbook")

    (run,) = [run for run in mnist.parents() if run.info.run_name == "textbook"]
    assert 0.90 <= run.data.metrics["test_accuracy"] < 0.92
    assert mnist.client().get_model_version_by_alias("mnist", "textbook").tags["test_accuracy"].startswith("0.9")
    assert "champion" not in mnist.client().get_model_version_by_alias("mnist", "textbook").aliases
    assert metrics(mnist)["test"]["accuracy"] >= 0.995
