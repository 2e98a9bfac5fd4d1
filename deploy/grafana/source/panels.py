"""Building blocks of the dashboards: what every panel has in common is said here, once."""

import json
from dataclasses import dataclass, field

SCHEMA_VERSION = 42
COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
RATE = "$__rate_interval"

GOOD, DOUBTFUL, BAD = "green", "orange", "red"
PER_SECOND = "suffix:/s"


@dataclass
class Panel:
    """A panel before it has a place; `width` is of 24 columns."""

    kind: str
    title: str
    description: str
    targets: list
    width: int = 8
    height: int = 8
    unit: str = "short"
    steps: list = field(default_factory=lambda: [(None, GOOD)])
    defaults: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)
    transformations: list = field(default_factory=list)

    def json(self, number, x, y):
        steps = [{"color": color, "value": value} for value, color in self.steps]
        panel = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit,
                    "color": {"mode": "thresholds"},
                    "thresholds": {"mode": "absolute", "steps": steps},
                }
                | self.defaults,
                "overrides": [],
            },
            "options": self.options,
        }
        if self.targets:
            panel |= {"datasource": DATASOURCE, "targets": self.targets}
        if self.transformations:
            panel["transformations"] = self.transformations
        return panel


def target(expr, legend="", **more):
    return {"datasource": DATASOURCE, "editorMode": "code", "expr": expr, "legendFormat": legend} | more


def targets(queries, **more):
    """Numbers the queries A, B, C …; a lone expression needs no legend."""
    if isinstance(queries, str):
        queries = [(queries, "")]
    return [target(expr, legend, refId=chr(ord("A") + n), **more) for n, (expr, legend) in enumerate(queries)]


def rising(doubtful, bad):
    """Thresholds where more is worse."""
    return [(None, GOOD), (doubtful, DOUBTFUL), (bad, BAD)]


def stat(title, description, expr, unit="short", steps=None, **more):
    """One number, as it is now."""
    options = {
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
        "wideLayout": True,
    }
    panel = {"width": 3, "height": 4} | more
    return Panel(
        "stat",
        title,
        description,
        targets(expr, instant=True, range=False),
        unit=unit,
        steps=steps or [(None, "blue")],
        options=options,
        **panel,
    )


def series(title, description, queries, unit="short", steps=None, stacked=False, **more):
    """Lines over time; with thresholds, the bad region is shaded."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if stacked else 10,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
        "thresholdsStyle": {"mode": "area" if steps else "off"},
    }
    options = {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel(
        "timeseries",
        title,
        description,
        targets(queries),
        unit=unit,
        steps=steps or [(None, GOOD)],
        defaults={"color": {"mode": "palette-classic"}, "custom": custom, "min": 0},
        options=options,
        **more,
    )


def quantiles(title, description, histogram, where="", **more):
    """Median, 95th and 99th percentile of a histogram."""
    buckets = f"sum by (le) (rate({histogram}_bucket{where}[{RATE}]))"
    queries = [
        (f"histogram_quantile({q}, {buckets})", legend) for q, legend in ((0.5, "half"), (0.95, "95 %"), (0.99, "99 %"))
    ]
    return series(title, description, queries, unit="s", **more)


def heatmap(title, description, histogram, **more):
    """Where in a histogram's buckets the observations fall, over time."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {
            "mode": "scheme",
            "scheme": "Blues",
            "steps": 64,
            "fill": "blue",
            "scale": "exponential",
            "exponent": 0.5,
            "reverse": False,
        },
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"},
    }
    expr = f"sum by (le) (increase({histogram}_bucket[{RATE}]))"
    return Panel(
        "heatmap", title, description, targets([(expr, "{{le}}")], format="heatmap"), unit="s", options=options, **more
    )


def bars(title, description, expr, legend, unit="short", links=(), **more):
    """One bar a series, as it is now."""
    options = {
        "displayMode": "basic",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showUnfilled": True,
        "sizing": "auto",
        "valueMode": "color",
    }
    return Panel(
        "bargauge",
        title,
        description,
        targets([(expr, legend)], instant=True, range=False),
        unit=unit,
        defaults={"color": {"mode": "continuous-BlPu"}, "links": list(links), "min": 0},
        options=options,
        **more,
    )


def table(title, description, queries, columns, unit="short", **more):
    """One row for each set of labels; `columns` renames what is shown and hides the rest."""
    options = {"cellHeight": "sm", "showHeader": True}
    organize = {
        "id": "organize",
        "options": {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": columns},
    }
    return Panel(
        "table",
        title,
        description,
        targets([(expr, "") for expr in queries], instant=True, range=False, format="table"),
        unit=unit,
        options=options,
        transformations=[{"id": "merge", "options": {}}, organize],
        **more,
    )


def timeline(title, description, expr, legend, states, **more):
    """Which state each series was in, over time."""
    mappings = [
        {"type": "value", "options": {str(value): {"text": text, "color": color, "index": value}}}
        for value, text, color in states
    ]
    options = {
        "alignValue": "left",
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "never",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    defaults = {"mappings": mappings, "custom": {"fillOpacity": 80, "lineWidth": 0}}
    return Panel(
        "state-timeline", title, description, targets([(expr, legend)]), options=options, defaults=defaults, **more
    )


def alerts(title, description, **more):
    """Which alerts of Fanfare's fire."""
    options = {
        "alertName": "Fanfare",
        "dashboardAlerts": False,
        "groupMode": "default",
        "maxItems": 20,
        "sortOrder": 3,
        "stateFilter": {"error": True, "firing": True, "noData": False, "normal": False, "pending": True},
        "viewMode": "list",
    }
    return Panel("alertlist", title, description, [], options=options, **more)


def variable(name, label, query, description, several=True):
    """A choice of a label's values."""
    return {
        "name": name,
        "label": label,
        "description": description,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": "StandardVariableQuery"},
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "regex": "",
        "options": [],
        "multi": several,
        "includeAll": several,
        "current": {"text": ["All"], "value": ["$__all"]} if several else {},
    } | ({"allValue": ".*"} if several else {})


def place(rows):
    """Puts panels from left to right, a row's heading before them."""
    placed, y = [], 0
    for heading, panels in rows:
        placed.append(
            {
                "id": len(placed) + 1,
                "type": "row",
                "title": heading,
                "collapsed": False,
                "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y},
                "panels": [],
            }
        )
        x, y, tallest = 0, y + 1, 0
        for panel in panels:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            placed.append(panel.json(len(placed) + 1, x, y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return placed


def dashboard(uid, title, description, rows, variables=(), since="now-6h"):
    """A dashboard as Grafana imports it."""
    datasource = {
        "name": "datasource",
        "label": "Prometheus",
        "description": "The Prometheus that scrapes Fanfare.",
        "type": "datasource",
        "query": "prometheus",
        "regex": "",
        "refresh": 1,
        "hide": 0,
        "options": [],
        "multi": False,
        "includeAll": False,
        "current": {},
    }
    links = {
        "type": "dashboards",
        "title": "Fanfare",
        "tags": ["fanfare"],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["fanfare"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "liveNow": False,
        "refresh": "30s",
        "time": {"from": since, "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "weekStart": "",
        "fiscalYearStartMonth": 0,
        "links": [links],
        "annotations": {"list": []},
        "templating": {"list": [datasource, *variables]},
        "panels": place(rows),
    }


def text(board):
    return json.dumps(board, indent=2, ensure_ascii=False) + "\n"
