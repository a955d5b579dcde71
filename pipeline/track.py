"""Stage `track`: brings MLflow into agreement with dvc.lock.

Reads    dvc.lock, and what the stages before wrote.
Writes   artifacts/track/told.json: which version was told. It is in no cache and not in git, so DVC runs this stage in
         a clone that has told its MLflow nothing yet, even if the committed dvc.lock agrees.
         In MLflow: a parent run for the pipeline version, a child run for each stage's result, the exported model in
         the registry.
Decides  whether the model becomes `champion`: if it is at least as accurate, on the same validation images, as the
         present one, or the first; else it is the `challenger`. The test set has no say. The model of a DVC experiment
         gets the experiment's name as an alias, too.

It says what is so, not what happened: run twice, or after a cache hit, a lost database or a server that was down, it
leaves MLflow the same. A result that has its child run is linked, never logged again.
"""

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from filelock import FileLock
from tqdm import tqdm

from pipeline.core import entrypoint
from pipeline.core.errors import TrackingError
from pipeline.core.files import read_json, write_json
from pipeline.data.dataset import load_description
from pipeline.tracking import git_tags
from pipeline.tracking.dvc_lock import Stage, content_md5, locked, version_key
from pipeline.tracking.mlflow_store import PARENT, Record, Run, set_manners, talking_to
from pipeline.tracking.registry import ModelVersion, Registry
from pipeline.tracking.store_uri import shown_uri

STAGES: Final = ("download", "eda", "normalise", "train", "score", "export")
FIGURES: Final = {
    "eda": "artifacts/eda/tables/summary.json",
    "normalise": "artifacts/normalise/statistics.json",
    "train": "artifacts/train/summary.json",
    "score": "artifacts/score/metrics.json",
}
CURVES: Final = {"artifacts/train/history.csv": "epoch", "artifacts/train/steps.csv": "step"}
HEADLINES: Final = ("test_accuracy", "test_loss", "handwriting_accuracy", "handwriting_loss")  # the parent's
DATASET: Final = Path("artifacts/download/dataset.json")
MODEL: Final = "artifacts/export/model.onnx"
CARD: Final = "artifacts/export/model_card.md"
OUT: Final = Path("artifacts")
TRAIN: Final = "artifacts/download/train_images.npy"
TEST: Final = "artifacts/download/test_images.npy"
VALIDATION: Final = Path("artifacts/normalise/validation_images.npy")
NO_DATA: Final = "none"  # where stage `score` reads no own handwriting
USES: Final = {
    "artifacts/download": "exploring",
    TRAIN: "training",
    "artifacts/normalise": "training",
    TEST: "testing",
    "data": "testing",
}


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings, named by their path: `train.optimizer.name`."""
    for key, value in tree.items():
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping):
            yield from flat(value, name)
        else:
            yield name, value


def figures(path: str) -> dict[str, dict[int, float]]:
    """The numbers in a JSON file as curves of one point, `test.accuracy` as `test_accuracy`."""
    numbers = {name: value for name, value in flat(read_json(Path(path))) if isinstance(value, int | float)}
    return {name.replace(".", "_"): {0: float(value)} for name, value in numbers.items()}


def curves(path: str, axis: str) -> dict[str, dict[int, float]]:
    """The columns of a CSV file as curves over the column `axis`."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: {int(row[axis]): float(row[name]) for row in rows} for name in rows[0] if name != axis}


