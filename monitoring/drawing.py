"""Draws a dashboard's JSON and what Prometheus answered as one page of HTML and SVG. Not Grafana: as much of it as the pictures need."""

from __future__ import annotations

import itertools
import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from .grafana import BLUE, GREEN, GREY, ORANGE, PINK
from .units import formatted

#: Ground, panel, border, text, faint text, grid.
THEMES = {
    "light": ("#F4F5F5", "#FFFFFF", "#DCDEE1", "#24292E", "#5C6470", "#E7E8EA"),
    "dark": ("#111217", "#181B1F", "#2C3037", "#D8D9DA", "#9DA3AD", "#2A2D33"),
}
PALETTE = (BLUE, ORANGE, GREEN, PINK, "#56B4E9", "#E69F00", GREY)
#: So that lines differ without colour too.
DASHES = ("", "6 3", "2 3", "9 3 2 3")
#: Grafana's super-light-yellow and dark-blue.
LITTLE, MUCH = "#FFF899", "#1F60C4"
#: Units of which 1024 are one of the next.
BINARY = ("bytes", "Bps")
ROW_HEIGHT, GAP, HEAD, TITLE, LEGEND_LINE = 38, 8, 58, 30, 17
FONT = "font:12px Inter,'DejaVu Sans',sans-serif"


@dataclass(frozen=True)
class Series:
    name: str
    labels: dict[str, str]
    points: list[tuple[float, float]]

    @property
    def last(self) -> float:
        return self.points[-1][1]


def page(board: dict, told: dict, theme: str, width: int) -> tuple[str, int]:
    """The page and its height."""
    ground, _, _, text, faint, _ = THEMES[theme]
    recorded = told["boards"][board["uid"]]
    parts, bottom = [], HEAD
    column = (width - GAP) / 24
    for panel, up in with_data(board["panels"], recorded, told):
        place = panel["gridPos"]
        x, y = GAP + place["x"] * column, HEAD + (place["y"] - up) * ROW_HEIGHT
        w, h = place["w"] * column - GAP, place["h"] * ROW_HEIGHT - GAP
        bottom = max(bottom, y + h)
        if panel["type"] == "row":
            parts.append(f'<div class="row" style="left:{x:.0f}px;top:{y:.0f}px">{escape(panel["title"])}</div>')
            continue
        inner = Panel(panel, series_of(panel, recorded[str(panel["id"])], told), told, theme, w - 20, h - TITLE - 8).drawn()
        style = f"left:{x:.0f}px;top:{y:.0f}px;width:{w:.0f}px;height:{h:.0f}px"
        parts.append(f'<div class="panel" style="{style}"><h2>{escape(panel["title"])}</h2>{inner}</div>')
    span = f"{time.strftime('%H:%M', time.gmtime(told['start']))} to {time.strftime('%H:%M UTC', time.gmtime(told['end']))}"
    head = f'<h1>{escape(board["title"])}</h1><p class="what">{escape(board["description"])} Drawn by us from the dashboard\'s JSON; {span} of a fleet in a test, without rows that have nothing to show then.</p>'
    return f"<!DOCTYPE html><meta charset=utf-8><style>{css(theme)}</style><body style='color:{text};background:{ground}'>{head}{''.join(parts)}</body>", round(bottom + GAP * 2)


def with_data(panels: list[dict], recorded: dict, told: dict) -> Iterator[tuple[dict, int]]:
    """Each panel, and how much higher it is than on the dashboard: rows of which all is nought or nothing are left out."""
    rows: list[list[dict]] = []
    for panel in panels:
        if panel["type"] == "row" or not rows:
            rows.append([])
        rows[-1].append(panel)
    up = 0
    for row in rows:
        series = [one for panel in row if panel["type"] != "row" for one in series_of(panel, recorded[str(panel["id"])], told)]
        if any(value for one in series for _, value in one.points):
            yield from ((panel, up) for panel in row)
        else:
            up += max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in row) - row[0]["gridPos"]["y"]


