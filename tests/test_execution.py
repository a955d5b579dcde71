"""What a run of a stage writes beside its results: who, when, how long, on what."""

import getpass
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import TrainingError
from pipeline.core.execution import execute, execution_path, log_details
from pipeline.core.stage_inputs import read_stage
from tests.support.project_clone import ROOT

DVC_YAML = """stages:
  train:
    cmd: x
    params:
      - train
      - pipeline/environment.yaml: [numpy]
    deps: [images]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a stage's declaration and all that it names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "params.yaml").write_text("train: {epochs: 3}\n")
    (tmp_path / "pipeline/environment.yaml").write_text(f'numpy: "{version("numpy")}"\n')
    (tmp_path / "images").write_text("1")
    return tmp_path


def path_of_execution(folder: Path) -> Path:
    return execution_path(folder, "train", read_stage("train").inputs_key)


def executed(folder: Path, main: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """What a run of `main` wrote."""
    path = path_of_execution(folder)
    execute("train", main, folder)
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def test_a_run_writes_who_when_how_long_and_on_what(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    got = executed(folder)

    assert (got["stage"], got["inputs_key"]) == ("train", read_stage("train").inputs_key)
    assert 0 < got["start"] <= got["end"]
    assert got["seconds"] >= 0
    assert got["cpu_seconds"] >= 0
    assert (got["user"], got["host"], got["python"]) == (getpass.getuser(), platform.node(), platform.python_version())
    assert got["device"] == got["processor"] != ""
    assert (got["threads"], got["processes"]) == (1, 1)
    assert got["packages"] == {"numpy": version("numpy")}
    assert "precision" not in got
    assert capsys.readouterr().err == ""


def test_what_only_the_stage_knows_is_written_too_and_not_of_the_next_one(folder: Path) -> None:
    got = executed(folder, lambda: log_details(device="NVIDIA H200", threads=4, precision="bfloat16", processes=2))

    assert (got["device"], got["threads"], got["precision"], got["processes"]) == ("NVIDIA H200", 4, "bfloat16", 2)
    assert "precision" not in executed(folder)


def test_processor_time_counts_that_of_children(folder: Path) -> None:
    code = "import time; sum(range(10_000_000)); print(time.process_time())"
    spent: list[float] = []

    got = executed(folder, lambda: spent.append(float(subprocess.check_output([sys.executable, "-c", code]))))

    assert got["cpu_seconds"] >= spent[0] - 0.05  # clocks of the system differ


def test_peak_memory_is_that_of_the_process_itself_also_after_it_was_freed() -> None:
    code = (
        "from pipeline.core.execution import peak_memory; before = peak_memory(); "
        "bytearray(b'1') * (200 * 2**20); print(before, peak_memory())"
    )
    held = bytearray(b"1") * (600 * 2**20)  # by the process that starts it

    before, after = map(int, subprocess.check_output([sys.executable, "-c", code], cwd=ROOT).split())

    assert before < len(held)
    assert 150 * 2**20 < after - before < 250 * 2**20


def test_the_key_is_that_of_the_inputs_before_the_run(folder: Path) -> None:
    key = read_stage("train").inputs_key

    def main() -> None:
        (folder / "images").write_text("2")

    assert executed(folder, main)["inputs_key"] == key


def test_a_run_that_fails_writes_nothing_and_keeps_what_an_earlier_one_wrote(folder: Path) -> None:
    def fail() -> None:
        raise TrainingError("the loss is not finite")

    with pytest.raises(TrainingError):
        execute("train", fail, folder)
    assert not path_of_execution(folder).exists()

    before = executed(folder)
    with pytest.raises(TrainingError):
        execute("train", fail, folder)
    assert json.loads(path_of_execution(folder).read_text()) == before


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("dvc.yaml", "stages: {}", "dvc.yaml: expected a stage named train, got none"),
        ("params.yaml", "train: 2026-11-30", "date is not JSON serializable"),
        ("pipeline/environment.yaml", "numpy: 2.5", "pipeline/environment.yaml: expected versions, got: "),
        (".cache", "a file", "cannot write"),
    ],
)
def test_a_stage_that_cannot_write_it_succeeds_all_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str], path: str, text: str, reason: str
) -> None:
    (folder / path).write_text(text)
    done: list[str] = []

    execute("train", lambda: done.append("main"), folder)

    assert done == ["main"]
    printed = capsys.readouterr().err
    assert printed.startswith("note: train: its time, hardware and packages were not written: ")
    assert reason in printed


def test_a_package_that_is_not_the_pinned_one_is_named_before_the_stage_runs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "pipeline/environment.yaml").write_text('numpy: "1.0"\n')
    before: list[str] = []

    got = executed(folder, lambda: before.append(capsys.readouterr().err))

    assert f"numpy: got {version('numpy')}, pinned 1.0. `make --always-make install` installs" in before[0]
    assert before[0].count("\n") == 1
    assert got["packages"] == {"numpy": version("numpy")}


@pytest.mark.parametrize(
    ("torchrun", "is_written"),
    [({}, True), ({"TORCHELASTIC_RUN_ID": "1", "RANK": "0"}, True), ({"TORCHELASTIC_RUN_ID": "1", "RANK": "1"}, False)],
)
def test_of_the_processes_of_torchrun_only_rank_0_writes(
    folder: Path, torchrun: dict[str, str], is_written: bool
) -> None:
    code = "from pipeline.core import execution\nexecution.run_stage('train', lambda: print('main'))"
    environment = {name: value for name, value in os.environ.items() if name != "DVC_ROOT"}
    environment |= {"PYTHONPATH": str(ROOT)} | torchrun

    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "main\n", "")
    assert path_of_execution(folder).exists() is is_written
