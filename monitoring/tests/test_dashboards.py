"""The rules of grafana/dashboard-linter, one by one and without exclusions, and what people need beside them."""

from __future__ import annotations

import itertools
import json
import re
import unittest

from .. import files, grafana, reference
from ..dashboards import DASHBOARDS
from ..grafana import BLUE, GREEN, GREY, ORANGE, PINK, Dashboard
from . import promtool

DOCUMENTS = {board.uid: json.loads(grafana.text(board)) for board in DASHBOARDS}
#: Of Grafana's list of units: what is used here.
UNITS = {"none", "short", "percentunit", "bytes", "Bps", "reqps", "ops", "s", "d", "dtdurations", "dateTimeAsIso", "dateTimeFromNow"}
#: The kinds of panels that the linter looks at, and those that Grafana 10 and later have beside them.
KINDS = {"stat", "table", "timeseries", "status-history", "state-timeline"}
SELECTOR = re.compile(rf"\b({reference.ANY})(\{{[^}}]*\}})?(\[[^\]]*\])?")
RANGED = rf"\((?:{reference.ANY})\{{[^}}]*\}}\["
#: What Grafana puts in for its own variables, as far as parsing goes.
FILLED = {"$__rate_interval": "5m", "$__range": "1d"}
COLUMN = 1280 / 24
LIGHT, DARK = "#FFFFFF", "#181B1F"


def panels(document: dict) -> list[dict]:
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def variables(document: dict, kind: str) -> list[dict]:
    return [variable for variable in document["templating"]["list"] if variable["type"] == kind]


def targets() -> list[tuple[str, str, str]]:
    """Dashboard, panel and expression of every query."""
    return [(uid, panel["title"], target["expr"]) for uid, document in DOCUMENTS.items() for panel in panels(document) for target in panel["targets"]]


def filled(expression: str) -> str:
    for name, value in FILLED.items():
        expression = expression.replace(name, value)
    return re.sub(r"\$[a-z]+", "x", expression)


class Each(unittest.TestCase):
    def each_board(self):
        for uid, document in DOCUMENTS.items():
            with self.subTest(dashboard=uid):
                yield document

    def each_panel(self):
        for document in self.each_board():
            for panel in panels(document):
                with self.subTest(panel=panel["title"]):
                    yield panel

    def each_query(self):
        for uid, title, expression in targets():
            with self.subTest(dashboard=uid, panel=title, query=expression):
                yield expression


