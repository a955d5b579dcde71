"""A store that was written when all modules were in one folder keeps its runs, because the key of a child run leaves
out code and its paths.

`store_before_move.json` contains what `dvc repro` wrote then, for the embedded digits: the stages in dvc.lock, and the
name, status, tags, parameters and last metrics of each run. In tags, ids of runs are replaced by names; the text of the
model card is left out.
"""

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import pytest
from dvc.utils.serialize import dump_yaml
from mlflow.entities import Metric, Param, RunTag

from pipeline.core.config import SECTIONS
from pipeline.core.files import read_yaml, write_csv, write_json
from pipeline.data.dataset import DIGITS, Description
from pipeline.track import CARD, CURVES, DATASET, METRICS, log_version
from pipeline.tracking.dvc_lock import read_lock
from pipeline.tracking.mlflow_store import PARENT, MlflowStore
from tests.support.project_clone import ROOT, STAGE_SETTINGS

OLD: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("store_before_move.json").read_text())


def write_old_runs(store: MlflowStore) -> dict[str, str]:
    """Write the old runs through MLflow's client; return their ids by name."""
    ids: dict[str, str] = {}
    for run in OLD["runs"]:
        name = run["tags"].get("dvc.stage", "parent")
        ids[name] = store.client.create_run(store.experiment_id, run_name=run["name"]).info.run_id
    for name, run in zip(ids, OLD["runs"], strict=True):
        tags = {key: ids[value] if key.startswith(("stage.", PARENT)) else value for key, value in run["tags"].items()}
        store.client.log_batch(
            ids[name],
            metrics=[Metric(key, value, timestamp=1, step=0) for key, value in run["metrics"].items()],
            params=[Param(key, value) for key, value in run["params"].items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        store.client.set_terminated(ids[name], run["status"])
    return ids


def write_new_lock() -> None:
    """Write the dvc.lock of the same results in the present layout: other code, and `train.optimizer`."""
    stages = {}
    for name, described in read_yaml(ROOT / "dvc.yaml")["stages"].items():
        if name not in SECTIONS:
            continue
        old = OLD["stages"][name]
        sections = {
            section: {key.replace("optimiser", "optimizer"): value for key, value in settings.items()}
            for section, settings in old["params"].items()
        }
        code = {path: "0" * 32 for path in described["deps"] if path.endswith(".py")}
        data = {path: md5 for path, md5 in old["deps"].items() if not path.endswith(".py")}
        stages[name] = {
            "params": {"params.yaml": sections},
            "deps": [{"path": path, "md5": md5} for path, md5 in (code | data).items()],
            "outs": [{"path": path, "md5": md5} for path, md5 in old["outs"].items()],
        }
    dump_yaml("dvc.lock", {"schema": "2.0", "stages": stages})


def write_stand_ins() -> None:
    """Write the files that are read for a run that is not in the store yet."""
    Description("digits", DIGITS, {}).save(DATASET)
    for path in METRICS.values():
        write_json(Path(path), {"test": {"accuracy": 0.5}})
    for path, axis in CURVES.items():
        write_csv(Path(path), (axis, "train_loss"), [(1, 0.5), (2, 0.25)])
    Path(CARD).parent.mkdir(parents=True)
    Path(CARD).write_text("a model card")
    Path("params.yaml").write_text("{}\n")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowStore:
    """A fresh store in the working directory, which is a folder without git."""
    for name in list(os.environ):
        if name.startswith((*STAGE_SETTINGS, "GIT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    write_new_lock()
    write_stand_ins()
    return MlflowStore(Path())


def runs_in(store: MlflowStore) -> dict[str, dict[str, object]]:
    """All that is stored of each run, by its id."""
    return {run.info.run_id: run.to_dictionary() for run in store.client.search_runs([store.experiment_id])}


def ids_by_stage(store: MlflowStore) -> dict[str, set[str]]:
    """The ids of the runs of each stage, and of the parents."""
    ids = defaultdict(set)
    for run in store.client.search_runs([store.experiment_id]):
        ids[run.data.tags.get("dvc.stage", "parent")].add(run.info.run_id)
    return dict(ids)


def test_the_old_runs_are_linked_and_only_train_whose_parameter_was_renamed_gets_a_new_one(store: MlflowStore) -> None:
    old = write_old_runs(store)
    before = runs_in(store)

    parent = log_version(store, read_lock())

    ids = ids_by_stage(store)
    (train,) = ids.pop("train") - {old["train"]}
    assert ids.pop("parent") == {old["parent"], parent.info.run_id}
    assert ids == {stage: {old[stage]} for stage in SECTIONS if stage != "train"}
    after = runs_in(store)
    assert {run_id: after[run_id] for run_id in before} == before
    links = store.client.get_run(parent.info.run_id).data.tags
    assert {stage: links[f"stage.{stage}"] for stage in SECTIONS} == {stage: old[stage] for stage in SECTIONS} | {
        "train": train
    }
    assert store.client.get_run(train).data.tags[PARENT] == parent.info.run_id


def test_a_second_sync_changes_nothing(store: MlflowStore) -> None:
    write_old_runs(store)
    first = log_version(store, read_lock())
    before = runs_in(store)

    second = log_version(store, read_lock())

    assert second.info.run_id == first.info.run_id
    assert runs_in(store) == before
