"""The loop without a browser: pictures that the champion reads wrongly are corrected, reviewed and trained with; the
new model reads them, and promotion decides. A folder in which every label is wrong is refused.

The champion has learned little, so there is much to correct: the corrections are a large part of what its successor is
trained on.
"""

import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from pipeline.core.files import file_md5, read_json
from pipeline.data.corrections import read, trains
from serving.model import Model
from tests.support.corrections import correct, correcting_client, picture_of, promote, repro, reviewing, small_champion
from tests.support.dvc_output import stages_run
from tests.support.project_clone import Clone, duplicate
from tests.support.sample_requests import PNG

SHARE = 0.7
DRAWN = {(seed % 10, seed): picture_of(seed % 10, seed) for seed in range(500)}


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return small_champion(tmp_path_factory.mktemp("loop") / "clone", epochs=1)


@pytest.fixture
def clone(champion: Clone, tmp_path: Path) -> Clone:
    return duplicate(champion, tmp_path / "clone")


def service_of(clone: Clone, inbox: Path) -> TestClient:
    """A client of a service of the clone's exported model."""
    return correcting_client(Model(clone.folder / "artifacts/export/model.onnx", "mnist:v1-test"), inbox)


def misread(client: TestClient) -> dict[tuple[int, int], bytes]:
    """The drawn pictures that get another answer than their digit."""
    answers = {key: client.post("/predict", content=picture, headers=PNG).json() for key, picture in DRAWN.items()}
    return {key: DRAWN[key] for key, answer in answers.items() if answer["digit"] != key[0]}


def review(clone: Clone, inbox: Path, patch: pytest.MonkeyPatch) -> int:
    """Keep all corrections as they are. Returns how many there were."""
    patch.chdir(clone.folder)
    with reviewing(inbox) as url:
        items: list[dict[str, Any]] = httpx2.get(f"{url}/corrections.json", timeout=60).json()["items"]
        decisions = {item["name"]: item["label"] for item in items}
        answer = httpx2.post(f"{url}/decisions", json=decisions, timeout=300).json()
    assert answer["kept"] == len(items)
    assert not list(inbox.iterdir())
    return len(items)


def test_corrected_pictures_are_read_by_the_next_model_which_is_promoted(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file_md5(clone.folder / "data.dvc")
    client = service_of(clone, tmp_path / "inbox")
    wrong = misread(client)
    for (digit, _), picture in wrong.items():
        correct(client, picture, digit)
    assert review(clone, tmp_path / "inbox", monkeypatch) == len(wrong) > 100
    assert file_md5(clone.folder / "data.dvc") != before
    assert "up to date" in clone.check_output("dvc", "status", "data.dvc")

    scored_only = repro(clone)
    metrics = read_json(clone.folder / "artifacts/score/metrics.json")["corrections"]
    assert stages_run(scored_only) == ["normalise", "score", "export", "track"]  # the same training images
    assert (metrics["images"], metrics["accuracy"]) == (len(wrong), 0.0)

    clone.set("normalise", corrections_share=SHARE)
    clone.set("train", epochs=6)  # promotion decides on the validation images, which no correction joins
    repro(clone)

    kept = read(clone.folder / "data" / "corrections")
    scored = {one.file for one in kept if not trains(one.picture, SHARE)}
    lines = (clone.folder / "artifacts/score/tables/corrections.csv").read_text().splitlines()[1:]
    assert {line.split(",")[0] for line in lines} == scored
    assert 0 < len(scored) < len(wrong) / 2
    metrics = read_json(clone.folder / "artifacts/score/metrics.json")["corrections"]
    assert metrics["images"] == len(scored)
    assert metrics["accuracy"] > 0.5
    again = misread(service_of(clone, tmp_path / "unused"))
    assert len(again.keys() & wrong.keys()) < len(wrong) / 2
    done = promote(clone)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "champion: mnist version 2, previous: 1" in done.stdout


def test_a_folder_of_wrong_labels_is_refused_and_the_champion_stays(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone.set("train", epochs=8)  # longer training alone would make a better model, whatever it is trained on
    repro(clone)
    assert promote(clone).returncode == 0
    client = service_of(clone, tmp_path / "inbox")
    for (digit, seed), picture in DRAWN.items():
        if seed < 300:
            correct(client, picture, (digit + 3) % 10)
    assert review(clone, tmp_path / "inbox", monkeypatch) == 300
    clone.set("normalise", corrections_share=SHARE)
    repro(clone)

    done = promote(clone)

    print(done.stdout)
    assert done.returncode == 1
    assert "mnist version 3 is refused: " in done.stderr
    assert "the champion is still version 2" in done.stderr
    failed = set(re.findall(r"^  FAILED  ([\w ]+?)  ", done.stdout, re.MULTILINE))
    assert {"own handwriting", "NLL", "evidence"} <= failed
