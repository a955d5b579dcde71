"""What `make judge` logs to MLflow."""

from pathlib import Path

import pytest

from benchmarks.judge import Judgeable, log, save
from benchmarks.judgement import judge
from benchmarks.labelled_pictures import Picture
from pipeline.tracking.mlflow_store import MlflowStore, configure_mlflow


def test_the_same_pictures_and_model_have_one_run_with_the_latest_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    configure_mlflow()
    picture = Picture("7/a.png", b"a picture", "digits", "7")

    def log_answer(model: str, digit: int) -> None:
        answer = {"digit": digit, "confidence": 0.5, "probabilities": [0.1] * 10}
        judged = [judge(picture, answer)]
        log("ours", Judgeable(model, model, lambda _: answer), judged, save(judged, tmp_path / "out"), tmp_path)

    for model, digit in (("mnist:1", 1), ("mnist:1", 7), ("mnist:2", 7), ("mnist:1", 7)):
        log_answer(model, digit)

    store = MlflowStore(tmp_path, "judge")
    runs = store.client.search_runs([store.experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["ours mnist:1", "ours mnist:2"]
    assert {run.data.metrics["digits"] for run in runs} == {1.0}
    assert {run.info.status for run in runs} == {"FINISHED"}
    names = {file.path for file in store.client.list_artifacts(runs[0].info.run_id)}
    assert names == {"table.md", "judged.csv", "mistakes.png"}
