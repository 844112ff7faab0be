"""Which files are generated, and how they should be."""

from __future__ import annotations

import json
import re
from pathlib import Path

from . import grafana, rules
from .dashboards import DASHBOARDS
from .reference import ROOT

CHART = ROOT / "charts" / "mirrorfleet"
GENERATED = CHART / "files" / "monitoring"
#: In values.yaml, around the block of the alerts.
BLOCK = re.compile(r"(# Written by `python3 -m monitoring` from here\n).*?( *# to here\.\n)", re.DOTALL)


def wanted() -> dict[Path, str]:
    return {
        ROOT / "monitoring" / "rules.yaml": rules.plain(),
        GENERATED / "rules.yaml": rules.rules(),
        **{GENERATED / "dashboards" / f"{board.name}.json": grafana.text(board) for board in DASHBOARDS},
        CHART / "values.yaml": values(),
        CHART / "values.schema.json": schema(),
    }


def stale() -> dict[Path, str]:
    return {path: text for path, text in wanted().items() if not path.exists() or path.read_text() != text}


def values() -> str:
    text = (CHART / "values.yaml").read_text()
    new, times = BLOCK.subn(lambda match: match[1] + rules.values_block(6) + match[2], text)
    if times != 1:
        raise ValueError("values.yaml has no place for the alerts")
    return new


def schema() -> str:
    """Formatted as charts/reference.py does it, which knows the descriptions of what stands in values.yaml."""
    whole = json.loads((CHART / "values.schema.json").read_text())
    place = whole["properties"]["monitoring"]["properties"]["rules"]["properties"]
    place["alerts"] = {**rules.schema(), "description": place.get("alerts", {}).get("description", "")}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