class Linter(Each):
    def test_template_datasource_rule(self):
        for document in self.each_board():
            self.assertEqual([(one["name"], one["label"], one["query"]) for one in variables(document, "datasource")], [("datasource", "Data source", "prometheus")])

    def test_template_job_rule_and_template_instance_rule(self):
        for document in self.each_board():
            for name in ("job", "instance"):
                (one,) = [one for one in document["templating"]["list"] if one["name"] == name]
                self.assertEqual((one["label"], one["type"], one["multi"], one["allValue"]), (name.title(), "query", True, ".+"))
                self.assertEqual(one["datasource"]["uid"], "$datasource")

    def test_template_label_promql_rule(self):
        parsed = []
        for document in self.each_board():
            for one in variables(document, "query"):
                function, inner = re.fullmatch(r"([a-z_]+)\((.+)\)", one["query"]).groups()
                selector, label = inner.rsplit(", ", 1)
                self.assertEqual((function, label), ("label_values", one["name"]))
                parsed.append(filled(selector))
        self.assertEqual(wrong(parsed), "")

    def test_template_on_time_change_reload_rule(self):
        for document in self.each_board():
            self.assertEqual({one["refresh"] for one in variables(document, "query")}, {2})

    def test_uneditable_dashboard(self):
        for document in self.each_board():
            self.assertIs(document["editable"], False)

    def test_panel_datasource_rule(self):
        for panel in self.each_panel():
            self.assertEqual({one["datasource"]["uid"] for one in (panel, *panel["targets"])}, {"$datasource"})

    def test_panel_title_description_rule(self):
        for panel in self.each_panel():
            self.assertTrue(panel["title"] and panel["description"])

    def test_panel_units_rule(self):
        for panel in self.each_panel():
            fields = panel["fieldConfig"]
            used = [one["value"] for override in fields["overrides"] for one in override["properties"] if one["id"] == "unit"]
            self.assertLessEqual({fields["defaults"]["unit"], *used}, UNITS)

    def test_panel_no_targets_rule(self):
        for panel in self.each_panel():
            self.assertTrue(panel["targets"])

    def test_target_promql_rule(self):
        self.assertEqual(wrong([filled(expression) for _, _, expression in targets()]), "")

    def test_target_job_rule_and_target_instance_rule(self):
        for expression in self.each_query():
            for _, matchers, _ in SELECTOR.findall(expression):
                self.assertIn('job=~"$job"', matchers)
                self.assertIn('instance=~"$instance"', matchers)

    def test_target_rate_interval_rule(self):
        for expression in self.each_query():
            for function, ranged in re.findall(rf"(\w+){RANGED}([^\]]*)\]", expression):
                if function in ("rate", "irate"):
                    self.assertEqual(ranged, "$__rate_interval")
            # A range stands in a function at once.
            self.assertEqual(len(re.findall(r"\[", expression)), len(re.findall(rf"\w{RANGED}", expression)))

    def test_target_counter_agg_rule(self):
        for expression in self.each_query():
            for counter in re.finditer(rf"\b(?:{reference.ANY})_total\b", expression):
                self.assertRegex(expression[: counter.start()], r"\b(rate|irate|increase)\($")

    def test_target_logql_rules(self):
        """There is no other source than Prometheus."""
        for document in self.each_board():
            self.assertNotIn("loki", json.dumps(document))


