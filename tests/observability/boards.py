"""The dashboards and rules as they are shipped, and the queries in them."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "deploy/grafana"
RULES = ROOT / "deploy/prometheus/rules.yml"
RULES_TEST = ROOT / "deploy/prometheus/rules_test.yml"
METRICS = ROOT / "docs/metrics.md"
RUNBOOKS = ROOT / "docs/runbooks.md"

# What Grafana puts in; long enough for some scrapes, short enough to come true within the test.
GRAFANA_PUTS_IN = {"__rate_interval": "20s", "__range": "60s", "__interval": "5s", "tenant": ".*", "dialect": ".*"}


def dashboards():
    return {path.stem: json.loads(path.read_text()) for path in sorted(GRAFANA.glob("*.json"))}


def panels(board):
    """Every panel but the rows' headings."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


@dataclass(frozen=True)
class Query:
    where: str
    expr: str

    def without_fallback(self):
        """Without the zero for when there is nothing to count."""
        return Query(self.where, re.sub(r" or (on \(\) )?vector\(0\)$", "", self.expr))

    def with_values(self, values):
        def value(found):
            name = found[1] or found[2]
            if name not in values:
                raise KeyError(f"{self.where}: no value for ${name}")
            return values[name]

        return re.sub(r"\$(?:\{(\w+)\}|(\w+))", value, self.expr)


def queries():
    """Every query of every panel and every variable."""
    for name, board in dashboards().items():
        for panel in panels(board):
            for target in panel.get("targets", []):
                yield Query(f"{name}: {panel['title']} {target['refId']}", target["expr"])
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()
                yield Query(f"{name}: ${variable['name']}", f"count by ({label}) ({metric})")


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts():
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def metrics_asked_for():
    """Names of metrics in panels and rules; a histogram's without what Prometheus adds."""
    asked = [query.expr for query in queries()] + [rule["expr"] for rule in rules()]
    names = set(re.findall(r"(?<![\w:])(?:fanfare|process)_\w+", " ".join(asked)))
    return {re.sub(r"(_seconds|_size)_(bucket|sum|count)$", r"\1", name) for name in names}


def metrics_described():
    return set(re.findall(r"^\| `(\w+)`", METRICS.read_text(), flags=re.MULTILINE))


def runbooks():
    """Section by heading: one for each alert."""
    parts = re.split(r"^## (.+)\n", RUNBOOKS.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def commands(markdown):
    """What stands in fenced blocks of shell."""
    return re.findall(r"^```sh\n(.*?)^```", markdown, flags=re.MULTILINE | re.DOTALL)
