"""`make experiment` and `make repro` as a user types them, without a git identity, with an empty home folder.

One stage that takes no time replaces the pipeline; tests/integration/test_dag.py has the real one.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.core.errors import ParamsError, RepositoryError
from pipeline.experiments import preflight
from pipeline.experiments import run as experiment
from tests.support import project_clone
from tests.support.project_clone import Clone, duplicate

STAGE = """\
import json, pathlib, yaml
out = pathlib.Path("artifacts/score/metrics.json")
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text(json.dumps({"test": {"accuracy": 1 / yaml.safe_load(open("params.yaml"))["train"]["epochs"]}}))
"""
DVC_YAML: dict[str, Any] = {
    "stages": {
        "score": {
            "cmd": "python stage.py",
            "params": ["train"],
            "deps": ["stage.py"],
            "metrics": [{experiment.METRICS: {"cache": False}}],
        }
    }
}
COMMIT = (
    "git",
    "-c",
    "user.name=nobody",
    "-c",
    "user.email=nobody@example.org",
    "commit",
    "--quiet",
    "--message",
    "one",
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which the stage has run and its result is committed; git has no identity."""
    place = project_clone.copy(tmp_path_factory.mktemp("experiment") / "clone")
    (place.folder / "dvc.yaml").write_text(yaml.safe_dump(DVC_YAML))
    (place.folder / "stage.py").write_text(STAGE)
    place.check_output("git", "init", "--quiet", "--initial-branch", "main")
    place.check_output("dvc", "repro")
    place.check_output("git", "add", "--all")
    place.check_output(*COMMIT)
    return place


@pytest.fixture
def place(original: Clone, tmp_path: Path) -> Clone:
    """A copy of it."""
    return duplicate(original, tmp_path / "clone")


