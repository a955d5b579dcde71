"""MLflow gets what dvc.yaml and dvc.lock of any repository say: here of another project."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import DatasetInput, Run

from pipeline.core.errors import TrackingError
from pipeline.tracking.__main__ import sync
from pipeline.tracking.mlflow_store import MlflowStore
from tests.support import foreign_repository
from tests.support.foreign_repository import dvc, git
from tests.support.project_clone import ROOT


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign_repository.make(tmp_path_factory.mktemp("foreign"))


@pytest.fixture
def foreign(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to change, and a store of its own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/store/mlflow.db")
    (tmp_path / "store").mkdir()
    return Path(shutil.copytree(original, tmp_path / "foreign", symlinks=True))


def run(folder: Path, *revisions: str, experiments: bool = False, dry_run: bool = False) -> list[str]:
    arguments = argparse.Namespace(repo=folder, rev=list(revisions), experiments=experiments, dry_run=dry_run)
    return list(sync(arguments, folder))


def runs() -> dict[str, Run]:
    found = MlflowStore(Path()).client.search_runs(["1"])
    names = [str(each.info.run_name) for each in found]
    assert len(set(names)) == len(names)
    return dict(zip(names, found, strict=True))


def artifacts(run: Run, folder: str = "") -> set[str]:
    return {file.path for file in MlflowStore(Path()).client.list_artifacts(run.info.run_id, folder)}


def inputs(run: Run) -> list[DatasetInput]:
    assert run.inputs
    return run.inputs.dataset_inputs


def test_a_stage_is_a_run_with_what_dvc_yaml_declares(foreign: Path) -> None:
    (line, *rest) = run(foreign)
    found = runs()

    assert "6 stages, best version 1" in line
    assert rest == ["  without a result: part/dvc.yaml:unfinished"]
    (parent,) = (name for name in found if name.startswith("best-"))
    assert set(found) == {
        parent, "prepare@a", "prepare@b", "fit@tree", "fit@line", "draw", "part/dvc.yaml:curve"
    }  # fmt: skip
    tree = found["fit@tree"]
    assert tree.data.params == {"depth": "2", "other.toml:size": "7"}
    assert tree.data.metrics == {"loss": 1}
    assert tree.data.tags["mlflow.note.content"] == "Fit one of two"
    assert artifacts(tree) >= {"tree", "tree.json"}
    assert artifacts(found["draw"], "pictures") == {"pictures/one.png"}
    assert {(each.dataset.name, each.tags[0].value) for each in inputs(tree)} == {
        ("b.txt", "fit@tree"), ("tree", "output"), ("tree.json", "output")
    }  # fmt: skip
    (source,) = inputs(found[parent])
    assert mlflow.data.get_source(source).load() == str(foreign / "source.txt")
    history = MlflowStore(Path()).client.get_metric_history(found["part/dvc.yaml:curve"].info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 2)]
    assert {found[name].data.tags["mlflow.parentRunId"] for name in found if name != parent} == {
        found[parent].info.run_id
    }


def test_a_model_that_is_no_onnx_file_is_registered_as_a_file(foreign: Path) -> None:
    run(foreign)

    client = MlflowStore(Path()).client
    version = client.get_model_version("best", "1")
    assert (version.description, version.tags["labels"]) == ("The tree", "small")
    (file,) = mlflow.artifacts.list_artifacts(artifact_uri=client.get_model_version_download_uri("best", "1"))
    assert file.path.endswith("model.bin")


def test_a_second_sync_changes_nothing(foreign: Path) -> None:
    run(foreign)
    before = runs()

    (line, *_) = run(foreign)
    assert line.endswith("changes: 0")
    (line, *_) = run(foreign, "HEAD")  # the same version, of a commit
    assert line.endswith("changes: 0")

    assert {name: each.to_dictionary() for name, each in runs().items()} == {
        name: each.to_dictionary() for name, each in before.items()
    }


def test_a_dry_run_lists_the_changes_and_writes_nothing(foreign: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline.tracking", "--repo", str(foreign), "--dry-run"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert "would change run fit@tree: create" in done.stdout
    assert "would change model best: register a version" in done.stdout
    assert done.stdout.endswith("nothing was written\n")
    assert not list((tmp_path / "store").iterdir())


def test_missing_files_are_named_and_the_next_sync_completes_every_run_that_lacks_them(foreign: Path) -> None:
    kept = foreign.parent / "kept"
    (foreign / ".dvc/cache").rename(kept)
    shutil.rmtree(foreign / "tree")
    (foreign / "tree.json").unlink()
    (foreign / "line.json").unlink()

    lines = run(foreign)

    assert any(line.startswith("  left out: tree: not in the workspace, the cache or a remote") for line in lines)
    assert "no model" in lines[0]
    found = runs()
    (parent,) = (name for name in found if name.startswith("best-"))
    assert found["fit@tree"].data.tags["sync.missing"] == "tree, tree.json"
    assert found["fit@line"].data.tags["sync.missing"] == "line.json"
    assert found[parent].data.tags["sync.missing"] == "tree.json"
    assert not found[parent].data.metrics
    assert "sync.missing" not in found["draw"].data.tags

    kept.rename(foreign / ".dvc/cache")
    (line, *_) = run(foreign)

    assert "best version 1" in line
    found = runs()
    assert not any("sync.missing" in each.data.tags for each in found.values())
    assert "tree" in artifacts(found["fit@tree"])
    assert found[parent].data.metrics == {"loss": 1, "line/loss": 1, "part/loss/loss": 2}


def test_a_remote_that_does_not_answer_is_named(foreign: Path) -> None:
    dvc(foreign, "remote", "add", "--default", "store", "http://127.0.0.1:9/store")
    shutil.rmtree(foreign / ".dvc/cache")
    shutil.rmtree(foreign / "tree")

    (named,) = [line for line in run(foreign) if "left out: tree:" in line]

    assert "127.0.0.1:9" in named
    assert runs()["fit@tree"].data.tags["sync.missing"] == "tree"


def test_the_history_of_a_repository_is_synced_the_oldest_first(foreign: Path) -> None:
    git(foreign, "commit", "--quiet", "--allow-empty", "--message", "the same")
    (foreign / "params.yaml").write_text("depth: 3\n")
    dvc(foreign, "repro", "fit")
    git(foreign, "commit", "--all", "--quiet", "--message", "deeper")

    lines = run(foreign, "..main")

    assert sum("6 stages" in line for line in lines) == 3
    client = MlflowStore(Path()).client
    depths = [each.data.params["depth"] for each in client.search_runs(["1"], "tags.`dvc.stage` = 'fit@tree'")]
    assert sorted(depths) == ["2", "3"]
    versions = client.search_runs(["1"], "tags.`dvc.version` LIKE '%'")
    assert {version.data.tags["git.dirty"] for version in versions} == {"false"}
    assert {version.data.tags["mlflow.user"] for version in versions} == {"Ada"}
    assert len(client.search_runs(["1"], "tags.`dvc.stage` = 'draw'")) == 1


def test_an_experiment_that_dvc_has_kept_is_synced_under_its_name(foreign: Path) -> None:
    dvc(foreign, "exp", "run", "--name", "deeper", "--set-param", "depth=5", "fit")

    (line, *_) = run(foreign, experiments=True)

    assert line.startswith("deeper: run deeper, 6 stages")
    assert runs()["deeper"].data.tags["dvc.experiment"] == "deeper"
    assert runs()["fit@tree"].data.params["depth"] == "5"


def test_an_interrupted_sync_is_completed(foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create = mlflow.MlflowClient.create_run
    calls = []

    def fails_at_the_third(*arguments: object, **named: object) -> Run:
        calls.append(arguments)
        if len(calls) == 3:
            raise ConnectionError("the server died")
        return create(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(mlflow.MlflowClient, "create_run", fails_at_the_third)
    with pytest.raises(ConnectionError):
        run(foreign)

    (line, *_) = run(foreign)

    assert "6 stages, best version 1" in line
    assert len(runs()) == 7


@pytest.mark.parametrize(
    ("before", "after"),
    [("schema:", "<<<<<<< HEAD\nschema:"), ("schema: '2.0'", "schema: '9.0'"), ("stages:", "stages: 1 #")],
    ids=["merge conflict", "newer schema", "damaged"],
)
def test_a_lock_that_dvc_cannot_read_is_an_error_before_anything_is_written(
    foreign: Path, before: str, after: str
) -> None:
    lock = foreign / "dvc.lock"
    lock.write_text(lock.read_text().replace(before, after, 1))

    with pytest.raises(TrackingError, match=r"^[^\n]*dvc\.lock[^\n]*$"):
        run(foreign)
    assert not runs()


def test_a_commit_before_dvc_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    folder = tmp_path / "young"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "before")
    dvc(folder, "init", "--quiet")
    git(folder, "commit", "--quiet", "--all", "--message", "dvc init")

    before, after = run(folder, "..main")

    assert "left out:" in before
    assert after.endswith("no stage has a result in dvc.lock")
    with pytest.raises(TrackingError, match="expected a DVC repository"):
        run(folder, "main~1")


def test_a_dvc_repository_in_a_folder_of_the_git_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    folder = tmp_path / "git" / "model"
    folder.mkdir(parents=True)
    git(tmp_path / "git", "init", "--quiet", "--initial-branch", "main")
    dvc(folder, "init", "--quiet", "--subdir")
    (folder / "dvc.yaml").write_text("stages:\n  one:\n    cmd: echo 1 > one.txt\n    outs: [one.txt]\n")
    dvc(folder, "repro")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "one")

    (line,) = run(folder)
    (again,) = run(folder, "main")

    assert "1 stages" in line
    assert again.endswith("changes: 0")
    (commit,) = {each.data.tags["mlflow.source.git.commit"] for each in runs().values()}
    assert len(commit) == 40


def test_two_syncs_at_once_double_nothing(foreign: Path) -> None:
    command = [sys.executable, "-m", "pipeline.tracking", "--repo", str(foreign)]
    syncs = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [sync.communicate()[0] for sync in syncs]

    assert [sync.returncode for sync in syncs] == [0, 0], printed
    assert sum("changes: 0" in text for text in printed) == 1
    assert len(runs()) == 7
    assert len(MlflowStore(Path()).client.search_model_versions("name = 'best'")) == 1


def test_the_experiment_is_the_one_that_the_environment_names(foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "others")

    run(foreign)

    client = MlflowStore(Path()).client
    experiment = client.get_experiment_by_name("others")
    assert experiment
    assert len(client.search_runs([experiment.experiment_id])) == 7
    assert client.get_experiment_by_name("handwritten-digits") is None
