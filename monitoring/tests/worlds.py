"""What exporters tell, minute by minute, in the situations that alerts are for. Time begins at 0 in promtool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .promtool import Series

Value = Callable[[int], float | None]
NONE = "_"
ENDED = "stale"


@dataclass(frozen=True)
class Told:
    """One series of a process, without the labels of the process."""

    metric: str
    labels: str
    value: Value

    @property
    def is_counter(self) -> bool:
        return self.metric.endswith("_total")


@dataclass(frozen=True)
class Outage:
    """A process ends at `start`; another one takes over at `end`, or nobody does."""

    start: int
    end: int | None = None


def series(told: list[Told], minutes: int, outages: tuple[Outage, ...] = ()) -> list[Series]:
    """As Prometheus stores them: each process has series of its own, which end with it; its counters begin at 0."""
    starts = [0, *(outage.end for outage in outages if outage.end is not None)]
    ends = [*(outage.start for outage in outages), minutes]
    found = []
    for number, (start, end) in enumerate(zip(starts, ends)):
        for one in told:
            values = ended([NONE] * start + [sample(one, minute, start) for minute in range(start, end)] + [NONE])
            labels = ",".join(filter(None, [one.labels, f'job="mirrorfleet",instance="10.0.0.{number + 1}:9090"']))
            if set(values) - {NONE, ENDED}:
                found.append(Series(f"{one.metric}{{{labels}}}", " ".join(values)))
    return found


def ended(values: list[str]) -> list[str]:
    """A series that a scrape no longer has ends at once."""
    before = [NONE, *values]
    return [ENDED if value == NONE and last not in (NONE, ENDED) else value for value, last in zip(values, before)]


def sample(one: Told, minute: int, start: int) -> str:
    value = one.value(minute)
    if value is not None and one.is_counter:
        value = max(0, value - (one.value(start - 1) or 0 if start else 0))
    return NONE if value is None else repr(value)


def always(value: float) -> Value:
    return lambda _: value


def step(at: int, before: float | None, after: float | None) -> Value:
    return lambda minute: before if minute < at else after


MIRROR = 'namespace="apt",mirror="debian"'
REGION = f'{MIRROR},region="eu"'
LEADER = Told("mirrorfleet_controller_leader", "", always(1))


UPSTREAM = 'namespace="apt",upstream="debian"'


def condition(kind: str, false: Value, of: str = "mirror", reason: str = "Because") -> list[Told]:
    """Three series, of which the present one has a reason, and since when it is present."""
    where = f'namespace="apt",{of}="debian",type="{kind}"'
    told = [Told(f"mirrorfleet_{of}_condition_last_transition_timestamp_seconds", where, lambda minute: changed(false, minute) * 60.0)]
    for status, why, here in (("True", kind, lambda minute: not false(minute)), ("False", reason, lambda minute: bool(false(minute))), ("Unknown", "", lambda _: False)):
        series = f'{where},status="{status}"'
        told += [
            Told(f"mirrorfleet_{of}_condition", f'{series},reason="{why}"', lambda minute, here=here: 1 if here(minute) else None),
            Told(f"mirrorfleet_{of}_condition", series, lambda minute, here=here: None if here(minute) else 0),
        ]  # fmt: skip
    return told


def changed(value: Value, minute: int) -> int:
    """The minute since when it is as it is at `minute`."""
    return next((at for at in range(minute, 0, -1) if value(at - 1) != value(minute)), 0)


def region(metric: str, value: Value, more: str = "") -> Told:
    return Told(f"mirrorfleet_{metric}", REGION + more, value)


def failed(reason: str, value: Value) -> Told:
    return region("sync_runs_total", value, f',result="Failed",reason="{reason}"')


def answers(code: str, per_minute: Value) -> Told:
    total = [0.0]
    for minute in range(3000):
        total.append(total[-1] + per_minute(minute))
    return region("http_requests_total", lambda minute: total[minute + 1], f',code="{code}"')