@pytest.fixture
def inside(place: Clone, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """The clone, with this process in its folder and in its environment."""
    for name in set(os.environ) - set(place.environment):
        monkeypatch.delenv(name)
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(place.folder)
    return place


def run(*arguments: str) -> None:
    """`python -m pipeline.experiments.run` in this process, which has already imported torch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["experiment", *arguments])
        experiment.main()


def make(place: Clone, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run make, in the environment of the tests."""
    (place.folder / ".venv").mkdir(exist_ok=True)
    (place.folder / ".venv/locked").touch()
    return place.run("make", "--old-file=.venv/locked", *arguments)


def files(place: Clone) -> dict[str, bytes]:
    """All files that git tracks or would track, and git's status."""
    listed = place.check_output("git", "ls-files", "-co", "--exclude-standard", "-z").split("\0")
    status = {"": place.check_output("git", "status", "--porcelain").encode()}
    return status | {name: (place.folder / name).read_bytes() for name in listed if (place.folder / name).is_file()}


def listed(place: Clone) -> dict[str, str]:
    """The commits of DVC's experiments by name."""
    refs = place.check_output("git", "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps").splitlines()
    found = (line.split() for line in refs)
    return {match["name"]: commit for ref, commit in found if (match := experiment.REF.fullmatch(ref))}


def metrics(place: Clone, commit: str) -> Any:
    return json.loads(place.check_output("git", "show", f"{commit}:{experiment.METRICS}"))


def test_an_experiment_with_an_edited_file_leaves_the_files_unchanged_and_is_in_dvc(inside: Clone) -> None:
    params = inside.folder / "params.yaml"
    kept = params.read_text()
    params.write_text(kept + "# a remark\n")
    before = files(inside)

    done = make(inside, "experiment", "SET=train.epochs=4 train.cnn.widths=[4,8,8]", "NAME=four")
    after = files(inside)
    params.write_text(kept)

    assert done.returncode == 0, done.stdout + done.stderr
    assert after == before
    assert metrics(inside, listed(inside)["four"])["test"]["accuracy"] == 1 / 4
    assert "experiment 'four': test 25.00%. Your files are unchanged." in done.stdout


def test_the_next_steps_work_as_printed_also_without_a_git_identity(
    inside: Clone, capfd: pytest.CaptureFixture[str]
) -> None:
    before = files(inside)
    run("--profile", "fast", "train.epochs=5")
    printed = capfd.readouterr().out.splitlines()
    lines = {line[2:15].strip(): line[17:].partition("    ")[0] for line in printed if line.startswith("  ")}
    # `dvc exp apply` needs an identity if there are untracked files.
    (inside.folder / "notes.txt").touch()

    assert "fast" in inside.check_output("bash", "-c", lines["compare"])
    inside.check_output("bash", "-c", lines["first, once"])
    inside.check_output("bash", "-c", lines["get its files"])
    applied = yaml.safe_load((inside.folder / "params.yaml").read_text())["train"]
    inside.check_output("bash", "-c", lines["and go back"])
    (inside.folder / "notes.txt").unlink()
    for setting in ("user.name", "user.email"):
        inside.check_output("git", "config", "--unset", setting)

    assert (applied["epochs"], applied["optimizer"]["learning_rate"]) == (5, 0.2)
    assert files(inside) == before
    assert lines["serve it"] == "make serve ALIAS=fast"


def test_an_experiment_replaces_only_an_earlier_one_of_the_same_name(inside: Clone) -> None:
    run("--name", "four", "train.epochs=4")
    run("--name", "two", "train.epochs=2")
    earlier = listed(inside)

    run("--name", "four", "train.epochs=3")
    run("train.epochs=3")

    now = listed(inside)
    assert metrics(inside, now["four"])["test"]["accuracy"] == 1 / 3
    assert len(now) == 3
    assert now["two"] == earlier["two"]


def test_a_failed_experiment_leaves_the_files_and_the_earlier_one_of_the_same_name(inside: Clone) -> None:
    run("--name", "four", "train.epochs=4")
    earlier = listed(inside)
    (inside.folder / "stage.py").write_text("raise SystemExit(3)\n")
    before = files(inside)

    with pytest.raises(RepositoryError, match=r"DVC exited with status \d+"):
        run("--name", "four", "train.epochs=7")

    assert files(inside) == before
    assert listed(inside) == earlier


def test_an_experiment_that_dvc_did_not_store_is_an_error(inside: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a shallow clone, where DVC exits with status 0."""
    monkeypatch.setattr("subprocess.run", lambda *_, **__: subprocess.CompletedProcess([], 0, "", ""))

    with pytest.raises(RepositoryError, match="DVC exited with status 0 but stored no experiment"):
        experiment.run("lost", ["train.epochs=8"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train.epoch=4"], r"SET: train\.epoch is not a setting in params\.yaml; did you mean train\.epochs\?"),
        (["+train.epoch=4"], r"SET: train\.epoch is not a setting in params\.yaml; did you mean train\.epochs\?"),
        (["train.epochs=four"], r"SET: train\.epochs: got 'four', expected a valid integer"),
        (["train.epochs=1,2"], r"SET: got 'train\.epochs=1,2', expected one value"),
        (["train.epochs"], r"SET: got 'train\.epochs', expected section\.key=value"),
        (["~train.cnn"], r"SET: train\.cnn is missing"),
        ([], 'expected SET="section.key=value …"'),
        (["--name", "champion", "train.epochs=4"], "NAME: got 'champion', expected letters"),
        (["--profile", "fats"], "got 'fats', expected one of best, fashion, fast, "),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_written(
    inside: Clone, arguments: list[str], expected: str
) -> None:
    before, known = files(inside), listed(inside)

    with pytest.raises(ParamsError, match=expected):
        run(*arguments)

    assert (files(inside), listed(inside)) == (before, known)


def test_make_repro_reports_a_wrong_value_in_params_yaml_before_dvc_deletes_outputs(place: Clone) -> None:
    params = place.folder / "params.yaml"
    kept = params.read_text()
    place.set("train", epochs="four")
    before = files(place)

    done = make(place, "repro")
    after = files(place)
    params.write_text(kept)

    assert done.returncode != 0
    assert "error: params.yaml: train.epochs: got 'four', expected a valid integer" in done.stderr
    assert after == before


@pytest.mark.parametrize(("key", "value"), [("epochs", 0), ("epoch", 4), ("device", "cuda:7")])
def test_params_yaml_is_checked_as_a_whole(inside: Clone, key: str, value: object) -> None:
    params = inside.folder / "params.yaml"
    kept = params.read_text()
    inside.set("train", **{key: value})

    with pytest.raises(ParamsError, match=rf"params\.yaml: train\.{key}"):
        preflight.check_params()
    params.write_text(kept)
    preflight.check_params()


def test_make_repro_checks_params_yaml_again_only_after_a_change(place: Clone) -> None:
    (place.folder / ".cache").mkdir(exist_ok=True)
    (place.folder / ".cache/params.checked").touch()
    checked = make(place, "repro", "--dry-run").stdout
    later = (place.folder / ".cache/params.checked").stat().st_mtime + 1
    os.utime(place.folder / "params.yaml", (later, later))
    changed = make(place, "repro", "--dry-run").stdout

    assert "pipeline.experiments.preflight" not in checked
    assert "dvc repro" in checked
    assert changed.index("pipeline.experiments.preflight") < changed.index("dvc repro")


def test_make_reports_a_folder_without_git_and_its_remedy(place: Clone, tmp_path: Path) -> None:
    """As from a ZIP, or a `COPY` without .git."""
    copied = Clone(tmp_path / "copied")
    copied.environment = place.environment | {"GIT_CEILING_DIRECTORIES": str(tmp_path)}
    shutil.copytree(place.folder, copied.folder, ignore=shutil.ignore_patterns(".git"))

    for target in ("fast", "repro"):
        done = make(copied, target)

        assert done.returncode != 0
        assert "copied: expected a git repository" in done.stderr
        assert done.stderr.splitlines()[-2].startswith("  git init")


def test_make_reports_a_shallow_clone_and_its_remedy(place: Clone, tmp_path: Path) -> None:
    place.check_output("git", *COMMIT[1:], "--allow-empty")
    place.check_output("git", "clone", "--quiet", "--depth", "1", f"file://{place.folder}", str(tmp_path / "shallow"))
    shallow = Clone(tmp_path / "shallow")
    shallow.environment = place.environment

    done = make(shallow, "fast")

    assert done.returncode != 0
    assert "shallow: got a shallow clone" in done.stderr
    assert "git fetch --unshallow" in done.stderr


def test_the_dvc_command_is_printed_as_it_can_be_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.executable", str(tmp_path / ".venv/bin/python"))
    assert experiment.dvc() == ".venv/bin/dvc"

    monkeypatch.setattr("sys.executable", "/opt/python/bin/python")
    assert experiment.dvc() == "dvc"
