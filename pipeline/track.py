"""Stage `track`: syncs MLflow with dvc.lock.

Reads    dvc.lock, and the outputs of the other stages.
Writes   artifacts/track/synced.json: the pipeline version that was synced. It is neither cached nor in git, so DVC
         runs this stage in a clone that has not synced yet, even if the committed dvc.lock agrees.
         In MLflow: a parent run for the pipeline version, a child run for each stage's result, the exported model in
         the registry.
Decides  nothing: the model gets the alias `candidate`, that of a DVC experiment also the experiment's name, and
         `make promote` decides whether it becomes champion. MODEL_SIGNING_KEY, if set, names the private key with which
         the version is signed.

Every operation is idempotent: run twice, or after a cache hit, a lost database or a server that was down, it leaves
the same state in MLflow. A result that has its child run is linked, never logged again.
"""

import os
from pathlib import Path
from typing import Final

from filelock import FileLock
from tqdm import tqdm

from pipeline.core import entrypoint
from pipeline.core.config import SECTIONS
from pipeline.core.errors import TrackingError
from pipeline.core.files import read_json, write_json
from pipeline.core.git import git
from pipeline.data.dataset import load_description
from pipeline.tracking import git_tags, signature
from pipeline.tracking.dvc_lock import Stage, content_md5, read_lock, version_key
from pipeline.tracking.lock_check import check_files, check_shape, outdated
from pipeline.tracking.mlflow_store import PARENT, MlflowStore, Run, configure_mlflow, mlflow_errors
from pipeline.tracking.registry import CLAIMED_TAGS, UNKNOWN, ModelVersion, Registry
from pipeline.tracking.stage_outputs import artifact_files, flatten, read_curves, read_metrics
from pipeline.tracking.tracking_uri import display_uri

METRICS: Final = {
    "eda": "artifacts/eda/tables/summary.json",
    "normalise": "artifacts/normalise/statistics.json",
    "train": "artifacts/train/summary.json",
    "score": "artifacts/score/metrics.json",
}
CURVES: Final = {
    "artifacts/train/history.csv": "epoch",
    "artifacts/train/steps.csv": "step",
    "artifacts/score/coverage.csv": "coverage",
}
PARENT_METRICS: Final = ("test_accuracy", "test_loss", "handwriting_accuracy", "handwriting_loss")
DATASET: Final = Path("artifacts/download/dataset.json")
MODEL: Final = "artifacts/export/model.onnx"
CARD: Final = "artifacts/export/model_card.md"
OUT: Final = Path("artifacts")
TRAIN: Final = "artifacts/download/train_images.npy"
TEST: Final = "artifacts/download/test_images.npy"
VALIDATION: Final = Path("artifacts/normalise/validation_images.npy")
NO_DATA: Final = "none"  # if the stage `score` does not read the user's own handwriting
DATA_CONTEXTS: Final = {
    "artifacts/download": "exploring",
    TRAIN: "training",
    "artifacts/normalise": "training",
    TEST: "testing",
    "data": "testing",
}


def select(stages: dict[str, Stage]) -> dict[str, Stage]:
    """The stages that are synced. Raises TrackingError unless all are there."""
    if missing := set(SECTIONS) - set(stages):
        raise TrackingError(f"dvc.lock: expected the stages {', '.join(sorted(missing))}, got none; run `dvc repro`")
    return {name: stage for name, stage in stages.items() if name in SECTIONS}


