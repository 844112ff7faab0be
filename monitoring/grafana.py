"""Grafana's dashboards as JSON (schema v1), of plain parts: a panel is a title, what it means, queries and a unit."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from .reference import metrics

#: Apart for colour-blind people, and readable on Grafana's light and dark grounds (tests compute both).
BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#6A6A6A"
#: What is well is blue, what is not is orange; never red beside green.
GOOD, BAD = BLUE, ORANGE
#: From little to much, by lightness: Grafana draws it from a light yellow to a dark blue, in both themes.
SCALE = "continuous-YlBl"
#: As in $__rate_interval, of which `rate` always has enough samples.
INTERVAL = "$__rate_interval"
DATASOURCE = {"type": "prometheus", "uid": "$datasource"}
#: One metric that each role exports: by these the variables find their values.
ANY = '{__name__=~"mirrorfleet_controller_leader|mirrorfleet_served_snapshot_info|mirrorfleet_sync_phase_info"}'
KNOWN = metrics()


def of(metric: str, *matchers: str) -> str:
    """The series of a metric that the dashboard's variables choose."""
    chosen = [f'{label}=~"${label}"' for label in ("namespace", "mirror", "region") if label in KNOWN[metric].labels]
    return metric + "{" + ",".join(['job=~"$job"', 'instance=~"$instance"', *chosen, *matchers]) + "}"


@dataclass(frozen=True)
class Query:
    expression: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    kind: str
    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str
    width: int = 12
    height: int = 8
    #: Fixed colours by the series' names.
    colours: dict[str, str] = field(default_factory=dict)
    #: From which value on it is bad.
    bad_from: float | None = None
    stacked: bool = False
    #: Whether it is about what is wrong, though there is no number from which on it is bad.
    about_faults: bool = False
    #: Of tables: whether the least of the last column comes first.
    ascending: bool = False
    #: Of tables: names of the queries' columns, with their units; labels that are shown are named too.
    columns: dict[str, tuple[str, str]] = field(default_factory=dict)


    @property
    def shows_faults(self) -> bool:
        """Then it differs between a healthy minute and a faulty one."""
        return self.about_faults or self.bad_from is not None


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Dashboard:
    name: str
    title: str
    description: str
    variables: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def uid(self) -> str:
        return f"mirrorfleet-{self.name}"

    @property
    def panels(self) -> list[Panel]:
        return [panel for row in self.rows for panel in row.panels]


def text(board: Dashboard) -> str:
    return json.dumps(document(board), indent=1, ensure_ascii=False) + "\n"


def document(board: Dashboard) -> dict:
    return {
        "uid": board.uid, "title": board.title, "description": board.description, "tags": ["mirrorfleet"],
        "editable": False, "graphTooltip": 1, "schemaVersion": 39, "version": 1, "timezone": "browser", "weekStart": "",
        "refresh": "1m", "time": {"from": "now-24h", "to": "now"}, "fiscalYearStartMonth": 0, "liveNow": False,
        "annotations": {"list": []},
        "links": [{
            "type": "dashboards", "title": "mirrorfleet", "tags": ["mirrorfleet"], "asDropdown": False, "icon": "external link",
            "includeVars": True, "keepTime": True, "targetBlank": False, "tooltip": "", "url": "",
        }],
        "templating": {"list": [datasource(), *(variable(name, board.variables) for name in ("job", "instance", *board.variables))]},
        "panels": placed(board.rows),
    }  # fmt: skip


def datasource() -> dict:
    return {
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}, "hide": 0,
        "includeAll": False, "multi": False, "options": [], "refresh": 1, "regex": "", "skipUrlSync": False,
    }  # fmt: skip


def variable(name: str, shown: tuple[str, ...]) -> dict:
    """Each chooses among what those before it leave."""
    order = ["job", "instance", *shown]
    before = [f'{label}=~"${label}"' for label in order[: order.index(name)]]
    if name in ("job", "instance"):
        query = f"label_values({ANY[:-1]}{''.join(',' + one for one in before)}}}, {name})"
    else:
        query = f"label_values(mirrorfleet_region_snapshot_info{{{','.join(before)}}}, {name})"
    return {
        "name": name, "label": name.title(), "type": "query", "datasource": DATASOURCE, "query": query, "definition": query,
        "multi": True, "includeAll": True, "allValue": ".+" if name in ("job", "instance") else ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]}, "hide": 0, "options": [], "refresh": 2, "regex": "",
        "skipUrlSync": False, "sort": 1,
    }  # fmt: skip


