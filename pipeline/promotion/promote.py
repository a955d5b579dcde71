"""`make promote`: decides whether a registered model becomes champion.

Reads    the MLflow registry: the candidate or the version with the given number, and the champion; the validation
         images on which the candidate's epoch was chosen, and data/; params.yaml; git.
Writes   in MLflow: the verdict as tags of the model version and as promotion/<name>-v<version>.md of its run; the
         aliases `champion` and `previous`, which names the former champion.
Decides  by `criteria`, on answers that both ONNX files give now, to the same images. A file without its SHA-256, or
         one that git's dvc.lock contradicts, is an error that no FORCE overrides.
"""

import argparse
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from filelock import FileLock

from pipeline.core import config, entrypoint
from pipeline.core.errors import PromotionError, TrackingError
from pipeline.core.files import read_json
from pipeline.packaging import verification
from pipeline.packaging.model_name import model_name
from pipeline.promotion import provenance, settings
from pipeline.promotion.verdict import Criterion, Verdict
from pipeline.tracking.mlflow_store import MlflowStore, configure_mlflow, lock_file, mlflow_errors
from pipeline.tracking.registry import ModelVersion, Registry

MANIFEST: Final = Path("artifacts/export/manifest.json")
ROLLED_BACK: Final = "rolled_back"  # tag with the date of the rollback that replaced the version


def judge(
    version: ModelVersion,
    champion: ModelVersion | None,
    contents: Sequence[bytes],
    origin: dict[str, str],
    params: settings.Params,
    force: str | None,
) -> Verdict:
    """The verdict on `version`; `contents` are its ONNX file and, if there is one, the champion's.

    Raises TrackingError or DataError for what cannot be compared.
    """
    from pipeline.promotion import criteria, evaluation, images  # torch and onnxruntime: seconds

    label = f"models:/{version.name}/{version.version}"
    verified = verification.verify(label, contents[0], origin)
    found = [
        Criterion("sha256", True, f"{origin['sha256'][:12]}…; {verified}"),
        provenance.clean_commit(contents[0], origin),
    ]
    if date := version.tags.get(ROLLED_BACK):
        text = f'`make rollback` replaced it on {date}; FORCE="reason" makes it champion again'
        found.append(Criterion("rollback", False, text))
    models = [evaluation.OnnxModel(content, label) for content in contents]
    if len({model.classes for model in models}) > 1:
        raise TrackingError(
            f"{label}: got the classes {models[0].classes}, expected the champion's {models[1].classes}"
        )
    if len({model.image_shape for model in models}) > 1:
        raise TrackingError(
            f"{label}: got a model for images of {models[0].image_shape}, expected {models[1].image_shape} as the "
            "champion's: they cannot answer the same images"
        )
    data = champion.tags.get("training_data.md5", "") if champion else None
    shown = images.read_images(origin["training_data"], models[0].classes, data, models[0].preprocessing == "ink")
    evaluated = evaluation.evaluate(models, shown)
    found += criteria.limits(evaluated[0], shown, params)
    if champion:
        found += criteria.comparison(evaluated[1], evaluated[0], shown, params)
    number = str(champion.version) if champion else None
    return Verdict(str(version.name), str(version.version), number, found, str(shown), force)


def choose(registry: Registry, name: str, arguments: argparse.Namespace) -> ModelVersion:
    """The version that the arguments name. Raises TrackingError if the registry lacks it."""
    if not arguments.exported:
        return registry.get_version(name, arguments.version, arguments.alias)
    sha256 = str(read_json(MANIFEST, "model.onnx")["model.onnx"])
    version = registry.find_version(name, sha256)
    if version is None:
        raise TrackingError(
            f"the registry: expected a version of model {name!r} with the SHA-256 {sha256} of {MANIFEST.parent}/"
            "model.onnx, got none; `make track` registers it"
        )
    return version


def record(registry: Registry, verdict: Verdict, version: ModelVersion, champion: ModelVersion | None) -> None:
    """Store the verdict and, if it allows, move the aliases. `previous` comes first: an interruption loses nothing."""
    registry.log_text(version, verdict.markdown(), f"promotion/{version.name}-v{version.version}.md")
    registry.set_tags(version, verdict.tags(datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")))
    if verdict.is_promoted:
        registry.delete_tag(version, ROLLED_BACK)
        if champion:
            registry.set_alias(champion, "previous")
        registry.set_alias(version, "champion")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make promote", description="Make a registered model the champion.")
    parser.add_argument("--name", help="registered model; the data set in params.yaml if left out")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--version", help="the version with this number")
    choice.add_argument("--alias", default="candidate", help="the version that has this alias (candidate)")
    choice.add_argument("--exported", action="store_true", help="the version of artifacts/export/model.onnx")
    parser.add_argument("--force", help="the reason why it becomes champion whatever the criteria say")
    parser.add_argument("--exit-zero", action="store_true", help="a refused model is not a failure")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    params = config.load("promote", settings.Params)
    name, root = arguments.name or model_name(), Path(os.environ.get("DVC_ROOT", "."))
    configure_mlflow()
    with mlflow_errors(root):
        store = MlflowStore(root)
    with FileLock(lock_file(store.uri)):  # nobody else here moves an alias meanwhile
        with mlflow_errors(root):
            registry = Registry(store)
            version, champion = choose(registry, name, arguments), registry.find_alias(name, "champion")
            if champion and champion.version == version.version:
                print(f"{name} version {version.version} is the champion")
                return
            origin = registry.origin(version)
            contents = [registry.read_model(model) for model in (version, champion) if model]
        verdict = judge(version, champion, contents, origin, params, arguments.force)
        print(verdict.text())
        with mlflow_errors(root):
            record(registry, verdict, version, champion)
    stays = f"the champion is still version {champion.version}" if champion else "there is still no champion"
    if verdict.is_promoted:
        print(f"champion: {name} version {version.version}{f', previous: {champion.version}' if champion else ''}")
    elif arguments.exit_zero:
        print(f"{stays}; the model is computed and registered, and `make promote` decides again")
    else:
        raise PromotionError(
            f"{name} version {version.version} is refused: {', '.join(verdict.failed)}, see above; {stays}. "
            'FORCE="reason" promotes it nevertheless'
        )


if __name__ == "__main__":
    entrypoint.run(main)
