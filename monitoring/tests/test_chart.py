"""What the chart makes of it: rendered by Helm."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import unittest
from pathlib import Path

from .. import files, grafana, rules
from ..alerts import ALERTS
from ..dashboards import DASHBOARDS
from ..reference import ROOT
from . import promtool

sys.path.insert(0, str(ROOT / "charts"))

import helm  # noqa: E402 in charts/

OPERATOR = [f"--api-versions=monitoring.coreos.com/v1/{kind}" for kind in ("PrometheusRule", "PodMonitor")]


def render(values: dict | None = None, *arguments: str) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "values.json"
        path.write_text(json.dumps({"crds": {"enabled": False}, "monitoring": values or {}}))
        return helm.parse_all(helm.template(files.CHART, "--values", path, *arguments))


def of_kind(things: list[dict], kind: str) -> list[dict]:
    return [thing for thing in things if thing["kind"] == kind]


class Chart(unittest.TestCase):
    def test_auto_asks_the_cluster_and_true_and_false_do_not(self):
        for name, kind in (("rules", "PrometheusRule"), ("podMonitors", "PodMonitor")):
            for enabled, there, made in ((None, False, False), (None, True, True), (True, False, True), (False, True, False)):
                with self.subTest(kind=kind, enabled=enabled, there=there):
                    values = {} if enabled is None else {name: {"enabled": enabled}}
                    self.assertEqual(bool(of_kind(render(values, *(OPERATOR if there else [])), kind)), made)

    def test_with_default_values_the_rules_are_the_plain_ones(self):
        (rule,) = of_kind(render(None, *OPERATOR), "PrometheusRule")
        self.assertEqual(rule["spec"], helm.parse(rules.plain()))

    def test_promtool_takes_what_is_rendered(self):
        (rule,) = of_kind(render(None, *OPERATOR), "PrometheusRule")
        checked = promtool.check_rules(json.dumps(rule["spec"]))
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_every_value_of_an_alert_reaches_its_rule_and_no_other(self):
        given = {}
        for at, alert in enumerate(ALERTS):
            given[alert.key] = {"for": f"{at + 17}s", "severity": f"page-{at}", **{name: 1234.5 + 10 * at + number for number, name in enumerate(alert.thresholds)}}
        values = {"rules": {"alerts": given, "runbookUrl": "https://example.org/books", "dashboardUrl": "https://grafana.example.org"}}
        (rule,) = of_kind(render(values, *OPERATOR), "PrometheusRule")
        rules_made = {one["alert"]: one for group in rule["spec"]["groups"] for one in group["rules"]}
        for alert in ALERTS:
            with self.subTest(alert=alert.name):
                rendered, values = rules_made[alert.name], given[alert.key]
                self.assertEqual((rendered["for"], rendered["labels"]), (values["for"], {"severity": values["severity"]}))
                for name in alert.thresholds:
                    self.assertIn(str(values[name]), rendered["expr"])
                self.assertEqual(rendered["annotations"]["runbook_url"], f"https://example.org/books#{alert.name.lower()}")
                self.assertTrue(rendered["annotations"]["dashboard_url"].startswith(f"https://grafana.example.org/d/{alert.dashboard}"))

    def test_an_alert_can_be_switched_off(self):
        (rule,) = of_kind(render({"rules": {"alerts": {"regionStale": {"enabled": False}}}}, *OPERATOR), "PrometheusRule")
        names = [one["alert"] for one in rule["spec"]["groups"][0]["rules"]]
        self.assertEqual(names, [alert.name for alert in ALERTS if alert.key != "regionStale"])

    def test_pod_monitors_keep_our_labels_and_find_our_pods(self):
        monitors = of_kind(render({"podMonitors": {"labels": {"release": "stack"}, "interval": "7s"}}, *OPERATOR), "PodMonitor")
        self.assertEqual(len(monitors), 3)
        for monitor in monitors:
            self.assertEqual(monitor["metadata"]["labels"]["release"], "stack")
            ports = ["metrics", "metrics-fill"] if monitor["metadata"]["name"].endswith("-serving") else ["metrics"]
            self.assertEqual(monitor["spec"]["podMetricsEndpoints"], [{"port": port, "interval": "7s", "honorLabels": True} for port in ports])
        (deployment,) = of_kind(render(), "Deployment")
        template = deployment["spec"]["template"]
        self.assertLessEqual(monitors[0]["spec"]["selector"]["matchLabels"].items(), template["metadata"]["labels"].items())
        self.assertIn("metrics", [port["name"] for port in template["spec"]["containers"][0]["ports"]])
        code = (ROOT / "operator" / "fleet-api" / "src" / "labels.rs").read_text()
        for monitor in monitors[1:]:
            for label, value in monitor["spec"]["selector"]["matchLabels"].items():
                self.assertIn(f'"{label}"', code)
                self.assertIn(f'"{value}"', code)

    def test_notes_say_what_was_left_out(self):
        told = helm.run("install", "--dry-run=client", "fleet", files.CHART, check=False)
        self.assertIn("This cluster has no kinds of the Prometheus operator", told.stdout, told.stderr)

    def test_the_examples_of_the_page_are_taken(self):
        page = (ROOT / "docs" / "monitoring.md").read_text()
        operator, scrape, annotations = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
        self.assertEqual(len(of_kind(render(helm.parse(operator)["monitoring"]), "PrometheusRule")), 1)
        self.assertTrue(helm.parse(scrape)["scrape_configs"][0]["honor_labels"])
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as values:
            values.write(annotations)
            values.flush()
            (deployment,) = of_kind(render(None, "--values", values.name), "Deployment")
        template = deployment["spec"]["template"]
        self.assertEqual(template["metadata"]["annotations"]["prometheus.io/port"], "9090")
        pods = next(argument for argument in template["spec"]["containers"][0]["args"] if argument.startswith("--pods="))
        self.assertEqual(json.loads(pods.removeprefix("--pods="))["annotations"]["prometheus.io/scrape"], "true")

    def test_dashboards_are_found_by_grafanas_sidecar(self):
        self.assertEqual(of_kind(render(), "ConfigMap"), [])
        maps = of_kind(render({"dashboards": {"namespace": "grafana"}}, *OPERATOR), "ConfigMap")
        self.assertEqual(len(maps), len(DASHBOARDS))
        for one in maps:
            self.assertEqual(one["metadata"]["namespace"], "grafana")
            self.assertEqual(one["metadata"]["labels"]["grafana_dashboard"], "1")
            self.assertEqual(one["metadata"]["annotations"], {"grafana_folder": "mirrorfleet"})
            ((name, text),) = one["data"].items()
            board = next(board for board in DASHBOARDS if f"{board.uid}.json" == name)
            self.assertEqual(json.loads(text), grafana.document(board))
