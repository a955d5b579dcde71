"""The prediction log's files: rotated, whole lines only, shared by processes."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from serving.monitoring.prediction_log import FILES, PredictionLog

LINE = b'{"a": 1}\n'


def test_lines_are_appended(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path / "log.jsonl", 1000)

    log.append(LINE)
    log.append(LINE + LINE)

    assert (tmp_path / "log.jsonl").read_bytes() == 3 * LINE


def test_a_file_is_rotated_at_its_size_and_the_oldest_is_removed(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path / "log.jsonl", 2 * len(LINE))

    for number in range(2 * FILES + 6):
        log.append(json.dumps({"a": number % 10}).encode() + b"\n")

    names = {path.name for path in tmp_path.glob("log.jsonl*")}
    assert names == {"log.jsonl.lock", *(f"log.jsonl.{number}" for number in range(1, FILES + 1))}
    assert (tmp_path / "log.jsonl.1").read_text() == '{"a": 4}\n{"a": 5}\n'


def test_a_full_disk_leaves_whole_lines_and_the_next_line_is_written_where_there_is_room(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path / "log.jsonl", 10**6)
    log.append(LINE)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(LINE) + 4, limit[1]))
    try:
        with pytest.raises(OSError, match=r"only a part|too large"):
            log.append(LINE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    log.append(LINE)

    assert (tmp_path / "log.jsonl").read_bytes() == 2 * LINE


def test_several_processes_write_to_one_log(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from serving.monitoring.prediction_log import PredictionLog\n"
        "log = PredictionLog(Path(sys.argv[1]), 2000)\n"
        'for number in range(200): log.append(b\'{"process": %d, "n": %d}\\n\' % (int(sys.argv[2]), number))'
    )
    command = [sys.executable, "-c", program, str(tmp_path / "log.jsonl")]
    running = [subprocess.Popen([*command, str(number)]) for number in range(3)]

    assert [process.wait() for process in running] == [0, 0, 0]
    files = [path for path in tmp_path.glob("log.jsonl*") if path.suffix != ".lock"]
    assert len(files) == FILES + 1 or len(files) == FILES
    assert all(2000 <= path.stat().st_size < 2100 for path in files if path.suffix != ".jsonl")
    assert all({"process", "n"} == json.loads(line).keys() for path in files for line in path.read_text().splitlines())


def test_without_a_setting_there_is_no_log() -> None:
    assert PredictionLog.configured({}) is None
    assert PredictionLog.configured({"PREDICTION_LOG": ""}) is None


@pytest.mark.parametrize("megabytes", ["0", "-1", "many", "nan", "inf"])
def test_a_size_that_is_none_is_refused(megabytes: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"PREDICTION_LOG_MB: got '{megabytes}', expected a number of megabytes"):
        PredictionLog.configured({"PREDICTION_LOG": str(tmp_path / "log"), "PREDICTION_LOG_MB": megabytes})


def test_a_log_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        PredictionLog.configured({"PREDICTION_LOG": str(tmp_path / "missing" / "log.jsonl")})
