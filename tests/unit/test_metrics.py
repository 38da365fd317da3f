"""One table of metrics: README, dashboard and alerts name what it holds."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from serve_app.deployments.meters import ours
from serve_app.metrics import ALL, Kind, Metric

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "k8s/dashboards/serve_app.json").read_text())
ALERTS = yaml.safe_load((ROOT / "k8s/alerts/serve_app.yaml").read_text())
SERIES = {
    Kind.COUNTER: ("",),
    Kind.GAUGE: ("",),
    Kind.HISTOGRAM: ("_bucket", "_count", "_sum"),
}


def expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]
    for group in ALERTS["spec"]["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def series(spec: Metric) -> set[str]:
    return {spec.exported + suffix for suffix in SERIES[spec.kind]}


def row(spec: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in spec.labels)
    return f"| `{spec.exported}` | {spec.kind} | {labels} | {spec.description} |"


def test_panels_and_alerts_name_only_series_that_are_exported() -> None:
    named = {name for text in expressions() for name in re.findall(r"\bray_\w+", text)}
    assert named <= set().union(*map(series, ALL))


def test_every_metric_is_in_a_panel_or_an_alert() -> None:
    named = {name for text in expressions() for name in re.findall(r"\bray_\w+", text)}
    assert [spec.name for spec in ALL if not named & series(spec)] == []


def test_panels_and_alerts_select_only_by_labels_that_their_metrics_have() -> None:
    by_series = {name: spec for spec in ALL for name in series(spec)}
    ours = {"application", "deployment", "replica"}
    for text in expressions():
        for name, selectors in re.findall(r"(ray_\w+)\{([^}]*)}", text):
            labels = set(re.findall(r"(\w+)\s*(?:=|!)", selectors))
            assert labels <= {*by_series[name].labels, *ours}, text


def test_readmes_table_is_the_table_of_metrics() -> None:
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if "| `ray_" in line]
    assert rows == [row(spec) for spec in ALL]


def test_the_dashboard_can_be_imported_anywhere() -> None:
    def sources(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if "datasource" in node:
                yield node["datasource"]["uid"]
            for child in node.values():
                yield from sources(child)
        elif isinstance(node, list):
            for child in node:
                yield from sources(child)

    assert set(sources(DASHBOARD)) == {"${datasource}"}
    assert DASHBOARD["templating"]["list"][0]["type"] == "datasource"
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_every_alert_says_what_is_wrong_and_what_to_look_at() -> None:
    rules = [rule for group in ALERTS["spec"]["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert {"summary", "description"} <= set(rule["annotations"])


def test_every_error_of_the_servers_own_is_in_an_alert() -> None:
    told = [re.findall(r'reason=~"([^"]+)"', text) for text in expressions()]
    assert {code for groups in told for group in groups for code in group.split("|")} == set(ours())
