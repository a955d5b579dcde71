"""What the service keeps of its answers: the lines of the log, the window in /metrics; and that no answer suffers."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from pipeline.data.dataset import Split
from pipeline.monitoring.drift import MIN_ANSWERS
from pipeline.monitoring.reference import NONE
from serving.model import Model
from serving.monitoring.monitor import MAX_PENDING, MAX_SAMPLE, WINDOW, Monitor
from serving.monitoring.prediction_log import PredictionLog
from tests.support.inprocess_service import service
from tests.support.pictures import encoded, row
from tests.support.sample_requests import BLANK, FIVE, PNG, RAW


@pytest.fixture
def log(tmp_path: Path) -> PredictionLog:
    return PredictionLog(tmp_path / "log.jsonl", 10**7)


def lines(log: PredictionLog) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.path.read_text().splitlines()]


def drift(client: TestClient, name: str = "digits_drift") -> dict[str, float]:
    """The values of a metric by feature."""
    found = re.findall(rf'^{name}{{feature="(\w+)"}} (\S+)$', client.get("/metrics").text, re.MULTILINE)
    return {feature: float(value) for feature, value in found}


def unlogged(client: TestClient, reason: str) -> float:
    """How many requests are missing in log and window."""
    (value,) = re.findall(rf'unlogged_total{{reason="{reason}"}} (.*)', client.get("/metrics").text)
    return float(value)


def send(client: TestClient, images: Any) -> dict[str, Any]:
    path = f"/predict_batch?shape={len(images)},28,28"
    answer: dict[str, Any] = client.post(path, content=images.tobytes(), headers=RAW).json()
    return answer


def test_a_line_has_the_answer_and_what_the_image_was_like(watched: Model, log: PredictionLog) -> None:
    monitor = Monitor(watched, log)
    client = TestClient(service(watched, monitor=monitor))

    answer = client.post("/predict", content=FIVE, headers=PNG).json()
    monitor.drain()

    (line,) = lines(log)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("time"))
    assert 0 < line.pop("seconds") < 60
    assert 0 < line.pop("ink")[0] < 1
    assert line.pop("confidence") == [pytest.approx(answer["confidence"], abs=1e-6)]
    assert line.pop("score") == [pytest.approx(answer["digit_score"], abs=1e-6)]
    assert max(line.pop("width") + line.pop("height")) == 20
    assert watched.reference
    assert line == {
        "path": "/predict",
        "status": 200,
        "model": watched.tag,
        "reference": watched.reference.digest,
        "images": 1,
        "class": [answer["class"]],
        "reason": [None],
    }


def test_a_row_is_one_line_with_each_of_its_digits_and_a_refusal_one_without_any(
    watched: Model, log: PredictionLog
) -> None:
    monitor = Monitor(watched, log)
    client = TestClient(service(watched, monitor=monitor))

    read = client.post("/read", content=encoded(255 - row("125")), headers=PNG).json()
    client.post("/predict", content=BLANK, headers=PNG)
    client.post("/predict", content=b"hello", headers=PNG)
    monitor.drain()

    several, blank, refused = lines(log)
    assert several["class"] == [digit["class"] for digit in read["digits"]]
    assert (blank["class"], blank["reason"]) == ([NONE], ["blank_page"])
    assert (refused["status"], "class" in refused) == (422, False)


def test_of_a_large_batch_evenly_spaced_images_are_logged(watched: Model, log: PredictionLog, digits: Split) -> None:
    monitor = Monitor(watched, log)
    images = np.concatenate([digits.images] * 2)

    answer = send(TestClient(service(watched, monitor=monitor)), images)
    monitor.drain()

    (line,) = lines(log)
    index = np.linspace(0, 399, MAX_SAMPLE).astype(int)
    assert line["images"] == 400
    assert line["class"] == [str(answer["digits"][i]) for i in index]


def test_probes_are_not_logged(watched: Model, log: PredictionLog) -> None:
    monitor = Monitor(watched, log)
    client = TestClient(service(watched, monitor=monitor))

    for path in ("/livez", "/readyz", "/metrics", "/model"):
        client.get(path)
    monitor.drain()

    assert lines(log) == []


def test_answers_like_the_reference_are_no_drift_and_inverted_images_are(watched: Model, digits: Split) -> None:
    monitor = Monitor(watched, None)
    client = TestClient(service(watched, monitor=monitor))

    for start in range(0, 200, 100):
        send(client, digits.images[start : start + 100])
    monitor.drain()
    usual = drift(client)
    for start in range(0, 200, 100):
        send(client, 255 - digits.images[start : start + 100])
    monitor.drain()

    assert set(usual.values()) == {0}
    assert drift(client)["ink"] == 1
    assert drift(client, "digits_drift_psi")["ink"] > 1
    assert drift(client, "digits_drift_p_value")["ink"] < 1e-9


def test_few_answers_are_not_compared(watched: Model, digits: Split) -> None:
    monitor = Monitor(watched, None)
    client = TestClient(service(watched, monitor=monitor))

    send(client, 255 - digits.images[: MAX_SAMPLE - 1])
    monitor.drain()

    assert MAX_SAMPLE - 1 < MIN_ANSWERS
    assert drift(client) == {}


def test_the_window_has_the_last_answers_only(watched: Model, digits: Split) -> None:
    monitor = Monitor(watched, None)
    client = TestClient(service(watched, monitor=monitor))

    for images in (255 - digits.images[:100], *[digits.images[:100]] * (WINDOW // 100)):
        send(client, images)
        monitor.drain()

    assert {len(values) for values in monitor.window.values()} == {WINDOW}
    assert drift(client)["ink"] == 0


@pytest.mark.parametrize("append", [lambda lines: 1 / 0, lambda lines: Path("/dev/full").write_bytes(lines)])
def test_a_log_that_fails_breaks_no_answer_and_is_counted(
    watched: Model, log: PredictionLog, monkeypatch: pytest.MonkeyPatch, append: Callable[[bytes], Any]
) -> None:
    monitor = Monitor(watched, log)
    client = TestClient(service(watched, monitor=monitor))

    before = unlogged(client, "failed")
    monkeypatch.setattr(log, "append", append)
    statuses = [client.post("/predict", content=FIVE, headers=PNG).status_code for _ in range(2)]
    monitor.drain()
    monkeypatch.undo()
    client.post("/predict", content=FIVE, headers=PNG)
    monitor.drain()

    assert statuses == [200, 200]
    assert unlogged(client, "failed") - before == 2
    assert len(lines(log)) == 1


def test_what_comes_too_fast_is_answered_and_counted_but_not_kept(watched: Model, digits: Split) -> None:
    monitor = Monitor(watched, None)
    client = TestClient(service(watched, monitor=monitor))
    before = unlogged(client, "busy")

    answers = [send(client, digits.images[:MAX_SAMPLE]) for _ in range(MAX_PENDING // MAX_SAMPLE + 1)]
    monitor.drain()

    assert {len(answer["digits"]) for answer in answers} == {MAX_SAMPLE}
    assert unlogged(client, "busy") - before == 1
    assert {len(values) for values in monitor.window.values()} == {WINDOW}


def test_a_model_without_a_reference_is_logged_and_has_no_window(model: Model, log: PredictionLog) -> None:
    monitor = Monitor(model, log)
    client = TestClient(service(model, monitor=monitor))

    client.post("/predict", content=FIVE, headers=PNG)
    monitor.drain()

    assert lines(log)[0]["reference"] is None
    assert {len(values) for values in monitor.window.values()} == {0}
