"""Folders in which git or DVC cannot work are reported with a remedy that works, before anything is computed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core import git
from pipeline.core.errors import RepositoryError
from pipeline.tracking import git_tags

OTHER_OWNER = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}  # git's own: as if the folder belonged to another user


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the working directory of a user without a git identity."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "DVC_"))]:
        monkeypatch.delenv(name)
    for name, value in {"HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    return tmp_path / "folder"


@pytest.fixture
def committed(folder: Path) -> Path:
    """The folder, as a repository with a commit."""
    (folder / git.DVC_FILE).write_text("stages: {}\n")
    shell(f"git init --quiet && {git.COMMIT}")
    return folder


def shell(command: str) -> None:
    subprocess.run(["bash", "-c", command], check=True, capture_output=True)


def remedy(error: pytest.ExceptionInfo[RepositoryError]) -> str:
    """The command that the message ends with."""
    return str(error.value).splitlines()[-1].strip()


def test_a_folder_without_git_becomes_a_repository_by_the_command_in_the_message(folder: Path) -> None:
    (folder / git.DVC_FILE).write_text("stages: {}\n")
    with pytest.raises(
        RepositoryError, match=r"folder: expected a git repository, .* got a folder without one"
    ) as error:
        git.check()

    shell(remedy(error))

    git.check_experiments()


def test_a_repository_without_a_commit_gets_one_by_the_command_in_the_message(folder: Path) -> None:
    (folder / git.DVC_FILE).write_text("stages: {}\n")
    shell("git init --quiet")
    git.check()
    with pytest.raises(RepositoryError, match=r"expected a commit with dvc\.yaml, .* got none") as error:
        git.check_experiments()

    shell(remedy(error))

    git.check_experiments()


def test_a_folder_that_its_repository_does_not_contain_is_reported(committed: Path) -> None:
    (committed / "inner").mkdir()
    os.chdir(committed / "inner")

    with pytest.raises(RepositoryError, match=r"expected a commit with dvc\.yaml"):
        git.check_experiments()


def test_a_shallow_clone_is_completed_by_the_command_in_the_message(committed: Path) -> None:
    shell("git -c user.name=you -c user.email=you@example.org commit --quiet --allow-empty --message second")
    shell(f"git clone --quiet --depth 1 'file://{committed}' ../shallow")
    os.chdir(committed.parent / "shallow")
    git.check()
    with pytest.raises(RepositoryError, match="got a shallow clone") as error:
        git.check_experiments()

    shell(remedy(error))

    git.check_experiments()


def test_the_commit_of_another_owners_repository_is_recorded(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = git.git("rev-parse", "HEAD")
    for name, value in OTHER_OWNER.items():
        monkeypatch.setenv(name, value)

    git.check()

    assert commit
    assert git_tags.origin_tags(Path(), [])["mlflow.source.git.commit"] == commit


def test_another_owners_repository_is_trusted_after_the_command_in_the_message(
    committed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in OTHER_OWNER.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RepositoryError, match="the repository belongs to another user") as error:
        git.check_experiments()

    shell(remedy(error))

    git.check_experiments()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner of a folder")
def test_a_repository_that_really_belongs_to_another_user(committed: Path) -> None:
    for path in [committed, *committed.rglob("*")]:
        os.chown(path, 12345, 12345)

    assert "mlflow.source.git.commit" in git_tags.origin_tags(Path(), [])
    with pytest.raises(RepositoryError, match="the repository belongs to another user"):
        git.check_experiments()


def test_a_machine_without_git_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))

    with pytest.raises(RepositoryError, match="git: expected the command on PATH"):
        git.check()
    assert git.git("rev-parse", "HEAD") is None


def test_an_identity_comes_from_settings_or_variables_with_a_default_for_both(committed: Path) -> None:
    variables = {"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.org"}
    assert not git.has_identity({})
    assert git.has_identity(variables)
    assert git.with_identity(variables) == variables
    assert set(git.with_identity({})) == set(variables)

    shell(git.SET_IDENTITY)

    assert git.has_identity({})
    assert git.with_identity({}) == {}


def test_the_advice_outside_of_a_repository_is_that_no_commit_is_recorded(folder: Path) -> None:
    assert "No git commit is recorded" in git_tags.commit_advice({})


@pytest.mark.parametrize("name", ["demo", "fast", "rusty-dogs", "Lauf_3", "v3x"])
def test_an_experiments_name_is_an_alias(name: str) -> None:
    assert git_tags.alias(name) == name


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "candidate",
        "champion",
        "Challenger",
        "previous",
        "LATEST",
        "v3",
        "V12",
        "a.b",
        "a b",
        "a/b",
        "x" * 256,
    ],
)
def test_a_name_that_is_reserved_or_invalid_in_mlflow_is_no_alias(name: str | None) -> None:
    assert git_tags.alias(name) is None


def test_a_stage_under_a_python_without_the_packages_names_it_and_the_remedy(tmp_path: Path) -> None:
    """As `.venv/bin/dvc repro` starts it where the environment is not activated."""
    done = subprocess.run(
        [sys._base_executable, "-S", "-m", "pipeline.train"],  # type: ignore[attr-defined]
        env={"PYTHONDONTWRITEBYTECODE": "1", "DVC_STAGE": "train"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert " has no package " in line
    assert ". .venv/bin/activate" in line
    assert "make repro" in line


def test_a_bug_keeps_its_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv = ['-m']; import pipeline; import pipeline.nowhere"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "Traceback" in done.stderr
