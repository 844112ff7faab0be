"""`promtool test rules`, told in short."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .. import rules
from ..alerts import Alert

#: Seconds from one sample, and one evaluation, to the next.
STEP = 60


@dataclass(frozen=True)
class Series:
    name: str
    values: str


def check_rules(text: str) -> subprocess.CompletedProcess:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.yaml"
        path.write_text(text)
        return run("check", "rules", path)


def run(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=1200)


def test(alert: Alert, cases: list[dict]) -> str:
    """What promtool complains of, with no rule but this alert's; empty if nothing."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rules.yaml").write_text(rules.plain([alert]))
        path = Path(folder) / "test.json"
        path.write_text(json.dumps({"rule_files": ["rules.yaml"], "evaluation_interval": f"{STEP}s", "tests": cases}))
        result = run("test", "rules", path)
    return "" if result.returncode == 0 else result.stdout + result.stderr


def case(name: str, series: list[Series], alerts: list[dict] = (), expressions: list[dict] = ()) -> dict:
    return {
        "name": name, "interval": f"{STEP}s",
        "input_series": [{"series": one.name, "values": one.values} for one in series],
        "alert_rule_test": list(alerts), "promql_expr_test": list(expressions),
    }  # fmt: skip


def firing_minutes(alert: Alert, worlds: list[list[Series]], minutes: int) -> list[list[bool]]:
    """For each world whether the alert fires, minute by minute: each is asked to be silent, and promtool says which is not. It is
    started once, which takes longer than most worlds; a comment in the question says which one is asked."""
    question = f'count(ALERTS{{alertname="{alert.name}",alertstate="firing"}})'
    cases = []
    for number, series in enumerate(worlds):
        asked = [{"expr": f"{question} # {number}", "eval_time": f"{minute}m", "exp_samples": []} for minute in range(minutes)]
        cases.append(case(f"world {number}", series, expressions=asked))
    complaint = test(alert, cases)
    loud = {(int(number), minutes_of(time)) for number, time in re.findall(r'# (\d+)", time: (\w+),\s+exp: nil', complaint)}
    if complaint and not loud:
        raise AssertionError(complaint)
    return [[(number, minute) in loud for minute in range(minutes)] for number in range(len(worlds))]


def minutes_of(duration: str) -> int:
    units = {"d": 1440, "h": 60, "m": 1, "s": 0, "w": 10080}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([wdhms])", duration))


def told(alert: Alert, series: list[Series], minute: int) -> list[dict]:
    """The alerts that fire then, with labels and annotations as a person gets them: promtool prints what it did not expect."""
    complaint = test(alert, [case("told", series, [{"eval_time": f"{minute}m", "alertname": alert.name, "exp_alerts": [{"exp_labels": {"not": "this"}}]}])])
    got = complaint.split("got:[", 1)[1] if "got:[" in complaint else ""
    found = []
    for labels, annotations in re.findall(r"Labels:\{(.*?)\}\s*\n\s*Annotations:\{(.*)\}", got):
        found.append({"labels": pairs(labels), "annotations": pairs(annotations)})
    return found


def pairs(text: str) -> dict[str, str]:
    return {name: json.loads(f'"{value}"') for name, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', text)}
