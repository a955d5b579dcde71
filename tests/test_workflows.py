"""The files for CI, pre-commit and the devcontainer are valid and use the make targets and tools of the repository."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.project_clone import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
CI_FILES = [*WORKFLOWS, ROOT / ".gitlab-ci.yml"]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z0-9-]*):(?!=).*##", MAKEFILE, re.MULTILINE))
DEVCONTAINER: dict[str, Any] = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
PRE_COMMIT: dict[str, Any] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
HOOKS: list[dict[str, Any]] = [hook for repo in PRE_COMMIT["repos"] for hook in repo["hooks"]]


def commands(path: Path) -> list[str]:
    """The shell commands of all jobs."""
    tree = yaml.safe_load(path.read_text())
    if path in WORKFLOWS:
        return [step["run"] for job in tree["jobs"].values() for step in job["steps"] if "run" in step]
    return [line for job in tree.values() if isinstance(job, dict) for line in job.get("script", [])]


@pytest.mark.parametrize(
    ("schema", "path"), [*(("github-workflows", path) for path in WORKFLOWS), ("gitlab-ci", ROOT / ".gitlab-ci.yml")]
)
def test_a_ci_file_matches_its_schema(schema: str, path: Path) -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(path)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", CI_FILES, ids=lambda path: path.name)
def test_ci_runs_only_make_targets_and_the_installation_of_packages(path: Path) -> None:
    other = [command for command in commands(path) if not command.startswith("make ")]

    assert [command.removeprefix("sudo ") for command in other] == [".ci/packages"]
    assert {command.removeprefix("make ") for command in commands(path)} - {*other} <= TARGETS


@pytest.mark.parametrize("path", CI_FILES, ids=lambda path: path.name)
def test_ci_runs_every_check(path: Path) -> None:
    assert {"make check", "make test", "make test-e2e"} <= set(commands(path))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_an_action_is_pinned(path: Path) -> None:
    actions = re.findall(r"uses: (\S+)", path.read_text())

    assert actions
    assert all(re.fullmatch(r"[\w./-]+@(v\d+|[0-9a-f]{40})", action) for action in actions)


def test_pre_commit_runs_the_tools_of_make_check_from_the_environment() -> None:
    of_make = set(re.findall(r"^\t@(ruff \w+|mypy)", MAKEFILE, re.MULTILINE))
    of_hooks = {re.sub(r"^\.venv/bin/| --.*", "", hook["entry"]) for hook in HOOKS if "stages" not in hook}

    assert of_make == of_hooks == {"ruff format", "ruff check", "mypy"}
    assert {repo["repo"] for repo in PRE_COMMIT["repos"]} == {"local"}
    assert {hook["language"] for hook in HOOKS} == {"system"}


@pytest.mark.parametrize("target", re.findall(r"make ([\w-]+)", f"{PRE_COMMIT} {DEVCONTAINER}"))
def test_a_make_target_that_hooks_or_the_devcontainer_name_exists(target: str) -> None:
    assert target in TARGETS


def test_the_devcontainer_forwards_the_ports_of_make_serve_make_review_and_make_ui() -> None:
    ports = re.findall(r"^\w+: PORT \?= (\d+)$", MAKEFILE, re.MULTILINE)

    assert sorted(map(str, DEVCONTAINER["forwardPorts"])) == sorted(ports)
    assert DEVCONTAINER["portsAttributes"].keys() == {*ports}


def test_the_devcontainer_has_the_python_of_ci() -> None:
    (version,) = {str(found) for path in CI_FILES for found in re.findall(r"python[:-].*?(\d\.\d+)", path.read_text())}

    assert f"python:{version}-" in DEVCONTAINER["image"]