def files_in(path: Path) -> list[Path]:
    """The file at `path`, or those in the folder; not the images, which the data set's hash stands for."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [file for file in files if file.is_file() and file.suffix != ".npy"]


def check_on_disk(stage: Stage) -> None:
    """Raise TrackingError when a file that will be read is not the one that dvc.lock names."""
    for path, md5 in stage.outs.items():
        if content_md5(Path(path)) != md5:
            raise TrackingError(f"{path}: got other contents than dvc.lock says; type `dvc checkout` or `dvc repro`")


def note_stage(record: Record, stage: Stage, parent_id: str) -> Run:
    """The finished child run of a stage's result: found, completed, or begun and completed."""
    identity = {"dvc.stage": stage.name, "dvc.key": stage.key, "dvc.inputs_key": stage.inputs_key}
    run, live = record.find(dvc_stage=stage.name, dvc_key=stage.key), shown_live(record, stage)
    if run and live:
        record.client.delete_run(live.info.run_id)  # the same result again, as after a change of a comment
    files = [file for path in stage.outs for file in files_in(Path(path))]
    if run and run.info.status == "FINISHED":
        record.tags(run, {PARENT: living_parent(record, run, parent_id)})
        record.files(run, files, OUT / stage.name)
        return run
    # A training that was shown live is completed, not told again.
    run = run or (record.settled(live) if live else record.begin(stage.name, identity))
    record.tags(run, {**identity, PARENT: living_parent(record, run, parent_id)})
    record.params(run, dict(flat(stage.params)))
    if stage.name in FIGURES:
        record.metrics(run, figures(FIGURES[stage.name]))
    for path, axis in CURVES.items():
        if path in stage.outs:
            record.metrics(run, curves(path, axis))
    for path, used_for in USES.items():
        if path in stage.deps:
            record.data(run, path, used_for, stage.deps[path])
    record.files(run, files, OUT / stage.name)
    record.end(run)
    return run


def living_parent(record: Record, run: Run, parent_id: str) -> str:
    """The parent that the run has; `parent_id` where it has none, or one that was deleted."""
    known = run.data.tags.get(PARENT, parent_id)
    return known if known == parent_id or record.is_active(known) else parent_id


def shown_live(record: Record, stage: Stage) -> Run | None:
    """The run in which `pipeline.tracking.live_follower` has shown the stage, if its result is not known yet."""
    run = record.find(dvc_stage=stage.name, dvc_inputs_key=stage.inputs_key)
    return run if run and "dvc.key" not in run.data.tags else None


def note_version(record: Record, stages: dict[str, Stage]) -> Run:
    """The finished parent run of a pipeline version, its stages' runs found or completed on the way."""
    key = version_key(stages)
    name = git_tags.experiment() or f"{load_description(DATASET).name}-{key[:8]}"
    parent = record.find(dvc_version=key) or record.begin(name, {"dvc.version": key})
    # A far server takes seconds a request: a person at a terminal sees how far it is.
    bar = tqdm(stages.values(), desc="telling MLflow", unit="stage", leave=False, disable=None)
    children = {stage.name: note_stage(record, stage, parent.info.run_id) for stage in bar}
    record.tags(parent, origin(parent, stages) | {f"stage.{name}": run.info.run_id for name, run in children.items()})
    is_finished = parent.info.status == "FINISHED"
    # dvc.lock stays as it was when the version was logged: what follows, such as this stage, does not belong to it.
    record.files(parent, [Path("params.yaml"), Path("dvc.lock")], Path(), compare_sizes=not is_finished)
    record.files(parent, [Path(CARD)], Path(CARD).parent)
    if is_finished:
        return parent
    record.params(parent, {name: value for stage in stages.values() for name, value in flat(stage.params)})
    scores = figures(FIGURES["score"])
    record.metrics(parent, {name: scores[name] for name in HEADLINES if name in scores})
    record.metrics(parent, curves("artifacts/train/history.csv", "epoch"))
    record.data(parent, TRAIN, USES[TRAIN], stages["normalise"].deps[TRAIN])
    record.data(parent, TEST, USES[TEST], stages["score"].deps[TEST])
    record.tags(parent, {"mlflow.note.content": description(record, children)})
    record.end(parent)
    return parent


