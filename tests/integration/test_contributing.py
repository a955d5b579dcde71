"""The recipes of CONTRIBUTING.md work: each is applied to a copy of the repository, and its result is used there."""

import csv
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.core.files import read_json
from tests.support.project_clone import NO_MLFLOW, ROOT, Clone, duplicate

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^### (.*?)\n(.*?)(?=^### |\Z)", TEXT, re.MULTILINE | re.DOTALL))
PATHS = r"`([\w./-]*(?:/|\.(?:py|js|md|yaml|html)))`"
CALL = """
import sys
from pathlib import Path
from starlette.testclient import TestClient
from serving.model import Model
from tests.support.inprocess_service import service
model = Model(Path("artifacts/export/model.onnx"), "mnist:v1-test")
with TestClient(service(model)) as client:
    assert client.get("/classes").json() == {"classes": list("0123456789")}
    assert client.post("/classes").status_code == 405
    assert "/classes" in client.get("/docs.json").json()["paths"]
"""


class Block(NamedTuple):
    path: str
    language: str
    text: str


def blocks(recipe: str) -> list[Block]:
    """The code blocks of a recipe, each with the file that its step names first."""
    found = []
    for step in re.split(r"^\d+\. ", recipe, flags=re.MULTILINE)[1:]:
        for indent, language, text in re.findall(
            r"^( *)```(python|diff)\n(.*?)^ *```$", step, re.MULTILINE | re.DOTALL
        ):
            content = re.sub(f"^{indent}", "", text, flags=re.MULTILINE)
            found.append(Block(re.findall(PATHS, step)[0], language, content))
    return found


def patch(diff: str, text: str) -> str:
    """`text` with the lines of a diff replaced; the removed lines and the context have to occur exactly once."""
    lines = diff.splitlines()
    before = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
    after = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
    assert text.count(before) == 1, before
    return text.replace(before, after)


def apply(clone: Clone, recipe: str) -> None:
    for block in blocks(RECIPES[recipe]):
        path = clone.folder / block.path
        text = block.text if block.language == "python" else patch(block.text, path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8")


def check(clone: Clone, *tests: str) -> None:
    """Run the repository's own tests of these files in the clone."""
    clone.check_output("python", "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", *tests)


@pytest.fixture
def clone(computed: Clone, tmp_path: Path) -> Clone:
    """With params.yaml as committed: the recipes' diffs have its comments as context."""
    clone = duplicate(computed, tmp_path / "clone")
    shutil.copy(ROOT / "params.yaml", clone.folder)
    return clone


def test_every_recipe_has_its_test() -> None:
    assert set(RECIPES) == {"Add a stage", "Add a data set", "Add a network", "Add an endpoint"}


def test_every_file_that_is_named_exists_or_is_made_by_a_recipe() -> None:
    made = {block.path for recipe in RECIPES.values() for block in blocks(recipe) if block.language == "python"}
    made |= {"tests/test_contrast.py"}

    assert [path for path in sorted({*re.findall(PATHS, TEXT)} - made) if not (ROOT / path).exists()] == []


def test_there_are_ten_places_to_look_up() -> None:
    (table,) = re.findall(r"^## Where do I change.*?\n\|---\|---\|\n(.*?)\n\n", TEXT, re.MULTILINE | re.DOTALL)

    assert len(table.splitlines()) >= 10


def test_a_new_stage_runs_in_the_pipeline(clone: Clone) -> None:
    apply(clone, "Add a stage")

    assert "contrast" in clone.check_output("dvc", "stage", "list", "--name-only").split()
    clone.check_output("dvc", "repro", "--single-item", "contrast")
    with (clone.folder / "artifacts/contrast/contrast.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == list("0123456789")
    assert all(0 < float(row["contrast"]) < 1 for row in rows)
    check(clone, "tests/test_dvc_yaml.py", "tests/test_imports.py", "tests/test_params.py")


def test_a_new_data_set_is_downloaded_and_split(clone: Clone) -> None:
    apply(clone, "Add a data set")
    with clone.changed("download", dataset="stripes"):
        printed = clone.check_output("python", "-m", "pipeline.download")
        clone.check_output("python", "-m", "pipeline.normalise")

    assert "stripes: 500 training and 100 test images" in printed
    assert read_json(clone.folder / "artifacts/normalise/statistics.json")["train_images"] < 500
    check(clone, "tests/test_dvc_yaml.py", "tests/test_imports.py")


def test_a_new_network_trains(clone: Clone) -> None:
    apply(clone, "Add a network")
    clone.set("train", model="lenet", epochs=1, batch=50)

    printed = clone.check_output("python", "-m", "pipeline.train", **NO_MLFLOW)

    assert "training lenet with" in printed
    assert read_json(clone.folder / "artifacts/train/model/architecture.json")["lenet"] == {"widths": [6, 16]}
    clone.check_output("python", "-m", "pipeline.score")


def test_a_new_endpoint_answers_and_is_described(clone: Clone) -> None:
    apply(clone, "Add an endpoint")

    clone.check_output("python", "-c", CALL)
