"""The README says what is so: its figures are the committed ones, its commands exist, its files are there."""

import json
import re
import subprocess
from pathlib import Path

import pytest

README = Path("README.md").read_text()
METRICS = json.loads(Path("artifacts/score/metrics.json").read_text())
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


@pytest.mark.parametrize("path", re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README))
def test_a_picture_in_the_readme_is_there(path: str) -> None:
    assert Path(path).is_file()
