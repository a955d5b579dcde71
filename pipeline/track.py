"""Stage `track`: syncs MLflow with dvc.lock.

Reads    dvc.lock, and the outputs of the other stages.
Writes   artifacts/track/synced.json: the pipeline version that was synced. It is neither cached nor in git, so DVC
         runs this stage in a clone that has not synced yet, even if the committed dvc.lock agrees.
         In MLflow what `pipeline.tracking` reads from dvc.yaml: a parent run for the pipeline version, a child run for
         each stage's result, the exported model in the registry.
Decides  nothing: the model gets the alias `candidate`, that of a DVC experiment also the experiment's name, and
         `make promote` decides whether it becomes champion. MODEL_SIGNING_KEY, if set, names the private key with which
         the version is signed.
"""

import os
from pathlib import Path
from typing import Final

from filelock import FileLock

from pipeline.core import entrypoint
from pipeline.core.errors import TrackingError
from pipeline.core.files import write_json
from pipeline.core.git import git
from pipeline.tracking import git_tags, signature
from pipeline.tracking.dvc_lock import read_lock
from pipeline.tracking.dvc_repository import DvcRepository
from pipeline.tracking.lock_check import check_files, check_shape
from pipeline.tracking.mlflow_store import MlflowStore, configure_mlflow, lock_file, mlflow_errors
from pipeline.tracking.origin import Revision, find_origin
from pipeline.tracking.registry import CLAIMED_TAGS, UNKNOWN, ModelVersion, Registry
from pipeline.tracking.sync import Sync
from pipeline.tracking.tracking_uri import display_uri

SYNCED: Final = Path("artifacts/track/synced.json")


def set_aliases(registry: Registry, version: ModelVersion) -> ModelVersion:
    """Make the version the candidate, and name it like the DVC experiment; return it as it is then."""
    registry.set_alias(version, "candidate")
    if own_alias := git_tags.alias(git_tags.experiment_name()):
        registry.set_alias(version, own_alias)
    return registry.get_version(version.name, str(version.version), "")


def sign(registry: Registry, version: ModelVersion, tags: dict[str, str], key: Path) -> None:
    """Sign the version with what was computed here, whatever its tags in the registry were.

    Raises TrackingError if its run names a commit that is not part of the history here.
    """
    registry.set_tags(version, {name: tags[name] for name in CLAIMED_TAGS})
    claims = registry.claims(version) | {name: tags[tag] for tag, name in CLAIMED_TAGS.items()}
    if claims["commit"] != UNKNOWN and git("merge-base", "--is-ancestor", claims["commit"], "HEAD") is None:
        raise TrackingError(
            f"MODEL_SIGNING_KEY: models:/{version.name}/{version.version}: got a run of commit {claims['commit']}, "
            "expected one in the history of this repository's HEAD; the version is not signed"
        )
    registry.set_tags(version, {signature.TAG: signature.sign(claims, key)})


def main() -> None:
    root = Path(os.environ.get("DVC_ROOT", "."))
    configure_mlflow()
    locked = read_lock()
    locked.pop("track", None)
    check_shape(locked)
    check_files(locked)
    key = os.environ.get("MODEL_SIGNING_KEY")
    try:
        with mlflow_errors(root), DvcRepository(Path()) as repository:
            store = MlflowStore(root)
            # Two experiments that end at the same time may share stages: one of them logs, the other links.
            with FileLock(lock_file(store.uri)):
                synced = Sync(store, repository, find_origin(repository, Revision(), root))
                if synced.version.incomplete:
                    missing = ", ".join(synced.version.incomplete)
                    raise TrackingError(f"dvc.lock: expected the stages {missing}, got none; run `dvc repro`")
                parent, models = synced.log()
                if len(models) != 1:
                    raise TrackingError(f"dvc.yaml: artifacts: expected one model that is there, got {len(models)}")
                registry = Registry(store)
                version = set_aliases(registry, models[0])
                if key:
                    sign(registry, version, synced.model_tags, root / key)
            changed = repository.changed_stages()
    except TrackingError as error:
        advice = "All results are computed and kept; run the same command again to sync them to MLflow"
        raise TrackingError(f"{error}. {advice}") from error
    write_json(SYNCED, {"version": synced.version.key})
    if changed:
        print(f"note: MLflow has what dvc.lock says, whose parameters or code are not those here: {', '.join(changed)}")
    model = f"{version.name} version {version.version} ({', '.join(version.aliases) or 'no alias'})"
    advice = git_tags.commit_advice(synced.version.stages)
    print(
        f"MLflow at {display_uri(root)}: run {parent.info.run_name}, model {model}{', signed' if key else ''}{advice}"
    )


if __name__ == "__main__":
    entrypoint.run(main)
