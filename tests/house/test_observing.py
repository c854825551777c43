"""The dashboard and the alert rules name metrics and labels that exist, in PromQL that Prometheus can read."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from actiond.words.metrics import Metric
from house.source import ROOT

RULES = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())
BOARD = json.loads((ROOT / "deploy" / "grafana.json").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
TARGETS = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
#: As an expression that names the same: label_values(a, b) lists the values of b.
VARIABLES = [
    re.sub(r"label_values\((\w+), (\w+)\)", r"count by (\2) (rate(\1[5m]))", each["query"]["query"])
    for each in BOARD["templating"]["list"]
    if each["type"] == "query"
]
EXPRESSIONS = [*(rule["expr"] for rule in ALERTS), *TARGETS]

_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}
#: Series -> labels: ours, and those of the process that the documentation of prometheus-client promises.
SERIES = {
    name + suffix: {*metric.labels, *({"le"} if suffix == "_bucket" else ()), "instance", "job"}
    for metric in Metric
    for name in [metric.value]
    for suffix in _SUFFIXES.get(metric.kind, ("",))
} | {"process_resident_memory_bytes": {"instance", "job"}}
_WORDS = {"sum", "max", "min", "count", "avg", "by", "on", "unless", "and", "or", "rate", "increase", "absent"}
_WORDS |= {"histogram_quantile", "group_left"}


def complaints(expression: str) -> list[str]:
    """Series, labels and words that do not exist; brackets that do not close."""
    plain = re.sub(r'"[^"]*"', '""', expression)
    found = []
    labels = set()
    for names in re.findall(r"\b(?:by|on|group_left)\s*\(([^)]*)\)", plain):
        labels |= {name.strip() for name in names.split(",") if name.strip()}
    for matchers in re.findall(r"\{([^}]*)\}", plain):
        labels |= set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
    bare = re.sub(r"\b(by|on|group_left)\s*\([^)]*\)|\{[^}]*\}|\[[^\]]*\]", r"\1", plain)
    names = set(re.findall(r"[A-Za-z_]\w*", bare)) - _WORDS - labels
    found += [f"there is no {name}" for name in sorted(names - SERIES.keys())]
    known = set().union(*(SERIES[name] for name in names & SERIES.keys()))
    found += [f"nothing here has the label {label}" for label in sorted(labels - known)]
    for opening, closing in ("()", "[]", "{}"):
        if plain.count(opening) != plain.count(closing):
            found.append(f"{opening} and {closing} do not match")
    counters = {metric.value for metric in Metric if metric.kind == "counter"}
    for name in names & counters:
        if not re.search(rf"(rate|increase)\({name}", plain):
            found.append(f"{name} only grows: it wants rate() or increase()")
    return found


@pytest.mark.parametrize("expression", [*EXPRESSIONS, *VARIABLES])
def test_an_expression_names_what_exists(expression: str) -> None:
    assert complaints(expression) == []


def test_every_metric_is_looked_at_by_the_dashboard_or_by_an_alert() -> None:
    looked_at = " ".join(EXPRESSIONS)
    assert [metric for metric in Metric if metric not in looked_at] == [Metric.BACKLOG_AGE_SECONDS]


def test_an_alert_says_what_is_wrong_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS) >= 10
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "todo"}


def test_panels_have_a_place_of_their_own() -> None:
    places = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        taken = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & places, panel["title"]
        places |= taken
        assert at["x"] + at["w"] <= 24
        assert panel["description"]
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_the_manual_knows_the_paths_and_the_files() -> None:
    page = (ROOT / "docs" / "observing.md").read_text()
    for word in ("/metrics", "/healthz", "/readyz", "alerts.yml", "grafana.json", "ACTIOND_HTTP_TOKEN", "trace"):
        assert word in page


# By Prometheus itself, where it is installed.


def promtool(*arguments: str, folder: Path) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed here (it comes with prometheus)")
    ran = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_prometheus_reads_the_rules(tmp_path: Path) -> None:
    shutil.copy(ROOT / "deploy" / "alerts.yml", tmp_path)
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", "alerts.yml", folder=tmp_path)


def test_prometheus_reads_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{place}", "expr": expression.replace("$__rate_interval", "5m").replace("$processor", ".*")}
        for place, expression in enumerate(TARGETS)
    ]
    (tmp_path / "board.yml").write_text(json.dumps({"groups": [{"name": "board", "rules": rules}]}))
    assert f"{len(TARGETS)} rules found" in promtool("check", "rules", "board.yml", folder=tmp_path)


def test_alerts_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    for path in (ROOT / "deploy" / "alerts.yml", ROOT / "tests" / "house" / "alerts_test.yml"):
        shutil.copy(path, tmp_path)
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml", folder=tmp_path)


# The rule itself.


@pytest.mark.parametrize(
    "wrong",
    [
        "sum(rate(actiond_action_total[5m]))",
        "sum by (queue) (rate(actiond_actions_total[5m]))",
        'rate(actiond_actions_total{state="failed"}[5m])',
        "actiond_wait_seconds",
        "sum(rate(actiond_actions_total[5m])",
        "sum(actiond_actions_total)",
        "increse(actiond_claims_total[5m])",
    ],
)
def test_a_wrong_expression_is_found(wrong: str) -> None:
    assert complaints(wrong)
