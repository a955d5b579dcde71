"""`make rollback`: the former champion again.

Reads    the MLflow registry.
Writes   the aliases `champion` and `previous`, exchanged; so the next rollback returns. A tag `rolled_back` with the
         date, of the version that was replaced: `make promote` refuses it from now on, unless it is forced.
Decides  nothing. A former champion of which no service could be built, because its file is lost or git's dvc.lock
         contradicts it (results that were never committed), is an error: the aliases stay.
"""

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from pipeline.core import entrypoint
from pipeline.core.errors import PromotionError, TrackingError
from pipeline.packaging import verification
from pipeline.packaging.model_name import model_name
from pipeline.promotion.promote import ROLLED_BACK
from pipeline.tracking.mlflow_store import MlflowStore, configure_mlflow, lock_file, mlflow_errors
from pipeline.tracking.registry import Registry


def roll_back(registry: Registry, name: str) -> str:
    """Exchange the two aliases; return what was done. Raises PromotionError or TrackingError if there is no former
    champion, or no service can be built of it."""
    champion, previous = registry.get_version(name, None, "champion"), registry.find_alias(name, "previous")
    if previous is None or previous.version == champion.version:
        raise PromotionError(
            f"{name}: expected a version with the alias 'previous', which `make promote` gives to the champion that it "
            f"replaces, got none; the champion is version {champion.version}. `make promote VERSION=…` chooses another"
        )
    content, origin = registry.read_model(previous), registry.origin(previous)
    try:
        verification.verify(f"models:/{name}/{previous.version}", content, origin)
    except TrackingError as error:
        why = "the champion stays; results that were not committed before others were computed cannot be verified"
        raise PromotionError(f"{error}; {why}") from error
    registry.set_alias(previous, "champion")
    registry.set_alias(champion, "previous")
    registry.delete_tag(previous, ROLLED_BACK)
    registry.set_tags(champion, {ROLLED_BACK: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")})
    return f"champion: {name} version {previous.version} instead of {champion.version}, which is `previous` now"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make rollback", description="Make the former champion the champion again.")
    parser.add_argument("--name", help="registered model; the data set in params.yaml if left out")
    name, root = parser.parse_args().name or model_name(), Path(os.environ.get("DVC_ROOT", "."))
    configure_mlflow()
    with mlflow_errors(root):
        store = MlflowStore(root)
        with FileLock(lock_file(store.uri)):
            done = roll_back(Registry(store), name)
    print(f"{done}. `make serve` and `make container` build its service")


if __name__ == "__main__":
    entrypoint.run(main)
