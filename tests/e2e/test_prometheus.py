"""The rules by promtool, and a real Prometheus that scrapes the service: needs Debian's package `prometheus`."""

import copy
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from pipeline.data.dataset import Split
from serving.corrections.store import CorrectionStore
from serving.http import metrics
from serving.http.uvicorn_protocol import Protocol
from serving.model import Model
from serving.monitoring.monitor import Monitor
from serving.monitoring.shadow import Shadow
from serving.smoke_test import free_port, running_command
from tests.support.inprocess_service import service
from tests.support.live_service import running
from tests.support.monitoring_files import ALERTS, FOLDER, PANELS, PROMETHEUS, RECORDED
from tests.support.sample_requests import BLANK, FIVE, PNG, RAW
from tests.support.waiting import wait_until

# What has no data where no connection was closed by the service.
WITHOUT_DATA = {"sum by (reason) (rate(digits_connections_closed_total[5m]))"}


@pytest.mark.parametrize("command", [["check", "config", "prometheus.yaml"], ["test", "rules", "rules_test.yaml"]])
def test_promtool_accepts_the_configuration_and_every_rule_passes_its_test(command: list[str]) -> None:
    done = subprocess.run(["promtool", *command], cwd=FOLDER, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


@pytest.fixture
def service_address(watched: Model, digits: Split, tmp_path: Path) -> Iterator[str]:
    """A service with a shadow that answers pictures, batches, a blank page and what is no picture, stores a correction,
    and has drifted."""
    monitor = Monitor(watched, None, Shadow(watched, share=1))
    (tmp_path / "corrections").mkdir()
    corrections = CorrectionStore(tmp_path / "corrections")
    metrics.MODEL.labels(watched.tag).set(1)
    with running(service(watched, monitor=monitor, corrections=corrections), "asyncio", Protocol) as live:
        address = "{}:{}".format(*live.address)
        with httpx2.Client(base_url=f"http://{address}") as client:
            for content, headers in ((FIVE, PNG), (BLANK, PNG), (b"hello", PNG)):
                client.post("/predict", content=content, headers=headers)
            client.post("/corrections?label=7", content=FIVE, headers=PNG).raise_for_status()
            for start in (0, 100):
                images = 255 - digits.images[start : start + 100]
                client.post("/predict_batch?shape=100,28,28", content=images.tobytes(), headers=RAW)
        monitor.drain()
        yield address


@pytest.fixture
def prometheus(service_address: str, tmp_path: Path) -> Iterator[httpx2.Client]:
    """A Prometheus with the rules here, which scrapes the service every second."""
    settings = copy.deepcopy(PROMETHEUS) | {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}}
    settings["scrape_configs"][0]["static_configs"] = [{"targets": [service_address]}]
    settings["rule_files"] = [str((FOLDER / "rules.yaml").resolve())]
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    port = free_port()
    command = ["prometheus", f"--config.file={tmp_path}/prometheus.yaml", f"--storage.tsdb.path={tmp_path}/data"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    with (
        running_command(command, port, tmp_path / "log", path="/-/ready") as url,
        httpx2.Client(base_url=url) as client,
    ):
        yield client


def answer(prometheus: httpx2.Client, query: str) -> list[dict[str, Any]]:
    body = prometheus.get("/api/v1/query", params={"query": query}).raise_for_status().json()
    result: list[dict[str, Any]] = body["data"]["result"]
    return result


def test_prometheus_reads_the_service_and_every_panel_shows_something(prometheus: httpx2.Client) -> None:
    wait_until(lambda: bool(answer(prometheus, "digits:seconds:p99_5m")))

    answers = {target["expr"]: answer(prometheus, target["expr"]) for panel in PANELS for target in panel["targets"]}

    assert {query for query, result in answers.items() if not result} <= WITHOUT_DATA
    assert all(answer(prometheus, series) for series in RECORDED)


def test_drift_in_the_service_becomes_a_pending_alert(prometheus: httpx2.Client) -> None:
    def alerts() -> set[tuple[str, str]]:
        found = prometheus.get("/api/v1/alerts").json()["data"]["alerts"]
        return {(alert["labels"]["alertname"], alert["state"]) for alert in found}

    wait_until(lambda: ("DigitsDrift", "pending") in alerts())

    loaded = prometheus.get("/api/v1/rules", params={"type": "alert"}).json()["data"]["groups"]
    assert {rule["name"] for group in loaded for rule in group["rules"]} == set(ALERTS)
