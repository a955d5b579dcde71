"""Where a version comes from: commit, author or user, DVC experiment. `git_tags` has what a workspace says."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dvc.repo import Repo
from dvc.repo.experiments.utils import exp_refs
from scmrepo.exceptions import SCMError

from pipeline.core import execution
from pipeline.core.errors import TrackingError
from pipeline.tracking import git_tags
from pipeline.tracking.dvc_repository import DvcRepository, dvc_errors


@dataclass(frozen=True)
class Origin:
    """`tags` are MLflow's, `time` is that of the commit in milliseconds since the epoch, None for now; in `root` are
    the executions."""

    root: Path
    tags: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    time: int | None = None
    experiment: str | None = None


class Revision(NamedTuple):
    """A revision that DVC can read: None for the workspace, else a commit, perhaps that of an experiment."""

    commit: str | None = None
    experiment: str | None = None
    baseline: str | None = None


def find_revisions(path: Path, names: list[str], *, experiments: bool) -> Iterator[Revision]:
    """The commits that these branches, tags and ranges (`a..b`) name, the oldest first; then `dvc exp`'s experiments.

    Raises TrackingError for a name that git does not know.
    """
    with dvc_errors(path, None), contextlib.closing(Repo(str(path), uninitialized=True)) as repo:
        for name in names:
            start, dots, end = name.partition("..")
            try:
                last = repo.scm.resolve_rev(end or "HEAD" if dots else name)
                first = repo.scm.resolve_rev(start) if dots and start else None
            except SCMError as error:
                expected = "a branch, a tag, a commit or a range of them"
                raise TrackingError(f"{path}: got the revision {name!r}, expected {expected}") from error
            commits = [last]
            if dots:
                for commit in repo.scm.branch_revs(last, first):
                    if commit not in commits:
                        commits.append(commit)
            yield from (Revision(commit) for commit in reversed(commits))
        for ref in exp_refs(repo.scm) if experiments else ():
            yield Revision(repo.scm.get_ref(str(ref)), ref.name, ref.baseline_sha)


def find_origin(repository: DvcRepository, revision: Revision, root: Path) -> Origin:
    """The origin of a revision, of which `repository` is open; in `root` are the executions."""
    if revision.commit is None:
        name = git_tags.experiment_name()
        return Origin(root, git_tags.origin_tags(repository.root, repository.outs()), execution.user_name(), None, name)
    with dvc_errors(repository.root, revision.commit):
        commit = repository.repo.scm.resolve_commit(revision.commit)
    tags = {
        "mlflow.source.name": "dvc repro",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": revision.baseline or revision.commit,
        "git.dirty": "true" if revision.experiment else "false",
    }
    if revision.experiment:
        tags["dvc.experiment"] = revision.experiment
    return Origin(root, tags, commit.author_name, int(commit.commit_time * 1000), revision.experiment)
