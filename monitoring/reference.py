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
