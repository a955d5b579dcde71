"""docs/ten_steps.ipynb: the ten steps run in a clone, and what is stored is what the code shows."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image

from tests.support import project_clone
from tests.support.project_clone import ROOT, Clone

PATH: Final = Path("docs/ten_steps.ipynb")
STEPS: Final = (
    "1. Load the data",
    "2. Explore and clean",
    "3. Engineer the features",
    "4. Split the data",
    "5. Choose a model",
    "6. Train",
    "7. Score",
    "8. Evaluate and tune",
    "9. Deploy",
    "10. Predict new pictures",
)
TRAIN: Final = STEPS[5]  # what steps before it show is the same on every machine
NO_NETWORK: Final = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}  # refuses connections
ELSEWHERE: Final = r"(?<![\w./])/(bin|etc|home|mnt|opt|private|root|tmp|usr|var|work|Users)\b|\b[A-Z]:\\"
SECONDS: Final = r"\d ?m?s\b|\bseconds\b|\d\d:\d\d"

Cell = dict[str, Any]


def cells(folder: Path) -> list[Cell]:
    return list(json.loads((folder / PATH).read_text(encoding="utf-8"))["cells"])


def code(all_cells: list[Cell]) -> list[Cell]:
    return [cell for cell in all_cells if cell["cell_type"] == "code"]


def before(heading: str, all_cells: list[Cell]) -> list[Cell]:
    (end,) = [n for n, cell in enumerate(all_cells) if f"## {heading}\n" in "".join(cell["source"])]
    return all_cells[:end]


def shown(output: Cell) -> dict[str, Any]:
    """What an output consists of, by type: text as it is, PNG as pixels, whose compression depends on the machine."""
    if output["output_type"] == "stream":
        return {str(output["name"]): "".join(output["text"])}
    return {
        kind: np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))).tolist()
        if kind == "image/png"
        else "".join(content)
        for kind, content in output["data"].items()
    }


def texts(all_cells: list[Cell]) -> str:
    found = [shown(output) for cell in code(all_cells) for output in cell["outputs"]]
    return "\n".join(text for one in found for kind, text in one.items() if kind != "image/png")


def execute(clone: Clone) -> list[Cell]:
    """The cells after `make notebook`."""
    clone.commit()
    clone.check_output("make", "-o", ".venv/locked", "notebook", **NO_NETWORK)
    return cells(clone.folder)


def test_it_has_the_ten_steps_of_the_textbook_in_their_order() -> None:
    sources = ["".join(cell["source"]) for cell in cells(ROOT) if cell["cell_type"] == "markdown"]

    assert tuple(re.findall(r"^## (.*)", "\n".join(sources), re.MULTILINE)) == STEPS


def test_every_cell_is_stored_with_what_it_shows_and_without_its_machine() -> None:
    notebook = json.loads((ROOT / PATH).read_text(encoding="utf-8"))
    executed = code(notebook["cells"])

    assert [cell["execution_count"] for cell in executed] == list(range(1, len(executed) + 1))
    assert all(cell["outputs"] for cell in executed)
    assert {output["output_type"] for cell in executed for output in cell["outputs"]} <= {"stream", "execute_result"}
    assert not [output for cell in executed for output in cell["outputs"] if output.get("name") == "stderr"]
    assert notebook["metadata"].keys() == {"kernelspec", "language_info"}
    assert not any(cell["metadata"] for cell in notebook["cells"])
    sources = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
    assert not re.search(ELSEWHERE, f"{sources}\n{texts(executed)}")
    assert not re.search(SECONDS, texts(executed))
    assert (ROOT / PATH).stat().st_size < 400_000


def test_it_runs_and_shows_what_is_stored(tmp_path: Path) -> None:
    """A training gives other digits on another kind of machine: of the steps from there on, the kinds of outputs."""
    clone = project_clone.copy(tmp_path)
    stored, fresh = cells(clone.folder), execute(clone)

    for old, new in zip(code(before(TRAIN, stored)), code(before(TRAIN, fresh)), strict=True):
        assert [shown(output) for output in new["outputs"]] == [shown(output) for output in old["outputs"]]
    for old, new in zip(code(stored), code(fresh), strict=True):
        assert [shown(output).keys() for output in new["outputs"]] == [
            shown(output).keys() for output in old["outputs"]
        ]
    accuracies = re.findall(r"\baccuracy +(\d+\.\d+)(%?)", texts(fresh))
    assert len(accuracies) == 3  # of the model on test images, of the chosen one, and of that on data/
    assert all(float(number) / (100 if percent else 1) > 0.95 for number, percent in accuracies)
    assert "digit 7," in texts(fresh)
    changed = clone.check_output("git", "status", "--porcelain", "--untracked-files=all").split()
    assert changed in ([], ["M", str(PATH)])


def test_one_line_chooses_mnist(tmp_path: Path) -> None:
    clone = project_clone.copy(tmp_path)
    project_clone.put_archives(tmp_path / ".cache/archives/mnist")
    text = (tmp_path / PATH).read_text(encoding="utf-8")
    assert text.count('"DATASET = \\"digits\\"') == 1
    (tmp_path / PATH).write_text(text.replace('"DATASET = \\"digits\\"', '"DATASET = \\"mnist\\"'), encoding="utf-8")

    fresh = execute(clone)

    assert "training: (400, 28, 28) uint8   test: (100, 28, 28)" in texts(fresh)


@pytest.mark.parametrize("heading", STEPS)
def test_each_step_computes(heading: str) -> None:
    following = cells(ROOT)[len(before(heading, cells(ROOT))) + 1 :]

    assert following[0]["cell_type"] == "code"
