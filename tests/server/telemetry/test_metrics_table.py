"""Every metric is in the table, on the page, and in no query that asks for something else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import yaml
from prometheus_client import Metric

from greenroom.codes import ERRORS
from greenroom.server.telemetry.metrics_table import BY_NAME, FOREIGN, TABLE, Kind
from tests.server.harness import running_service
from tests.server.scraping import scrape

ROOT = Path(__file__).resolve().parents[3]


ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"


DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"


def full_name(family: Metric) -> str:
    return family.name + ("_total" if family.type == "counter" else "")


async def test_every_metric_is_in_the_table_and_on_the_page() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    async with running_service() as running:
        found = await scrape(running)
    names = {full_name(family) for family in found.values()}
    for name in names:
        assert name in BY_NAME or name in FOREIGN, f"{name} is not documented"
    assert {row.name for row in TABLE} <= names
    for name in names:
        assert f"`{name}`" in page, "run scripts/docs_generate.py metrics"
    kinds = {full_name(family): family.type for family in found.values()}
    for row in TABLE:
        assert kinds[row.name] == ("gauge" if row.kind is Kind.INFO else row.kind.value)


def names_in(expression: str) -> set[str]:
    """Names of metrics in a query, as they are in the table."""
    found = set()
    for name in re.findall(r"\b(?:greenroom|process)_[a-z_]+", expression):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        found.add(base if base in BY_NAME and BY_NAME[base].kind is Kind.HISTOGRAM else name)
    return found


def labels_in(expression: str) -> Iterable[tuple[str, str]]:
    """(metric, label) of the selectors of a query."""
    for name, selector in re.findall(r"\b(greenroom_[a-z_]+)\{([^}]*)\}", expression):
        for label in re.findall(r"(\w+)\s*(?:=|!=|=~|!~)", selector):
            yield name, label


def check_query(expression: str) -> None:
    for name in names_in(expression):
        assert name in BY_NAME or name in FOREIGN, f"{expression}: there is no {name}"
    for name, label in labels_in(expression):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        row = BY_NAME.get(name) or BY_NAME[base]
        assert label in (*row.labels, "instance", "job", "le"), f"{expression}: {name} has no label {label}"


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    board = json.loads(DASHBOARD.read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert len(queries) > 40
    for query in (*queries, *(each["definition"] for each in board["templating"]["list"] if "definition" in each)):
        check_query(query)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    shown = {name for query in queries for name in names_in(query)}
    assert {row.name for row in TABLE} - shown == {"greenroom_node_ready"} - shown


def test_the_dashboards_queries_are_promql(tmp_path: Path) -> None:
    """As the expressions of rules, which promtool parses."""
    board = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    for variable, value_of in (("$__rate_interval", "1m"), ("$instance", ".*"), ("$app", ".*")):
        queries = [query.replace(variable, value_of) for query in queries]
    rules = [{"record": f"check:query{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    promtool("check", "rules", str(file))


def promtool(*arguments: str, cwd: Path | None = None) -> None:
    found = shutil.which("promtool")
    assert found is not None, "promtool is needed: make system installs it"
    done = subprocess.run([found, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alerts_are_accepted_and_fire_when_they_should() -> None:
    promtool("check", "rules", str(ALERTS))
    promtool("test", "rules", "alerts-test.yml", cwd=ALERTS.parent)


def test_the_alerts_ask_for_metrics_and_reasons_that_exist() -> None:
    rules = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    how_to = (ROOT / "docs" / "how-to" / "watch-it-run.md").read_text()
    reasons = {row.reason for row in ERRORS.values()} | {"ok"}
    for rule in rules:
        check_query(rule["expr"])
        assert rule["alert"] in how_to, "say what to do about it"
        for chosen in re.findall(r'result=~"([^"]+)"', rule["expr"]):
            assert set(chosen.split("|")) <= reasons
