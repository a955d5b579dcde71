"""DVC's queue: two workers at once, which take a minute to start and to stop."""

import time
from pathlib import Path

from tests.support.dvc_output import commit_as_advised, stages_run, uncommitted
from tests.support.project_clone import LOG, Clone, duplicate


def with_two_experiments(computed: Clone, folder: Path) -> Clone:
    """A copy of the clone whose results were committed as advised, and whose queue has run two experiments at once."""
    clone = duplicate(computed, folder)
    commit_as_advised(clone, (clone.folder / LOG).read_text())
    for epochs in (3, 4):
        clone.check_output(
            "dvc", "exp", "run", "--queue", "--name", f"e{epochs}", "--set-param", f"train.epochs={epochs}"
        )
    clone.check_output("dvc", "queue", "start", "--jobs", "2")
    deadline = time.monotonic() + 600
    while "Running" in (status := clone.check_output("dvc", "queue", "status")) or "Queued" in status:
        assert time.monotonic() < deadline, status
        time.sleep(1)
    assert status.count("Success") == 2, status
    return clone


def test_queued_experiments_share_a_store_and_going_back_from_one_computes_nothing(
    computed: Clone, tmp_path: Path
) -> None:
    clone = with_two_experiments(computed, tmp_path / "clone")

    parents = {run.info.run_name: run.info.run_id for run in clone.parents()}
    client = clone.client()
    for name in ("e3", "e4"):
        assert client.get_model_version_by_alias("mnist", name).tags["parent_run"] == parents[name]
    assert {stage: len(runs) for stage, runs in clone.children().items() if stage != "export"} == {
        "download": 1, "eda": 1, "normalise": 1, "train": 3, "score": 3
    }  # fmt: skip

    # Another experiment with the same result sets its own alias on the same model.
    clone.check_output("dvc", "exp", "run", "--temp", "--name", "same", "--set-param", "train.epochs=3")
    same, first = (client.get_model_version_by_alias("mnist", name) for name in ("same", "e3"))
    assert same.version == first.version

    clone.check_output("dvc", "exp", "apply", "e3")
    assert "dvc.lock" in uncommitted(clone)
    clone.check_output("git", "checkout", "--quiet", ".")
    clone.check_output("dvc", "checkout")
    assert stages_run(clone.check_output("dvc", "repro")) in ([], ["track"])
    assert uncommitted(clone) == ""