def css(theme: str) -> str:
    ground, panel, border, text, faint, grid = THEMES[theme]
    return (
        f"*{{box-sizing:border-box;margin:0}}body{{{FONT};position:relative}}h1{{font-size:18px;position:absolute;left:{GAP}px;top:8px}}"
        f".what{{position:absolute;left:{GAP}px;top:33px;color:{faint}}}.row{{position:absolute;font-weight:600;font-size:14px;padding-top:10px}}"
        f".panel{{position:absolute;background:{panel};border:1px solid {border};border-radius:3px;padding:0 10px 8px;overflow:hidden}}"
        f"h2{{font-size:13px;font-weight:600;line-height:{TITLE}px;white-space:nowrap}}table{{border-collapse:collapse;width:100%}}"
        f"td,th{{text-align:left;padding:4px 8px 4px 0;border-bottom:1px solid {grid};white-space:nowrap}}th{{color:{faint};font-weight:600}}"
        f".stats{{display:flex;gap:6px;height:100%}}.stat{{flex:1;border-radius:3px;display:flex;flex-direction:column;justify-content:center;align-items:center;overflow:hidden;padding:2px}}"
        f".stat b{{white-space:nowrap}}.legend{{table-layout:fixed}}.legend td{{border:0;padding:1px 4px 1px 0;font-size:11px;overflow:hidden;text-overflow:ellipsis}}"
        f".legend td:first-child{{width:18px}}.legend td:last-child{{width:84px}}.none{{color:{faint};padding-top:20px;text-align:center}}"
    )


def series_of(panel: dict, recorded: dict, told: dict) -> list[Series]:
    """Where a panel asks for one instant, what is there at the end."""
    found = []
    for target in panel["targets"]:
        since = told["end"] - gap_of(told) if target["instant"] else told["start"]
        for one in recorded[target["refId"]]:
            points = [(float(at), float(value)) for at, value in one["values"] if math.isfinite(float(value))]
            if points and points[-1][0] >= since:
                found.append(Series(named(target["legendFormat"], one["metric"]), {**one["metric"], "refId": target["refId"]}, points))
    return found


def gap_of(told: dict) -> float:
    """Seconds between two points after which there was nothing in between."""
    return 3 * max(1.0, (told["end"] - told["start"]) / 200)


def merged(series: list[Series], several: bool) -> list[dict[str, str | float]]:
    """Rows by the columns' names, as Grafana's `merge` makes them: where labels that both have agree, it is one row."""
    rows: list[dict[str, str | float]] = []
    for one in series:
        labels = {name: text for name, text in one.labels.items() if name != "refId"}
        value = {f"Value #{one.labels['refId']}" if several else "Value": one.last}
        fitting = [row for row in rows if not value.keys() & row.keys() and all(row.get(name, text) == text for name, text in labels.items())]
        for row in fitting:
            row |= {**labels, **value}
        if not fitting:
            rows.append({**labels, **value})
    return rows


def named(legend: str, labels: dict[str, str]) -> str:
    if legend == "__auto":
        return ", ".join(labels.values()) or "value"
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), legend)


