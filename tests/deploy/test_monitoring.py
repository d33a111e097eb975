"""Dashboard and alerts ask for metrics that the server has."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from server.sleeping import make_service
from tetriserve.server.config import ServerConfig
from tetriserve.server.context import Context
from tetriserve.server.metrics import ServerMetrics

DEPLOY = Path(__file__).parents[2] / "deploy"
NAME = re.compile(r"\btetriserve_[a-z_]+")


def offered() -> set[str]:
    """Names as the server exposes them."""
    service, _ = make_service()
    registry = ServerMetrics(Context.of(service, ServerConfig())).registry
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    return {family.name + suffix for family in registry.collect() for suffix in suffixes[family.type]}


def rules() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]:
        yield from group["rules"]


def test_the_dashboard_shows_what_there_is() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    panels = dashboard["panels"]
    asked = {name for panel in panels for target in panel["targets"] for name in NAME.findall(target["expr"])}
    assert asked <= offered()
    (source,) = yaml.safe_load((DEPLOY / "grafana" / "datasource.yaml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    places = [panel["gridPos"] for panel in panels]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells)), "panels overlap"


def test_alerts_watch_what_there_is_and_say_what_to_do() -> None:
    asked = {name for rule in rules() for name in NAME.findall(rule["expr"])}
    assert asked <= offered()
    for rule in rules():
        if "alert" in rule:
            assert set(rule["annotations"]) == {"summary", "description"}
    assert yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["rule_files"] == ["alerts.yml"]


def test_compose_gives_monitoring_its_files() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    mounted = {volume.split(":")[0] for name in ("prometheus", "grafana") for volume in services[name]["volumes"]}
    for path in DEPLOY.glob("grafana/*"):
        assert f"./grafana/{path.name}" in mounted
    assert {"./prometheus.yml", "./alerts.yml"} <= mounted