class Dashboards(Each):
    def test_what_is_committed_is_what_is_generated(self):
        for board in DASHBOARDS:
            path = files.GENERATED / "dashboards" / f"{board.name}.json"
            self.assertEqual(json.loads(path.read_text()), DOCUMENTS[board.uid], "run: python3 -m monitoring")

    def test_every_metric_and_label_is_in_the_reference(self):
        known = reference.metrics()
        for expression in self.each_query():
            self.assertEqual(reference.unknown(expression, known), [])
        for uid, document in DOCUMENTS.items():
            for panel in panels(document):
                for one in panel["targets"]:
                    for label in re.findall(r"\{\{(\w+)\}\}", one["legendFormat"]):
                        kept = re.findall(r"\bby \(([^)]*)\)", one["expr"])
                        self.assertTrue(kept and all(label in re.split(r",\s*", group) for group in kept), f"{uid}: {panel['title']}: {label}")

    def test_every_variable_exists(self):
        for document in self.each_board():
            names = {one["name"] for one in document["templating"]["list"]}
            for panel in panels(document):
                for target in panel["targets"]:
                    self.assertLessEqual(set(re.findall(r"\$([a-z]+)", target["expr"])), names, panel["title"])

    def test_no_query_makes_data_out_of_nothing(self):
        for expression in self.each_query():
            self.assertNotRegex(expression, r"\bvector\(|\babsent")

    def test_names_are_unique(self):
        self.assertEqual(len({board.title for board in DASHBOARDS}), len(DASHBOARDS))
        for document in self.each_board():
            ids = [panel["id"] for panel in document["panels"]]
            titles = [panel["title"] for panel in panels(document)]
            self.assertEqual((len(set(ids)), len(set(titles))), (len(ids), len(titles)))

    def test_the_alerts_lead_to_dashboards_and_variables_that_exist(self):
        from ..alerts import ALERTS

        for alert in ALERTS:
            document = DOCUMENTS[alert.dashboard]
            self.assertLessEqual(set(alert.variables), {one["name"] for one in document["templating"]["list"]}, alert.name)

    def test_panels_do_not_overlap(self):
        for document in self.each_board():
            taken = set()
            for panel in document["panels"]:
                place = panel["gridPos"]
                self.assertLessEqual(place["x"] + place["w"], 24)
                cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
                self.assertFalse(cells & taken, panel["title"])
                taken |= cells

    def test_readable_at_1280_pixels(self):
        for panel in self.each_panel():
            width = panel["gridPos"]["w"] * COLUMN - 40
            self.assertGreaterEqual(panel["gridPos"]["w"], 6 if panel["type"] == "stat" else 8)
            # Grafana's titles: 14 px, some 7.5 a letter.
            self.assertLessEqual(len(panel["title"]) * 7.5, width, panel["title"])
            if panel["type"] == "timeseries":
                self.assertGreaterEqual(panel["gridPos"]["w"], 12)
            self.assertLessEqual(len(panel["targets"]), 4)

    def test_only_the_palette_and_scales_by_lightness_are_used(self):
        for panel in self.each_panel():
            told = json.dumps(panel["fieldConfig"])
            self.assertLessEqual(set(re.findall(r"#[0-9A-Fa-f]{6}", told)), {BLUE, ORANGE, GREEN, PINK, GREY})
            self.assertNotRegex(told, r'"(?:dark-|light-|semi-dark-|super-light-)?(?:red|green|yellow|orange|blue)"')
            self.assertIn(panel["fieldConfig"]["defaults"]["color"]["mode"], {"palette-classic", "thresholds", grafana.SCALE})

    def test_the_palette_is_readable_on_both_themes(self):
        for colour, ground in itertools.product((BLUE, ORANGE, GREEN, PINK, GREY), (LIGHT, DARK)):
            with self.subTest(colour=colour, ground=ground):
                self.assertGreaterEqual(contrast(colour, ground), 3.0, "WCAG 2.1, 1.4.11: graphics")

    def test_the_palette_is_apart_for_colour_blind_people(self):
        """What is well and what is not most of all: the two that carry a meaning."""
        for kind in SIMULATED:
            with self.subTest(kind=kind):
                self.assertGreater(distance(BLUE, ORANGE, kind), 100)
                for one, other in itertools.combinations((BLUE, ORANGE, GREEN, PINK, GREY), 2):
                    self.assertGreater(distance(one, other, kind), 25, (one, other))

    def test_every_series_has_a_name_beside_its_colour(self):
        for panel in self.each_panel():
            if panel["type"] == "timeseries":
                self.assertEqual((panel["options"]["legend"]["displayMode"], panel["options"]["tooltip"]["mode"]), ("table", "multi"))


def wrong(expressions: list[str]) -> str:
    """What promtool says against them."""
    lines = ["groups:", "  - name: queries", "    rules:"]
    for number, expression in enumerate(expressions):
        lines += [f"      - record: query_{number}", f"        expr: {json.dumps(expression)}"]
    checked = promtool.check_rules("\n".join(lines) + "\n")
    return "" if checked.returncode == 0 and f"{len(expressions)} rules found" in checked.stdout else checked.stdout + checked.stderr


#: Viénot, Brettel, Mollon 1999, on linear sRGB: rows of what protans and deutans see.
SIMULATED = {
    "protan": ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
    "deutan": ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
}


def linear(colour: str) -> list[float]:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def contrast(one: str, other: str) -> float:
    bright, dim = sorted((sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear(colour))) for colour in (one, other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def distance(one: str, other: str, kind: str) -> float:
    """In sRGB, 0 to 441, as seen."""

    def seen(colour: str) -> list[float]:
        parts = [sum(w * p for w, p in zip(row, linear(colour))) for row in SIMULATED[kind]]
        return [255 * (12.92 * p if p <= 0.0031308 else 1.055 * p ** (1 / 2.4) - 0.055) for p in (min(1, max(0, part)) for part in parts)]

    return sum((a - b) ** 2 for a, b in zip(seen(one), seen(other))) ** 0.5
