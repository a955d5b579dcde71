"""The shadow: a second model whose answers nobody gets, within a budget; and the report on how they differ."""

import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from starlette.testclient import TestClient

from pipeline.core.errors import DataError
from pipeline.data.dataset import Split
from pipeline.monitoring.shadow import DIFFERENT, compare_classes, parse_metrics
from serving.http.uvicorn_protocol import Protocol
from serving.model import Model
from serving.monitoring import shadow
from serving.monitoring.monitor import Monitor
from serving.monitoring.shadow import BURST, Budget, Shadow
from tests.support.inprocess_service import service
from tests.support.live_service import running
from tests.support.project_clone import ROOT
from tests.support.sample_requests import BLANK, FIVE, PNG, RAW

SHAPE = "/predict_batch?shape=100,28,28"


def counted(**labels: str) -> float:
    """Images that the shadow answered, with these labels."""
    (family,) = (family for family in REGISTRY.collect() if family.name == "digits_shadow_images")
    samples = [sample for sample in family.samples if sample.name.endswith("_total")]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def skipped() -> float:
    return REGISTRY.get_sample_value("digits_shadow_skipped_total") or 0.0


def other(model: Model, threshold: float = 0.0) -> Model:
    """A model that answers as `model` does, with another threshold."""
    found = copy.copy(model)
    found.threshold, found.tag = threshold, "challenger"
    return found


def send(model: Model, second: Shadow, digits: Split) -> None:
    monitor = Monitor(model, None, second)
    client = TestClient(service(model, monitor=monitor))
    client.post(SHAPE, content=digits.images[:100].tobytes(), headers=RAW)
    client.post("/predict", content=FIVE, headers=PNG)
    client.post("/predict", content=BLANK, headers=PNG)
    monitor.drain()


def test_an_equal_model_agrees_on_every_image_with_ink(model: Model, digits: Split) -> None:
    before = counted(agrees="true"), counted(agrees="false")

    send(model, Shadow(other(model), 1), digits)

    assert (counted(agrees="true") - before[0], counted(agrees="false") - before[1]) == (101, 0)


def test_what_only_the_shadow_refuses_is_counted_by_class(model: Model, digits: Split) -> None:
    before = counted(shadow="none", agrees="false")

    send(model, Shadow(other(model, threshold=1.1), 1), digits)

    assert counted(shadow="none", agrees="false") - before == 101


def test_without_time_images_are_skipped_and_answered_all_the_same(model: Model, digits: Split) -> None:
    before, second = (counted(), skipped()), Shadow(other(model), 0.1)
    second.budget.spend(1e6)

    monitor = Monitor(model, None, second)
    answer = TestClient(service(model, monitor=monitor)).post(SHAPE, content=digits.images[:100].tobytes(), headers=RAW)
    monitor.drain()

    assert len(answer.json()["digits"]) == 100
    assert (counted() - before[0], skipped() - before[1]) == (0, 100)


def test_a_budget_is_a_share_of_the_time_that_passes_and_saves_up_little(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    budget = Budget(0.1)

    budget.spend(BURST * 0.1 + 0.2)
    now = 1.9
    before_two_seconds = budget.has_time()
    now = 2.1
    after = budget.has_time()
    now = 1e6
    budget.has_time()

    assert (before_two_seconds, after, budget.saved) == (False, True, BURST)


def test_a_shadow_that_fails_breaks_nothing(model: Model, digits: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    second, before = Shadow(other(model), 1), skipped()
    monkeypatch.setattr(second.model, "classify", lambda images: 1 / 0)

    send(model, second, digits)

    assert skipped() - before == 101


def test_without_a_setting_there_is_no_shadow(model: Model) -> None:
    assert shadow.configured(model, {}) is None


def test_a_shadow_is_named_after_its_file(model: Model, tmp_path: Path) -> None:
    (tmp_path / "mnist-v2-01234567.onnx").write_bytes(model.path.read_bytes())

    found = shadow.configured(model, {"SHADOW_MODEL": str(tmp_path / "mnist-v2-01234567.onnx")})

    assert found
    assert found.model.tag == "mnist-v2-01234567"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"SHADOW_MODEL": "missing.onnx"}, "missing.onnx"),
        ({"SHADOW_MODEL": "README.md"}, "README.md"),
        ({"SHADOW_MODEL": "README.md", "SHADOW_SHARE": "2"}, "SHADOW_SHARE: got '2', expected a share of a core"),
    ],
)
def test_a_shadow_that_cannot_be_had_is_logged_and_the_service_does_without(
    model: Model, settings: dict[str, str], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert shadow.configured(model, settings) is None
    assert message in caplog.text


def test_a_shadow_with_other_classes_is_refused(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    champion = copy.copy(model)
    champion.classes = ("shoe", "shirt")

    assert shadow.configured(champion, {"SHADOW_MODEL": str(model.path)}) is None
    assert "expected those of mnist:v1-0123abcd" in caplog.text


def test_a_shadow_of_images_in_colour_is_refused(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    champion = copy.copy(model)
    champion.channels = 3

    assert shadow.configured(champion, {"SHADOW_MODEL": str(model.path)}) is None
    assert "got 1 channels, expected 3 as mnist:v1-0123abcd has" in caplog.text


def metrics_text(table: dict[tuple[str, str], int]) -> str:
    rows = [
        f'digits_shadow_images_total{{served="{one}",shadow="{two}",agrees="{str(one == two).lower()}"}} {count}\n'
        for (one, two), count in table.items()
    ]
    return "".join(["# TYPE digits_shadow_images counter\n", *rows, 'digits_shadow_model{tag="b"} 1\n'])


def test_a_class_that_one_model_answers_more_often_is_found_by_mcnemars_exact_test() -> None:
    found = {row.name: row for row in compare_classes({("7", "7"): 500, ("7", "1"): 12, ("1", "1"): 400})}

    assert (found["7"].both, found["7"].only_served, found["7"].only_shadow) == (500, 12, 0)
    assert found["7"].p_value == pytest.approx(2 * 0.5**12)
    assert (found["7"].differs, found["1"].differs) == (True, True)


def test_disagreement_in_both_directions_is_no_difference() -> None:
    table = {("7", "7"): 500, ("1", "1"): 400, ("7", "1"): 12, ("1", "7"): 12}

    assert [row.p_value for row in compare_classes(table)] == [1, 1]


def test_metrics_are_read_as_the_service_writes_them() -> None:
    table = {("7", "7"): 500, ("7", "none"): 12}

    read = parse_metrics(metrics_text(table), "here")

    assert (read.table, read.tags) == (table, ("b",))
    with pytest.raises(DataError, match="here: got no answers of a shadow"):
        parse_metrics("", "here")
    with pytest.raises(DataError, match="here: expected metrics of Prometheus"):
        parse_metrics("<html>", "here")


def test_the_report_of_a_running_service_names_the_shadow_and_has_an_exit_status(model: Model, digits: Split) -> None:
    monitor = Monitor(model, None, Shadow(other(model, threshold=1.1), 1))
    with running(service(model, monitor=monitor), "asyncio", Protocol) as live:
        url = "http://{}:{}".format(*live.address)
        TestClient(live.app).post(SHAPE, content=digits.images[:100].tobytes(), headers=RAW)
        monitor.drain()
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.monitoring.shadow", url], capture_output=True, text=True, cwd=ROOT
        )

    assert (done.returncode, done.stderr) == (DIFFERENT, "")
    assert re.search(r"^shadow .*\bchallenger\b.*: agrees on .* of [\d,]+ images", done.stdout)
    assert re.search(r"^none .* DIFFERENT$", done.stdout, re.MULTILINE)
