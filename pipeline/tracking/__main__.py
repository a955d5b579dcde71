"""Syncs MLflow with a DVC repository: `python -m pipeline.tracking --repo PATH --rev REV …`."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

from pipeline.core import entrypoint
from pipeline.core.errors import TrackingError
from pipeline.tracking.dvc_repository import DvcRepository
from pipeline.tracking.mlflow_store import MlflowStore, configure_mlflow, lock_file, mlflow_errors
from pipeline.tracking.origin import Revision, find_origin, find_revisions
from pipeline.tracking.sync import Sync
from pipeline.tracking.tracking_uri import display_uri


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.tracking", description="Sync MLflow with a DVC repository."
    )
    parser.add_argument("--repo", type=Path, default=Path(), metavar="PATH", help="folder of dvc.yaml; the current one")
    parser.add_argument(
        "--rev",
        action="append",
        default=[],
        metavar="REV",
        help="a branch, tag, commit, or a range of them (v1..main); the workspace if left out; may be repeated",
    )
    parser.add_argument("--experiments", action="store_true", help="also what `dvc exp` has kept")
    parser.add_argument("--dry-run", action="store_true", help="list what would change, and write nothing")
    return parser.parse_args()


def sync(arguments: argparse.Namespace, root: Path) -> Iterator[str]:
    """Sync the revisions that the arguments name; yield a line about each."""
    names = [name for given in arguments.rev for name in given.split()]
    is_workspace = not names and not arguments.experiments
    found = find_revisions(arguments.repo, names, experiments=arguments.experiments)
    revisions = [Revision()] if is_workspace else list(found)
    store = MlflowStore(root, dry_run=arguments.dry_run)
    # With a remote server a request takes seconds: on a terminal there is a progress bar.
    for revision in tqdm(revisions, desc="syncing to MLflow", unit="revision", leave=False, disable=None):
        store.changes.clear()
        shown = revision.experiment or (revision.commit or "workspace")[:12]
        try:
            repository = DvcRepository(arguments.repo, revision.commit)
        except TrackingError as error:
            if len(revisions) == 1:
                raise
            yield f"{shown}: left out: {error}"  # a commit before `dvc init`, for example
            continue
        with FileLock(lock_file(store.uri)), repository:
            synced = Sync(store, repository, find_origin(repository, revision, repository.root))
            if not synced.version.stages:
                yield f"{shown}: no stage has a result in dvc.lock"
                continue
            parent, models = synced.log()
        versions = ", ".join(f"{model.name} version {model.version}" for model in models) or "no model"
        stages = len(synced.version.stages)
        yield f"{shown}: run {parent.info.run_name}, {stages} stages, {versions}; changes: {len(store.changes)}"
        if store.dry_run:
            yield from (f"  would change {change}" for change in store.changes)
        if synced.version.incomplete:
            yield f"  without a result: {', '.join(synced.version.incomplete)}"
        yield from (f"  left out: {path}: {why}" for path, why in sorted(synced.left_out.items()))


def main() -> None:
    arguments = parse_arguments()
    root = Path(os.environ.get("DVC_ROOT", "."))
    configure_mlflow()
    shown = display_uri(root)  # a dry run may use another
    with mlflow_errors(root):
        for line in sync(arguments, root):
            print(line, flush=True)
    print(f"MLflow at {shown}{': nothing was written' if arguments.dry_run else ''}")


if __name__ == "__main__":
    entrypoint.run(main)