def log_stage(store: MlflowStore, stage: Stage, parent_id: str) -> Run:
    """The finished child run of a stage's result: found, completed, or created and completed."""
    identity = {"dvc.stage": stage.name, "dvc.key": stage.key, "dvc.inputs_key": stage.inputs_key}
    run = store.find_run({"dvc.stage": stage.name, "dvc.key": stage.key})
    live = find_live_run(store, stage)
    if run and live:
        store.client.delete_run(live.info.run_id)  # the same result again, for example after a comment has changed
    files = [file for path in stage.outs for file in artifact_files(Path(path))]
    if run and run.info.status == "FINISHED":
        store.set_tags(run, {PARENT: active_parent(store, run, parent_id)})
        store.log_artifacts(run, files, OUT / stage.name)
        return run
    run = run or (store.wait_until_finished(live) if live else store.create_run(stage.name, identity))
    store.set_tags(run, {**identity, PARENT: active_parent(store, run, parent_id)})
    store.log_params(run, dict(flatten(stage.params)))
    if stage.name in METRICS:
        store.log_metrics(run, read_metrics(METRICS[stage.name]))
    for path, axis in CURVES.items():
        if path in stage.outs:
            store.log_metrics(run, read_curves(path, axis))
    for path, context in DATA_CONTEXTS.items():
        if path in stage.deps:
            store.log_input(run, path, context, stage.deps[path])
    store.log_artifacts(run, files, OUT / stage.name)
    store.end_run(run)
    return run


def active_parent(store: MlflowStore, run: Run, parent_id: str) -> str:
    """The parent of the run; `parent_id` if it has none, or one that was deleted."""
    current = run.data.tags.get(PARENT, parent_id)
    return current if current == parent_id or store.is_active(current) else parent_id


def find_live_run(store: MlflowStore, stage: Stage) -> Run | None:
    """The run that `pipeline.tracking.live_follower` created for the stage, as long as its result is not logged."""
    run = store.find_run({"dvc.stage": stage.name, "dvc.inputs_key": stage.inputs_key})
    return run if run and "dvc.key" not in run.data.tags else None


def log_version(store: MlflowStore, stages: dict[str, Stage]) -> Run:
    """The finished parent run of a pipeline version, after the runs of its stages."""
    key = version_key(stages)
    name = git_tags.experiment_name() or f"{load_description(DATASET).name}-{key[:8]}"
    parent = store.find_run({"dvc.version": key}) or store.create_run(name, {"dvc.version": key})
    # With a remote server a request takes seconds: on a terminal there is a progress bar.
    bar = tqdm(stages.values(), desc="syncing to MLflow", unit="stage", leave=False, disable=None)
    children = {stage.name: log_stage(store, stage, parent.info.run_id) for stage in bar}
    links = {f"stage.{name}": run.info.run_id for name, run in children.items()}
    store.set_tags(parent, origin_tags(parent, stages) | links)
    is_finished = parent.info.status == "FINISHED"
    # A finished run keeps its dvc.lock: later changes to the file, such as this stage's, are not part of the version.
    store.log_artifacts(parent, [Path("params.yaml"), Path("dvc.lock")], Path(), compare_sizes=not is_finished)
    store.log_artifacts(parent, [Path(CARD)], Path(CARD).parent)
    if is_finished:
        return parent
    store.log_params(parent, {name: value for stage in stages.values() for name, value in flatten(stage.params)})
    scores = read_metrics(METRICS["score"])
    store.log_metrics(parent, {name: scores[name] for name in PARENT_METRICS if name in scores})
    store.log_metrics(parent, read_curves("artifacts/train/history.csv", "epoch"))
    store.log_input(parent, TRAIN, DATA_CONTEXTS[TRAIN], stages["normalise"].deps[TRAIN])
    store.log_input(parent, TEST, DATA_CONTEXTS[TEST], stages["score"].deps[TEST])
    store.set_tags(parent, {"mlflow.note.content": description(store, children)})
    store.end_run(parent)
    return parent


def origin_tags(parent: Run, stages: dict[str, Stage]) -> dict[str, str]:
    """Tags for the origin of the version. The tags of a clean commit are kept, those of a dirty one are replaced."""
    data = {"data.md5": stages["score"].deps.get("data", NO_DATA)}
    is_clean = parent.data.tags.get("git.dirty") == "false"
    return data if is_clean else data | git_tags.origin_tags()


