"""`make sweep` by DVC's real queue and MLflow's real store, on one stage that takes no time.

Killed in the middle, it goes on; an experiment that fails stops no other; what was computed is not computed again.
"""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from mlflow.entities import Run

from pipeline.experiments.sweep_record import read_result
from tests.support import project_clone
from tests.support.project_clone import Clone
from tests.support.waiting import wait_until

# Counts its runs; `train.epochs=3` fails, `train.epochs=2` takes until there is a file `go`.
STAGE = """\
import json, os, pathlib, time, yaml
train = yaml.safe_load(open("params.yaml"))["train"]
root = pathlib.Path(os.environ["DVC_ROOT"])
runs = root / f"runs-{train['epochs']}-{train['seed']}-{os.getpid()}"
runs.touch()
assert train["epochs"] != 3, "three epochs"
while train["epochs"] == 2 and not (root / "go").exists():
    time.sleep(0.05)
out = pathlib.Path("artifacts/score")
out.mkdir(parents=True, exist_ok=True)
accuracy = 1 / train["epochs"] - train["seed"] / 10
(out / "metrics.json").write_text(json.dumps({"test": {"accuracy": accuracy, "loss": 1.0}}))
(out / "history.csv").write_text("epoch,accuracy\\n1,0.5\\n2,0.6\\n")
"""
DVC_YAML: dict[str, Any] = {
    "stages": {
        "score": {
            "cmd": "python stage.py",
            "params": ["train"],
            "deps": ["stage.py"],
            "metrics": [{"artifacts/score/metrics.json": {"cache": False}}],
            "plots": [{"artifacts/score/history.csv": {"cache": False, "x": "epoch", "y": "accuracy"}}],
        }
    }
}
SWEEP = {"question": "How many epochs?", "overrides": ["train.epochs=1,2"], "seeds": 2}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Clone]:
    """A clone with one stage and a sweep `mine`, committed; git has no identity. Its workers end with the test."""
    place = project_clone.copy(tmp_path / "clone")
    (place.folder / "dvc.yaml").write_text(yaml.safe_dump(DVC_YAML), encoding="utf-8")
    (place.folder / "stage.py").write_text(STAGE, encoding="utf-8")
    with (place.folder / ".gitignore").open("a", encoding="utf-8") as ignored:
        ignored.write("\nruns-*\n/go\n")
    declare(place, SWEEP)
    place.check_output("git", "init", "--quiet", "--initial-branch", "main")
    place.check_output("git", "add", "--all")
    author = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    place.check_output("git", *author, "commit", "--quiet", "--message", "one")
    yield place
    kill(place)


def declare(place: Clone, sweep: dict[str, Any]) -> None:
    (place.folder / "pipeline/sweeps/mine.yaml").write_text(yaml.safe_dump(sweep), encoding="utf-8")


def sweep(place: Clone) -> "subprocess.CompletedProcess[str]":
    return place.run("make", "--old-file=.venv/locked", "sweep", "NAME=mine", "WORKERS=2")


def started(place: Clone) -> int:
    """How many times a stage has been started."""
    return len(list(place.folder.glob("runs-*")))


def printed(place: Clone) -> str:
    """What a sweep in the background has printed so far."""
    return (place.folder / ".cache.log").read_text(encoding="utf-8")


def experiments(place: Clone) -> set[str]:
    refs = place.check_output("git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    return {ref.rpartition("/")[2] for ref in refs if "-" in ref.rpartition("/")[2]}


def kill(place: Clone) -> None:
    """Kill the workers and what they run, as a machine that loses its power would."""
    for process in psutil.process_iter(["cwd", "cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        is_below = str(place.folder) in line or (process.info["cwd"] or "").startswith(f"{place.folder}/")
        if is_below or (process.info["cwd"] == str(place.folder) and "queue-worker" in line):
            process.kill()
            process.wait()


def runs(place: Clone) -> dict[str, Run]:
    client = place.client()
    experiment = client.get_experiment_by_name("handwritten-digits sweeps")
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])} if experiment else {}


def start_live_run(place: Clone, name: str) -> str:
    """The id of a run as `live_follower` creates it while the stage of an experiment runs."""
    refs = place.check_output("git", "for-each-ref", "--format=%(objectname) %(refname:lstrip=4)", "refs/exps")
    (commit,) = (line.split()[0] for line in refs.splitlines() if line.endswith(f" {name}"))
    (stage,) = read_result(place.folder, commit).stages
    experiment = place.client().create_experiment("handwritten-digits")
    tags = {"dvc.stage": stage.name, "dvc.inputs_key": stage.inputs_key}
    return str(place.client().create_run(experiment, tags=tags).info.run_id)


