"""What is in deploy/monitoring/: the rules, their tests, the dashboard and the configurations."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

FOLDER: Final = Path("deploy/monitoring")
COMPOSE: Final[dict[str, Any]] = yaml.safe_load(Path("deploy/compose.yaml").read_text())
PROMETHEUS: Final[dict[str, Any]] = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
DATASOURCE: Final[dict[str, Any]] = yaml.safe_load((FOLDER / "grafana/datasource.yaml").read_text())["datasources"][0]
PROVIDER: Final[dict[str, Any]] = yaml.safe_load((FOLDER / "grafana/provider.yaml").read_text())["providers"][0]
DASHBOARD: Final[dict[str, Any]] = json.loads((FOLDER / "grafana/dashboard.json").read_text())
RULES: Final[list[dict[str, Any]]] = [
    rule for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"] for rule in group["rules"]
]
RECORDED: Final = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
ALERTS: Final = {rule["alert"]: rule for rule in RULES if "alert" in rule}
TESTS: Final = yaml.safe_load((FOLDER / "rules_test.yaml").read_text())["tests"]
PANELS: Final[list[dict[str, Any]]] = DASHBOARD["panels"]


def queries() -> Iterator[tuple[str, str]]:
    """All queries with the name of their rule or panel."""
    yield from RECORDED.items()
    yield from ((name, rule["expr"]) for name, rule in ALERTS.items())
    yield from ((panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"])
