"""The git repository of the pipeline: reads it, and checks that DVC can work in it.

DVC stores an experiment as a commit. Where it cannot, it fails with "unexpected error", or exits with status 0 and
loses the experiment; so the repository is checked before anything is computed, and the message names the remedy.
"""

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pipeline.core import entrypoint
from pipeline.core.errors import RepositoryError

DVC_FILE: Final = "dvc.yaml"
READ_ANY_OWNER: Final = ("-c", "safe.directory=*")  # to read a commit; whoever runs the pipeline trusts its code anyway
SET_IDENTITY: Final = 'git config user.name "Your Name" && git config user.email you@example.org'
COMMIT: Final = "git add --all && git -c user.name=you -c user.email=you@example.org commit --quiet --message start"
IDENTITY: Final = {"GIT_COMMITTER_NAME": "user.name", "GIT_COMMITTER_EMAIL": "user.email"}  # variables and settings


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise RepositoryError(f"git: expected the command on PATH, got: {error.strerror}; install it") from error


def git(*arguments: str) -> str | None:
    """The output of git without surrounding white space, even in a repository that another user owns.

    None outside of a repository, or if git fails or is not installed.
    """
    try:
        done = _run(*READ_ANY_OWNER, *arguments)
    except RepositoryError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def check() -> None:
    """Raise RepositoryError outside of a git repository, where `dvc repro` does nothing."""
    done = _run(*READ_ANY_OWNER, "rev-parse", "--git-dir")
    if done.returncode != 0:
        raise RepositoryError(
            f"{Path.cwd()}: expected a git repository, which DVC needs, got a folder without one "
            f"({done.stderr.strip().removeprefix('fatal: ')}). Turn a ZIP or a copied folder into one by\n"
            f"  git init --quiet && {COMMIT}"
        )


def check_experiments() -> None:
    """Raise RepositoryError if DVC would fail here or lose the experiment."""
    check()
    top = git("rev-parse", "--show-toplevel")
    if _run("rev-parse", "--git-dir").returncode != 0:
        raise RepositoryError(
            f"{top}: the repository belongs to another user, so git and DVC refuse it. If you trust it, run\n"
            f"  git config --global --add safe.directory '{top}'"
        )
    if git("rev-parse", "--is-shallow-repository") == "true":
        raise RepositoryError(
            f"{top}: got a shallow clone, in which DVC loses its experiments; expected the whole history. Run\n"
            "  git fetch --unshallow"
        )
    if git("cat-file", "-e", f"HEAD:./{DVC_FILE}") is None:
        raise RepositoryError(
            f"{top}: expected a commit with {DVC_FILE}, from which an experiment starts, got none. Run\n  {COMMIT}"
        )


def has_identity(environment: Mapping[str, str]) -> bool:
    """Whether git has a name and an email address to commit with, looked up as DVC does."""
    return all(environment.get(name) or git("config", setting) for name, setting in IDENTITY.items())


def with_identity(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for `dvc exp run`, which stores edited files in a temporary commit: its author is `dvc` if git
    has no identity, so that the user need not set one."""
    default = dict.fromkeys(IDENTITY, "dvc")
    return dict(environment) if has_identity(environment) else dict(environment) | default


def uncommitted(paths: Iterable[str]) -> list[str]:
    """Those files and folders that differ from the last commit."""
    return [path for path in paths if git("status", "--porcelain", "--", path)]


def differing(paths: Iterable[Path]) -> list[Path]:
    """Those files whose bytes differ from the last commit, or that it lacks; all of them without a commit.

    Unlike `git status`, it reads the files: a bit that was flipped on disk leaves a file's size and time as they were.
    """
    paths = list(paths)
    hashes = (git("hash-object", "--", *map(str, paths)) or "").split()
    listed = (git("ls-tree", "-r", "--format=%(objectname) %(path)", "HEAD", "--", *map(str, paths)) or "").splitlines()
    committed = {name: sha for sha, _, name in (line.partition(" ") for line in listed)}
    if len(hashes) != len(paths):
        return paths
    return [path for path, sha in zip(paths, hashes, strict=True) if committed.get(path.as_posix()) != sha]


if __name__ == "__main__":
    entrypoint.run(check)
