"""deploy/monitoring/: the rules and the dashboard query metrics that the service has, and every alert is tested.

`tests/e2e/test_prometheus.py` runs promtool and Prometheus on them.
"""

import re
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.monitoring.drift import LIMIT
from serving.corrections.handler import CORRECTIONS
from serving.http import metrics
from serving.http.limits_middleware import PREDICTIONS
from serving.model import Model
from tests.support.monitoring_files import (
    ALERTS,
    COMPOSE,
    DATASOURCE,
    PANELS,
    PROMETHEUS,
    PROVIDER,
    RECORDED,
    TESTS,
    queries,
)

# What a query names: a recorded series, or a metric with the labels that it is selected or grouped by.
NAME: Final = re.compile(r"\bdigits(?::\w+)+|\bdigits_\w+")
SELECTED: Final = re.compile(r"(\w+)\{([^}]*)\}")
MATCHER: Final = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
GROUPED: Final = re.compile(r"\bby \(([^)]*)\)")


@pytest.fixture(scope="module")
def exposed(model: Model) -> dict[str, set[str]]:
    """The series of /metrics by name, with their labels, once each has been set."""
    metrics.requests("/predict", 200).inc()
    metrics.latency("/predict").observe(0.01)
    metrics.predictions("7").inc()
    metrics.no_digit("blank_page").inc()
    metrics.unlogged("busy").inc()
    CORRECTIONS.labels("1", "7").inc()
    metrics.SHADOW.labels("7", "1", "false").inc()
    metrics.SHADOW_MODEL.labels("challenger").set(1)
    metrics.REJECTED.labels("overloaded").inc()
    metrics.CLOSED.labels("slow_head").inc()
    metrics.MODEL.labels(model.tag).set(1)
    metrics.WINDOW.labels("ink", "+Inf").set(300)
    metrics.REFERENCE.labels("ink", "+Inf").set(300)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.page().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize(("name", "query"), list(queries()))
def test_a_query_names_metrics_and_labels_that_the_service_has(
    name: str, query: str, exposed: dict[str, set[str]]
) -> None:
    labels = set(exposed["digits_requests_total"])
    for series in NAME.findall(query):
        assert series in RECORDED or series in exposed, series
        labels |= exposed.get(series, {"path", "status"})
    used = {label.strip() for group in GROUPED.findall(query) for label in group.split(",")}
    for series, matchers in SELECTED.findall(query):
        names = {label for label, _ in MATCHER.findall(matchers)}
        assert series == "up" or names <= exposed.get(series, {"path", "status"}), (name, series)
        used |= names if series != "up" else set()
    assert used <= labels, name


def test_the_paths_in_queries_are_those_of_predictions() -> None:
    found = {value for _, query in queries() for label, value in MATCHER.findall(query) if label == "path"}

    assert {frozenset(value.split("|")) for value in found} == {frozenset(PREDICTIONS)}


def test_everything_that_the_service_counts_is_shown_or_alerted_on(exposed: dict[str, set[str]]) -> None:
    used = {name for _, query in queries() for name in NAME.findall(query)}
    bases = {re.sub("_(total|bucket|sum|count|created)$", "", name) for name in used}
    counted = {re.sub("_(total|bucket|sum|count|created)$", "", name) for name in exposed if name.startswith("digits_")}

    assert counted - bases == {"digits_window_images"}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_tested_firing_and_not_and_says_what_to_do(name: str) -> None:
    cases = [case for test in TESTS for case in test["alert_rule_test"] if case["alertname"] == name]

    assert any(case.get("exp_alerts") for case in cases)
    assert any(not case.get("exp_alerts") for case in cases)
    assert set(ALERTS[name]["annotations"]) == {"summary", "action"}
    assert ALERTS[name]["labels"]["severity"] in ("warning", "critical")


def test_every_recorded_series_is_used() -> None:
    used = {name for _, query in queries() for name in NAME.findall(query)}

    assert set(RECORDED) <= used


def test_prometheus_scrapes_the_service_of_compose_and_reads_the_rules_where_compose_puts_them() -> None:
    (job,) = PROMETHEUS["scrape_configs"]
    service = COMPOSE["services"]["prometheus"]
    targets = {config["source"]: config["target"] for config in service["configs"]}

    assert job["static_configs"] == [{"targets": ["service:3000"]}]
    assert all(f'job="{job["job_name"]}"' in query for name, query in queries() if name == "DigitsDown")
    assert f"--config.file={targets['prometheus']}" in service["command"]
    assert [str(Path(targets["prometheus"]).parent / file) for file in PROMETHEUS["rule_files"]] == [targets["rules"]]


def test_grafana_finds_prometheus_and_the_dashboard_where_compose_puts_them() -> None:
    service = COMPOSE["services"]["grafana"]
    targets = {config["source"]: config["target"] for config in service["configs"]}

    assert DATASOURCE["url"] == "http://prometheus:9090"
    assert str(Path(targets["dashboard"]).parent) == PROVIDER["options"]["path"]
    assert service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == targets["dashboard"]


def test_every_configuration_is_a_file_here_and_used() -> None:
    used = {config["source"] for service in COMPOSE["services"].values() for config in service.get("configs", [])}

    assert used == set(COMPOSE["configs"])
    assert all((Path("deploy") / config["file"]).is_file() for config in COMPOSE["configs"].values())


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_a_panel_has_a_data_source_that_exists_and_a_place_of_its_own(panel: dict[str, Any]) -> None:
    def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        return {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}

    sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
    assert all(source == {"type": DATASOURCE["type"], "uid": DATASOURCE["uid"]} for source in sources)
    assert panel["targets"] or panel["type"] == "alertlist"
    assert max(x for x, _ in cells(panel)) < 24
    assert not any(cells(panel) & cells(other) for other in PANELS if other["id"] != panel["id"])


def test_the_dashboard_shows_the_limit_of_drift() -> None:
    (panel,) = (panel for panel in PANELS if panel["title"] == "Drift: population stability index")
    assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"] == LIMIT
