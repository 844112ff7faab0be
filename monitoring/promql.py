"""Expressions that do not flap: a new leader, or a scrape that fails, is no change of the fleet."""

from __future__ import annotations

MIRROR = ("namespace", "mirror")
REGION = (*MIRROR, "region")
UNIT = (*REGION, "unit")
UPSTREAM = ("namespace", "upstream")
ENDPOINT = (*UPSTREAM, "endpoint")
#: For how long the last value stands in while nobody exports one: longer than any election, shorter than an outage.
HOLD = "10m"


def held(selector: str, by: tuple[str, ...]) -> str:
    """The value; while nobody exports one, the last of ten minutes. Without the exporter's own labels."""
    over = ", ".join(by)
    return f"(\n  max by ({over}) ({selector})\n  or\n  max by ({over}) (last_over_time({selector}[{HOLD}]))\n)"


def grown(selector: str, window: str) -> str:
    """By how much a counter grew. `increase` alone does not see the step from no series to 1, which a first failure is."""
    return f"((max_over_time({selector}[{window}]) unless {selector} offset {window}) or increase({selector}[{window}]))"


def summed(selector: str, by: tuple[str, ...], window: str) -> str:
    return f"sum by ({', '.join(by)}) ({grown(selector, window)})"


def condition(kind: str, status: str = "False", of: str = "mirror") -> str:
    return f'mirrorfleet_{of}_condition{{type="{kind}",status="{status}"}}'