class Panel:
    def __init__(self, panel: dict, series: list[Series], told: dict, theme: str, width: float, height: float) -> None:
        self.panel, self.series, self.theme = panel, series, theme
        self.start, self.end = told["start"], told["end"]
        self.width, self.height = width, height
        self.defaults = panel["fieldConfig"]["defaults"]
        self.unit = self.defaults["unit"]
        _, _, _, self.text, self.faint, self.grid = THEMES[theme]

    def drawn(self) -> str:
        if not self.series:
            return '<p class="none">No data</p>'
        return {
            "timeseries": self.lines, "stat": self.stats, "table": self.table, "status-history": self.heat, "state-timeline": self.states,
        }[self.panel["type"]]()  # fmt: skip

    def shown(self, value: float, unit: str | None = None) -> str:
        return formatted(value, self.unit if unit is None else unit, self.end)

    # Colours

    def fixed(self) -> dict[str, str]:
        found = {}
        for override in self.panel["fieldConfig"]["overrides"]:
            for entry in override["properties"]:
                if entry["id"] == "color":
                    found[override["matcher"]["options"]] = entry["value"]["fixedColor"]
        return found

    def colours(self) -> list[str]:
        """Those that are fixed, and for the others what is not fixed for any of the panel's."""
        fixed = self.fixed()
        taken = {fixed[one.name] for one in self.series if one.name in fixed}
        free = itertools.cycle([colour for colour in PALETTE if colour not in taken])
        return [fixed.get(one.name) or next(free) for one in self.series]

    def threshold(self, value: float) -> str:
        return [step["color"] for step in self.defaults["thresholds"]["steps"] if step["value"] is None or value >= step["value"]][-1]

    # Kinds

    def stats(self) -> str:
        boxes = []
        filled = self.panel["options"]["colorMode"] == "background"
        for one in sorted(self.series, key=lambda one: one.name):
            colour = self.threshold(one.last)
            style = f"background:{colour};color:#FFFFFF" if filled else ""
            size = f"font-size:{min(24, max(12, self.width / len(self.series) / 6)):.0f}px"
            boxes.append(f'<div class="stat" style="{style}"><span>{escape(one.name)}</span><b style="{size}">{escape(self.shown(one.last))}</b></div>')
        return f'<div class="stats" style="height:{self.height:.0f}px">{"".join(boxes)}</div>'

    def table(self) -> str:
        rename = self.panel["transformations"][1]["options"]["renameByName"]
        units = {o["matcher"]["options"]: e["value"] for o in self.panel["fieldConfig"]["overrides"] for e in o["properties"] if e["id"] == "unit"}
        rows = merged(self.series, len(self.panel["targets"]) > 1)
        order = self.panel["options"]["sortBy"][0]
        key = next(name for name, title in rename.items() if title == order["displayName"])
        ordered = sorted(rows, key=lambda row: row.get(key, -math.inf), reverse=order["desc"])
        body = []
        for row in ordered[: int((self.height - 25) // 24)]:
            cells = [self.shown(row[name], units.get(title)) if name.startswith("Value") and name in row else row.get(name, "") for name, title in rename.items()]
            body.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
        return f"<table><tr>{''.join(f'<th>{escape(title)}</th>' for title in rename.values())}</tr>{''.join(body)}</table>"

    def frame(self, width: float, height: float, left: float) -> list[str]:
        """The times below; the chart itself is `left` from the left and 18 above the ground."""
        parts = []
        ticks = max(2, int((width - left) // 90))
        for number in range(ticks + 1):
            x = left + (width - left - 4) * number / ticks
            at = self.start + (self.end - self.start) * number / ticks
            anchor = "start" if number == 0 else "end" if number == ticks else "middle"
            parts.append(f'<text x="{x:.1f}" y="{height - 3:.0f}" fill="{self.faint}" font-size="10" text-anchor="{anchor}">{time.strftime("%H:%M:%S", time.gmtime(at))}</text>')
        return parts

    def x(self, at: float, width: float, left: float) -> float:
        return left + (width - left - 4) * (at - self.start) / max(1, self.end - self.start)

    def lines(self) -> str:
        colours = self.colours()
        order = sorted(range(len(self.series)), key=lambda n: -self.series[n].last)
        side = self.panel["options"]["legend"]["placement"] == "right"
        width = self.width * (0.56 if side else 1)
        legend_lines = min(len(order), 4)
        height = self.height if side else self.height - legend_lines * LEGEND_LINE
        stacked = self.defaults["custom"]["stacking"]["mode"] == "normal"
        drawn = stack(self.series) if stacked else [(one.points, None) for one in self.series]
        most = max((value for points, _ in drawn for _, value in points), default=0)
        least = min(0.0, min((value for points, _ in drawn for _, value in points), default=0))
        steps = ticks_of(least, most, 1024 if self.unit in BINARY else 1000)
        low, top, left, bottom = steps[0], steps[-1], 62.0, height - 18
        y = lambda value: bottom - (bottom - 6) * (value - low) / (top - low)  # noqa: E731
        parts = self.frame(width, height, left)
        for step in steps:
            parts.append(f'<line x1="{left}" x2="{width - 4:.0f}" y1="{y(step):.1f}" y2="{y(step):.1f}" stroke="{self.grid}"/>')
            parts.append(f'<text x="{left - 6}" y="{y(step) + 4:.1f}" fill="{self.faint}" font-size="10" text-anchor="end">{escape(self.shown(step))}</text>')
        gap = gap_of({"start": self.start, "end": self.end})
        for number, (points, floor) in enumerate(drawn):
            dash = DASHES[(number // len(PALETTE) + number) % len(DASHES)] if not stacked else ""
            for run in runs_of(points, gap):
                path = " ".join(f"{self.x(at, width, left):.1f},{y(value):.1f}" for at, value in run)
                if floor:
                    back = " ".join(f"{self.x(at, width, left):.1f},{y(floor.get(at, 0)):.1f}" for at, _ in reversed(run))
                    parts.append(f'<polygon points="{path} {back}" fill="{colours[number]}" fill-opacity="0.3"/>')
                parts.append(f'<polyline points="{path}" fill="none" stroke="{colours[number]}" stroke-width="2" stroke-dasharray="{dash}" stroke-linecap="round"/>')
        room = int(self.height // LEGEND_LINE) if side else legend_lines
        legend = "".join(
            f'<tr><td><svg width="14" height="10"><line x1="0" x2="14" y1="5" y2="5" stroke="{colours[n]}" stroke-width="3"/></svg></td>'
            f"<td>{escape(self.series[n].name)}</td><td>{escape(self.shown(self.series[n].last))}</td></tr>"
            for n in order[:room]
        )
        where = f"position:absolute;left:{width + 20:.0f}px;top:{TITLE}px;width:{self.width - width - 12:.0f}px" if side else ""
        return svg(width, height, parts) + f'<table class="legend" style="{where}">{legend}</table>'

    def heat(self) -> str:
        """Cells by colour of value, a line for each series."""
        most = self.defaults.get("max") or max((value for one in self.series for _, value in one.points), default=0) or 1
        return self.bands(lambda value: mixed(LITTLE, MUCH, value / most), f"0 {swatch(LITTLE)} to {swatch(MUCH)} {escape(self.shown(most))}")

    def states(self) -> str:
        return self.bands(self.threshold, "")

    def bands(self, colour, legend: str) -> str:
        series = sorted(self.series, key=lambda one: one.name)
        left, height = 210.0, self.height - (18 if legend else 0)
        each = min(34.0, (height - 22) / len(series))
        parts = self.frame(self.width, height, left)
        step = max(1.0, (self.end - self.start) / 200)
        for number, one in enumerate(series):
            y = 2 + number * each
            parts.append(f'<text x="{left - 8}" y="{y + each / 2 + 3:.1f}" fill="{self.text}" font-size="11" text-anchor="end">{escape(cut(one.name, 31))}</text>')
            for at, value in one.points:
                x = self.x(at, self.width, left)
                w = self.x(at + step, self.width, left) - x + 0.5
                parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{min(w, self.width - x):.1f}" height="{each - 3:.1f}" fill="{colour(value)}" shape-rendering="crispEdges"/>')
        return svg(self.width, height, parts) + (f'<p style="color:{self.faint};font-size:11px">{legend}</p>' if legend else "")


def cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def svg(width: float, height: float, parts: list[str]) -> str:
    return f'<svg width="{width:.0f}" height="{height:.0f}" style="display:block">{"".join(parts)}</svg>'


def swatch(colour: str) -> str:
    return f'<span style="display:inline-block;width:22px;height:10px;border:1px solid #888;background:{colour}"></span>'


def mixed(one: str, other: str, share: float) -> str:
    pairs = [(int(one[n : n + 2], 16), int(other[n : n + 2], 16)) for n in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * min(1, max(0, share))):02X}" for a, b in pairs)


def stack(series: list[Series]) -> list[tuple[list[tuple[float, float]], dict[float, float]]]:
    """Each upon those before it: its points, and what is below them."""
    sums: dict[float, float] = {}
    found = []
    for one in series:
        floor = dict(sums)
        for at, value in one.points:
            sums[at] = sums.get(at, 0) + value
        # What is nothing is not drawn upon what is below it.
        found.append(([(at, sums[at]) for at, value in one.points if value > 0], floor or {one.points[0][0]: 0.0}))
    return found


def runs_of(points: list[tuple[float, float]], gap: float) -> list[list[tuple[float, float]]]:
    """Nothing is drawn across a time without data."""
    found: list[list[tuple[float, float]]] = []
    for point in points:
        if found and point[0] - found[-1][-1][0] <= gap:
            found[-1].append(point)
        else:
            found.append([point])
    return found


def ticks_of(least: float, most: float, base: int) -> list[float]:
    """Numbers that are round where `base` of a unit are one of the next, from at or below the least to at or above the most."""
    if most <= least:
        most = least + 1
    if most >= base:
        return [step * base for step in ticks_of(least / base, most / base, base)]
    rough = (most - least) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    first, last = math.floor(least / step), math.ceil(most / step)
    return [step * number for number in range(first, last + 1)]
