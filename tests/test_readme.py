"""The README is true: its figures are the committed ones, its commands and files exist, its tree is complete."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

README = Path("README.md").read_text()
METRICS = json.loads(Path("artifacts/score/metrics.json").read_text())
(TREE,) = re.findall(r"^```\n(pipeline/\n.*?)^```", README, re.DOTALL | re.MULTILINE)
TARGETS = sorted(set(re.findall(r"\bmake ([a-z][a-z0-9-]*)", README)))


@pytest.mark.parametrize(("row", "name"), [("MNIST test set", "test"), ("`data/`", "handwriting")])
def test_the_results_table_is_the_committed_metrics(row: str, name: str) -> None:
    scores = METRICS[name]
    figures = f"{scores['images']:,} | {scores['accuracy']:.2%} | {scores['loss']:.4f} | {scores['f1']:.4f}"

    assert f"| {row} | {figures} |" in README


def test_the_size_of_the_network_is_the_committed_one() -> None:
    summary = json.loads(Path("artifacts/train/summary.json").read_text())

    assert f"{summary['parameters']:,} parameters" in README


@pytest.mark.parametrize("target", TARGETS)
def test_a_command_that_the_readme_names_is_there(target: str) -> None:
    done = subprocess.run(["make", "--dry-run", target, "SET=a=1"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:pipeline|tests|benchmarks|docs)/[\w./-]*)`", README))))
def test_a_file_that_the_readme_names_is_there(path: str) -> None:
    assert Path(path).exists()


def paths_in_tree() -> Iterator[Path]:
    """The names in front of the descriptions; an indented name is in the folder above it."""
    folder = Path()
    for line in TREE.splitlines():
        names = re.split(r"  +", line.strip())[0].split()
        if line.startswith(" "):
            yield from (folder / name for name in names)
        else:
            folder = Path(names[0])
            yield from map(Path, names)


@pytest.mark.parametrize("path", list(paths_in_tree()), ids=str)
def test_a_path_in_the_tree_is_there(path: Path) -> None:
    assert path.exists()


@pytest.mark.parametrize("package", ["pipeline", "serving"])
def test_the_tree_has_every_folder_of_a_package(package: str) -> None:
    here = {path for path in Path(package).iterdir() if path.is_dir() and path.name != "__pycache__"}

    assert here == {path for path in paths_in_tree() if path.parent == Path(package) and path.is_dir()}


def test_the_tree_has_every_stage() -> None:
    stages = {Path(f"pipeline/{name}.py") for name in yaml.safe_load(Path("dvc.yaml").read_text())["stages"]}

    assert stages == {path for path in paths_in_tree() if path.parent == Path("pipeline") and path.suffix == ".py"}


@pytest.mark.parametrize("path", re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README))
def test_a_picture_in_the_readme_is_there(path: str) -> None:
    assert Path(path).is_file()
