"""Numbers as Grafana writes them, in the units that our dashboards use."""

from __future__ import annotations

import time
from collections.abc import Callable


def scaled(value: float, base: int, names: tuple[str, ...], after: str = "") -> str:
    size = abs(value)
    for name in names:
        if size < base or name == names[-1]:
            return f"{rounded(value)}{name}{after}"
        value, size = value / base, size / base
    raise AssertionError("no names")


def rounded(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def short(value: float) -> str:
    return scaled(value, 1000, ("", " K", " Mil", " Bil"))


def bytes_of(value: float, after: str = "") -> str:
    return scaled(value, 1024, (" B", " KiB", " MiB", " GiB", " TiB"), after)


def seconds(value: float) -> str:
    if value == 0:
        return "0 s"
    for size, name in ((86400, "days"), (3600, "hours"), (60, "min"), (1, "s")):
        if abs(value) >= size:
            return f"{rounded(value / size)} {name}"
    return f"{rounded(value * 1000)} ms"


def ago(milliseconds: float, now: float) -> str:
    away = milliseconds / 1000 - now
    told = seconds(abs(round(away)))
    return f"in {told}" if away > 0 else f"{told} ago"


UNITS: dict[str, Callable[[float, float], str]] = {
    "none": lambda value, _: rounded(value),
    "short": lambda value, _: short(value),
    "percentunit": lambda value, _: f"{rounded(value * 100)}%",
    "bytes": lambda value, _: bytes_of(value),
    "Bps": lambda value, _: bytes_of(value, "/s"),
    "reqps": lambda value, _: f"{rounded(value)} req/s",
    "ops": lambda value, _: f"{rounded(value)} ops/s",
    "s": lambda value, _: seconds(value),
    "d": lambda value, _: f"{rounded(value)} days",
    "dtdurations": lambda value, _: seconds(round(value)),
    "dateTimeAsIso": lambda value, _: time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(value / 1000)),
    "dateTimeFromNow": ago,
}


def formatted(value: float, unit: str, now: float) -> str:
    """`now` is the end of what is shown, as a Unix time."""
    return UNITS.get(unit, UNITS["short"])(value, now)