def test_a_sweep_is_one_run_with_a_nested_run_for_each_experiment_under_dvcs_names(place: Clone) -> None:
    (place.folder / "go").touch()

    done = sweep(place)
    found = runs(place)

    assert done.returncode == 0, done.stdout + done.stderr
    assert experiments(place) == {"mine-1-1", "mine-1-2", "mine-2-1", "mine-2-2"} == set(found) - {"mine"}
    parent = found.pop("mine")
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {parent.info.run_id}
    assert {run.info.status for run in (parent, *found.values())} == {"FINISHED"}
    assert found["mine-2-1"].data.metrics["test_accuracy"] == pytest.approx(0.4)
    assert found["mine-2-1"].data.params["train.epochs"] == "2"
    assert [point.value for point in place.client().get_metric_history(found["mine-1-1"].info.run_id, "accuracy")] == [
        0.5,
        0.6,
    ]
    assert parent.data.metrics["test_accuracy/epochs_1"] == pytest.approx(0.85)
    assert parent.data.metrics["test_accuracy_sd/epochs_1"] == pytest.approx(0.05 * 2**0.5)
    assert parent.data.tags["mlflow.note.content"] == "How many epochs?"
    assert "0.8500 ± 0.0707" in done.stdout
    results = (place.folder / ".cache/sweeps/mine.csv").read_text(encoding="utf-8").splitlines()
    assert results == [
        "epochs,seed,test_accuracy,test_loss",
        "1,1,0.9,1.0",
        "2,1,0.4,1.0",
        "1,2,0.8,1.0",
        "2,2,0.3,1.0",
    ]
    assert place.check_output("git", "status", "--porcelain") == ""


def test_killed_in_the_middle_it_goes_on_where_it_stopped(place: Clone) -> None:
    command = ["python", "-m", "pipeline.experiments.sweep", "mine", "--workers", "2"]
    with (place.folder / ".cache.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, cwd=place.folder, env=place.environment, stdout=log, stderr=log)
        # What has ended is printed while others still run.
        wait_until(lambda: "2/4 mine-1-" in printed(place) and started(place) == 4, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    kill(place)
    (place.folder / "go").touch()

    done = sweep(place)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of them done before" in done.stdout
    assert len(experiments(place)) == 4
    assert started(place) == 6  # of the finished ones, none again
    assert {run.info.status for run in runs(place).values()} == {"FINISHED"}


def test_an_experiment_that_fails_is_shown_as_failed_and_stops_no_other(place: Clone) -> None:
    (place.folder / "go").touch()
    declare(place, SWEEP | {"overrides": ["train.epochs=3,1"], "seeds": 1})

    done = sweep(place)
    found = runs(place)

    assert done.returncode != 0
    assert "mine-3-1: failed, see .cache/sweeps/mine-3-1.log" in done.stdout
    assert "three epochs" in (place.folder / ".cache/sweeps/mine-3-1.log").read_text(encoding="utf-8")
    assert "1 of 2 experiments failed" in done.stderr
    assert (found["mine-3-1"].info.status, found["mine-1-1"].info.status) == ("FAILED", "FINISHED")
    assert experiments(place) == {"mine-1-1"}


def test_what_is_computed_is_computed_again_only_if_its_parameters_changed(place: Clone) -> None:
    declare(place, SWEEP | {"overrides": ["train.epochs=1,4"], "seeds": 1})
    sweep(place)
    before = started(place)

    again = sweep(place)
    same = started(place)
    declare(place, SWEEP | {"overrides": ["train.epochs=1,4", "train.batch=64"], "seeds": 1})
    sweep(place)

    assert (before, same, started(place)) == (2, 2, 4)
    assert again.returncode == 0, again.stdout + again.stderr
    assert runs(place)["mine-4-1"].data.params["train.batch"] == "64"


def test_without_mlflow_the_sweep_goes_on_and_the_same_command_logs_it_later(place: Clone) -> None:
    declare(place, SWEEP | {"overrides": ["train.epochs=1,4"], "seeds": 1})

    without = place.run("make", "--old-file=.venv/locked", "sweep", "NAME=mine", **project_clone.NO_MLFLOW)
    before = started(place)
    live = start_live_run(place, "mine-1-1")
    later = sweep(place)

    assert without.returncode != 0
    assert place.client().get_run(live).info.lifecycle_stage == "deleted"
    assert "the same command logs them" in without.stderr
    assert (later.returncode, started(place)) == (0, before)
    assert set(runs(place)) == {"mine", "mine-1-1", "mine-4-1"}
    assert runs(place)["mine"].data.metrics["test_accuracy/epochs_1"] == pytest.approx(0.9)
