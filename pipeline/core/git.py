"""The git repository around the pipeline: reading it, and whether DVC can work in it.

DVC keeps an experiment as a commit. Where it cannot, it ends in "unexpected error", or with status 0 and without the
experiment; so the place is checked before anything is computed, and the remedy is named.
"""

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pipeline.core import entrypoint
from pipeline.core.errors import RepositoryError

DVC_FILE: Final = "dvc.yaml"
READ_ANY_OWNER: Final = ("-c", "safe.directory=*")  # reading a commit; whoever runs the pipeline trusts its code anyway
SET_IDENTITY: Final = 'git config user.name "Your Name" && git config user.email you@example.org'
COMMIT: Final = "git add --all && git -c user.name=you -c user.email=you@example.org commit --quiet --message start"
IDENTITY: Final = {"GIT_COMMITTER_NAME": "user.name", "GIT_COMMITTER_EMAIL": "user.email"}  # variables and settings


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise RepositoryError(f"git: expected the command on PATH, got: {error.strerror}; install it") from error


def git(*arguments: str) -> str | None:
    """What git prints, without white space around it, also in a repository of another owner.

    None outside of a repository, and where git fails or is not installed.
    """
    try:
        done = _run(*READ_ANY_OWNER, *arguments)
    except RepositoryError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def check() -> None:
    """Raise RepositoryError unless this is a git repository: outside of one `dvc repro` does nothing."""
    done = _run(*READ_ANY_OWNER, "rev-parse", "--git-dir")
    if done.returncode != 0:
        raise RepositoryError(
            f"{Path.cwd()}: expected a git repository, for DVC works in one, got a folder that is none "
            f"({done.stderr.strip().removeprefix('fatal: ')}). A ZIP or a copied folder becomes one by\n"
            f"  git init --quiet && {COMMIT}"
        )


def check_experiments() -> None:
    """Raise RepositoryError, besides, where DVC would end in an error or lose the experiment."""
    check()
    top = git("rev-parse", "--show-toplevel")
    if _run("rev-parse", "--git-dir").returncode != 0:
        raise RepositoryError(
            f"{top}: the repository belongs to another user, so git and DVC refuse it. If you trust it, say so:\n"
            f"  git config --global --add safe.directory '{top}'"
        )
    if git("rev-parse", "--is-shallow-repository") == "true":
        raise RepositoryError(
            f"{top}: got a shallow clone, in which DVC loses its experiments; expected the whole history:\n"
            "  git fetch --unshallow"
        )
    if git("cat-file", "-e", f"HEAD:./{DVC_FILE}") is None:
        raise RepositoryError(
            f"{top}: expected a commit that holds {DVC_FILE}, for an experiment starts from one, got none:\n  {COMMIT}"
        )


def has_identity(environment: Mapping[str, str]) -> bool:
    """Whether git knows in whose name to commit, as DVC finds it out."""
    return all(environment.get(name) or git("config", setting) for name, setting in IDENTITY.items())


def with_identity(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for `dvc exp run`, which sets edited files aside in a commit for a moment: where git knows of no
    name it is DVC's, and nobody has to set one for that."""
    stand_in = dict.fromkeys(IDENTITY, "dvc")
    return dict(environment) if has_identity(environment) else dict(environment) | stand_in


def uncommitted(paths: Iterable[str]) -> list[str]:
    """Those of the files and folders that differ from the last commit."""
    return [path for path in paths if git("status", "--porcelain", "--", path)]


if __name__ == "__main__":
    entrypoint.run(check)
