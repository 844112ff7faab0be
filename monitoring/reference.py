"""What docs/metrics.md and docs/reasons.md say: which metrics and labels exist, and which reasons are refusals."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROW = re.compile(r"^\| `(\w+)` \| (gauge|counter|histogram) \| ([\w, ]*) \|", re.MULTILINE)
#: Labels that a scrape adds.
SCRAPED = {"job", "instance"}


@dataclass(frozen=True)
class Metric:
    name: str
    kind: str
    labels: frozenset[str]


def metrics() -> dict[str, Metric]:
    """By the name in the exposition: a histogram is its three series."""
    found = {}
    for name, kind, labels in ROW.findall((ROOT / "docs" / "metrics.md").read_text()):
        own = frozenset(filter(None, (label.strip() for label in labels.split(","))))
        if kind == "histogram":
            found[f"{name}_bucket"] = Metric(name, kind, own | {"le"})
            found[f"{name}_sum"] = found[f"{name}_count"] = Metric(name, kind, own)
        else:
            found[name] = Metric(name, kind, own)
    return found


def refusals() -> list[str]:
    """The reasons by which verification refuses."""
    page = (ROOT / "docs" / "reasons.md").read_text()
    section = page.split("## Refused by verification")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


#: Ours, and those of the process that the client library exports.
ANY = r"(?:mirrorfleet|process)_\w+"
NAME = re.compile(rf"\b({ANY})(?:\{{([^}}]*)\}}|%s)?")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
BY = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")
#: Labels that Prometheus gives to alerts; nothing here reads others.
EVERYWHERE = frozenset().union(SCRAPED)


def unknown(text: str, known: dict[str, Metric]) -> list[str]:
    """What a query or a text names that the reference does not have."""
    found, labels = [], set(EVERYWHERE)
    for name, matchers in NAME.findall(text):
        if name not in known:
            found.append(name)
            continue
        labels |= known[name].labels
        found += [f"{name}: {label}" for label in MATCHER.findall(unquoted(matchers)) if label not in known[name].labels | EVERYWHERE]
    if not labels - EVERYWHERE:
        # A text without a query: its labels come from the expression.
        return found
    for group in BY.findall(text):
        found += [f"no metric has {label}" for label in filter(None, map(str.strip, group.split(","))) if label not in labels]
    return found


def unquoted(matchers: str) -> str:
    return re.sub(r'\\?"(?:[^"\\]|\\(?!"))*\\?"', '""', matchers)