def description(store: MlflowStore, children: dict[str, Run]) -> str:
    """The parent run's text in the UI: links to the runs of its stages, then the model card."""
    links = (f"[{name}](#/experiments/{store.experiment_id}/runs/{run.info.run_id})" for name, run in children.items())
    return f"Stages: {' · '.join(links)}\n\n{Path(CARD).read_text(encoding='utf-8')}"


def register_model(store: MlflowStore, stages: dict[str, Stage], parent: Run, signing_key: Path | None) -> str:
    """Register the exported model unless it is registered, make it the candidate and sign it; return name, version and
    aliases."""
    data = load_description(DATASET)
    sha256 = read_json(Path("artifacts/export/manifest.json"))["model.onnx"]
    export = store.find_run({"dvc.stage": "export", "dvc.key": stages["export"].key})
    assert export is not None  # log_version has just completed it
    accuracy = read_json(Path(METRICS["train"]))["best_validation_accuracy"]
    tags = {
        "sha256": sha256,
        "test_accuracy": str(read_json(Path(METRICS["score"]))["test"]["accuracy"]),
        "validation_accuracy": str(accuracy),
        "validation_images.md5": content_md5(VALIDATION),
        "training_data.md5": stages["train"].deps["artifacts/normalise"],
        "data.md5": stages["score"].deps.get("data", NO_DATA),
        "parent_run": parent.info.run_id,
    }
    registry = Registry(store)
    version = registry.find_version(data.name, sha256)
    if version is None:
        version = registry.register(export, data.name, Path(MODEL), tags)
    elif not registry.is_intact(version):
        version = registry.repair(version, export, Path(MODEL))
    # An earlier version of this stage, or a person, may have registered it with fewer tags.
    registry.set_tags(version, {name: value for name, value in tags.items() if name not in version.tags})
    if not store.is_active(version.tags.get("parent_run", parent.info.run_id)):
        registry.set_tags(version, {"parent_run": parent.info.run_id})
    registry.set_alias(version, "candidate")
    if own_alias := git_tags.alias(git_tags.experiment_name()):
        registry.set_alias(version, own_alias)
    version = store.client.get_model_version(data.name, str(version.version))  # with its tags and aliases of now
    if signing_key:
        sign(registry, version, tags, signing_key)
    signed = ", signed" if signing_key else ""
    return f"{data.name} version {version.version} ({', '.join(version.aliases) or 'no alias'}){signed}"


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


def sync(store: MlflowStore, stages: dict[str, Stage], signing_key: Path | None) -> str:
    """Log the pipeline version, register its model and sign it; return a summary for the user."""
    parent = log_version(store, stages)
    return f"run {parent.info.run_name}, model {register_model(store, stages, parent, signing_key)}"


def main() -> None:
    root = Path(os.environ.get("DVC_ROOT", "."))
    configure_mlflow()
    stages = select(read_lock())
    check_shape(stages)
    check_files(stages)
    try:
        with mlflow_errors(root):
            (root / ".cache").mkdir(exist_ok=True)
            # Two experiments that end at the same time may share stages: one of them logs, the other links.
            with FileLock(root / ".cache" / "track.lock"):
                key = os.environ.get("MODEL_SIGNING_KEY")
                synced = sync(MlflowStore(root), stages, root / key if key else None)
    except TrackingError as error:
        advice = "All results are computed and kept; run the same command again to sync them to MLflow"
        raise TrackingError(f"{error}. {advice}") from error
    write_json(OUT / "track" / "synced.json", {"version": version_key(stages)})
    if changed := outdated(stages):
        print(f"note: MLflow has what dvc.lock says, whose parameters or code are not those here: {', '.join(changed)}")
    print(f"MLflow at {display_uri(root)}: {synced}{git_tags.commit_advice(stages)}")


if __name__ == "__main__":
    entrypoint.run(main)