def origin(parent: Run, stages: dict[str, Stage]) -> dict[str, str]:
    """Tags that say where the version comes from. A commit that holds it whole is kept; a dirty one is replaced."""
    data = {"data.md5": stages["score"].deps.get("data", NO_DATA)}
    known = parent.data.tags.get("git.dirty") == "false"
    return data if known else data | git_tags.tags()


def description(record: Record, children: dict[str, Run]) -> str:
    """The parent run's text in the UI: links to the runs of its stages, then the model card."""
    links = (f"[{name}](#/experiments/{record.experiment_id}/runs/{run.info.run_id})" for name, run in children.items())
    return f"Stages: {' · '.join(links)}\n\n{Path(CARD).read_text(encoding='utf-8')}"


def note_model(record: Record, stages: dict[str, Stage], parent: Run) -> str:
    """Register the exported model unless it is, and decide on its alias; a sentence that says how it stands."""
    data = load_description(DATASET)
    sha256 = read_json(Path("artifacts/export/manifest.json"))["model.onnx"]
    export = record.find(dvc_stage="export", dvc_key=stages["export"].key)
    assert export is not None  # note_version has just completed it
    accuracy = read_json(Path(FIGURES["train"]))["best_validation_accuracy"]
    tags = {
        "sha256": sha256,
        "test_accuracy": str(read_json(Path(FIGURES["score"]))["test"]["accuracy"]),
        "validation_accuracy": str(accuracy),
        "validation_images.md5": content_md5(VALIDATION),
        "data.md5": stages["score"].deps.get("data", NO_DATA),
        "parent_run": parent.info.run_id,
    }
    registry = Registry(record)
    version = registry.find(data.name, sha256)
    if version is None:
        version = registry.register(export, data.name, Path(MODEL), tags)
    elif not registry.is_intact(version):
        version = registry.repair(version, export, Path(MODEL))
    if not record.is_active(version.tags["parent_run"]):
        registry.tag(version, {"parent_run": parent.info.run_id})
    champion = registry.champion(data.name)
    if "alias_at_registration" not in version.tags or champion is None:
        registry.decide(version, alias_for(champion, accuracy, tags["validation_images.md5"]))
    if alias := git_tags.alias(git_tags.experiment()):
        registry.set_alias(version, alias)
    holders = record.client.get_model_version(data.name, str(version.version)).aliases
    return f"{data.name} version {version.version} ({', '.join(holders) or 'no alias'})"


def alias_for(champion: ModelVersion | None, accuracy: float, images: str) -> str:
    """`champion` or `challenger`, for a model of this accuracy on the validation images with this MD5 sum."""
    if champion is None:
        return "champion"
    comparable = champion.tags.get("validation_images.md5") == images
    return "champion" if comparable and accuracy >= float(champion.tags["validation_accuracy"]) else "challenger"


def main() -> None:
    root = Path(os.environ.get("DVC_ROOT", "."))
    set_manners()
    stages = {name: stage for name, stage in locked().items() if name in STAGES}
    if missing := set(STAGES) - set(stages):
        raise TrackingError(f"dvc.lock: {', '.join(sorted(missing))} is not in it; type `dvc repro`")
    for stage in stages.values():
        check_on_disk(stage)
    try:
        with talking_to(root):
            (root / ".cache").mkdir(exist_ok=True)
            # Two experiments that end together share stages: one of them logs, the other links.
            with FileLock(root / ".cache" / "track.lock"):
                record = Record(root)
                parent = note_version(record, stages)
                model = note_model(record, stages, parent)
    except TrackingError as error:
        advice = "Everything is computed and kept; the same command, typed again, then only tells MLflow"
        raise TrackingError(f"{error}. {advice}") from error
    write_json(OUT / "track" / "told.json", {"version": version_key(stages)})
    said = f"MLflow at {shown_uri(root)}: run {parent.info.run_name}, model {model}"
    print(f"{said}{git_tags.advice(stages)}")


if __name__ == "__main__":
    entrypoint.run(main)