def placed(rows: tuple[Row, ...]) -> list[dict]:
    """From the left to the right, in lines of 24 columns."""
    found, y = [], 0
    for row in rows:
        number = len(found) + 1
        found.append({"id": number, "type": "row", "title": row.title, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y, x, tallest = y + 1, 0, 0
        for one in row.panels:
            if x + one.width > 24:
                y, x, tallest = y + tallest, 0, 0
            place = {"x": x, "y": y, "w": one.width, "h": one.height}
            found.append({"id": len(found) + 1, "gridPos": place, **panel(one)})
            x, tallest = x + one.width, max(tallest, one.height)
        y += tallest
    return found


def panel(one: Panel) -> dict:
    return {
        "type": one.kind, "title": one.title, "description": one.description, "datasource": DATASOURCE,
        "targets": [target(one, number, query) for number, query in enumerate(one.queries)],
        "fieldConfig": {"defaults": defaults(one), "overrides": overrides(one)},
        "options": OPTIONS[one.kind](one),
        **({"transformations": transformations(one)} if one.kind == "table" else {}),
    }  # fmt: skip


def target(one: Panel, number: int, query: Query) -> dict:
    now = one.kind in ("stat", "table")
    return {
        "refId": letter(number), "datasource": DATASOURCE, "expr": query.expression, "legendFormat": query.legend or "__auto",
        "editorMode": "code", "instant": now, "range": not now, "format": "table" if one.kind == "table" else "time_series",
    }  # fmt: skip


def letter(number: int) -> str:
    return chr(ord("A") + number)


def defaults(one: Panel) -> dict:
    steps = [{"color": GOOD, "value": None}]
    if one.bad_from is not None:
        steps.append({"color": BAD, "value": one.bad_from})
    colour = {"mode": "palette-classic"}
    if one.kind in ("stat", "table"):
        colour = {"mode": "thresholds"}
    if one.kind == "status-history":
        colour = {"mode": SCALE}
    if one.kind == "state-timeline":
        colour, steps = {"mode": "thresholds"}, [{"color": GREY, "value": None}, {"color": BLUE, "value": 1}]
    least = {} if one.kind == "table" else {"min": 0}
    return {"unit": one.unit, **least, "color": colour, "thresholds": {"mode": "absolute", "steps": steps}, "custom": CUSTOM[one.kind](one)}


def overrides(one: Panel) -> list[dict]:
    named = [
        {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}]}
        for name, colour in one.colours.items()
    ]
    columns = [
        {"matcher": {"id": "byName", "options": title}, "properties": [{"id": "unit", "value": unit}]}
        for title, unit in one.columns.values()
        if unit
    ]
    return [*named, *columns]


def transformations(one: Panel) -> list[dict]:
    hidden = {name: True for name in ("Time", "__name__", "job", "instance") if name not in one.columns}
    return [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {
            "excludeByName": hidden,
            "indexByName": {name: number for number, name in enumerate(one.columns)},
            "renameByName": {name: title for name, (title, _) in one.columns.items()},
        }},
    ]  # fmt: skip


LEGEND = {"displayMode": "table", "placement": "right", "showLegend": True, "calcs": ["lastNotNull"], "sortBy": "Last *", "sortDesc": True}
OPTIONS = {
    "timeseries": lambda one: {"legend": {**LEGEND, "placement": "bottom" if one.width < 12 else "right"}, "tooltip": {"mode": "multi", "sort": "desc"}},
    "stat": lambda one: {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "background" if one.bad_from is not None else "value",
        "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto", "wideLayout": True,
    },
    "table": lambda one: {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""}, "sortBy": [{"displayName": list(one.columns.values())[-1][0], "desc": not one.ascending}]},
    "status-history": lambda one: {"showValue": "never", "rowHeight": 0.9, "colWidth": 0.95, "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "single", "sort": "none"}},
    "state-timeline": lambda one: {"showValue": "never", "rowHeight": 0.8, "mergeValues": True, "alignValue": "left", "legend": {"showLegend": False, "displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "single", "sort": "none"}},
}  # fmt: skip
CUSTOM = {
    "stat": lambda one: {},
    "timeseries": lambda one: {
        "drawStyle": "line", "lineWidth": 2, "fillOpacity": 30 if one.stacked else 5, "showPoints": "auto", "pointSize": 4, "spanNulls": False,
        "stacking": {"mode": "normal" if one.stacked else "none", "group": "A"}, "axisSoftMin": 0,
    },
    "table": lambda one: {"align": "auto", "filterable": True, "cellOptions": {"type": "auto"}},
    "status-history": lambda one: {"fillOpacity": 90, "lineWidth": 0},
    "state-timeline": lambda one: {"fillOpacity": 80, "lineWidth": 1},
}  # fmt: skip
