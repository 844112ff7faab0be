"""Where scenarios are declared."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

_MODULES = ("lifecycle", "debian", "arch", "refusals", "manifests", "faults", "access", "transports", "causes", "command_line", "metrics", "controller", "chart", "upgrade", "releases", "monitored", "runbooks", "quickstart", "migration", "orders", "together", "pull_through", "replicas", "fault_list", "lists", "withdrawal", "routes", "push", "npm", "pushes", "rights")
_SCENARIOS: list[Scenario] = []


@dataclass(frozen=True)
class Scenario:
    name: str
    #: One line for people.
    title: str
    story: Callable
    #: What it needs of a cluster besides plain Kubernetes; see lab.CAPABILITIES.
    needs: tuple[str, ...]
    #: Disturbs the whole cluster, so nothing runs beside it.
    alone: bool
    #: Takes too long for each change: told only where it is named.
    long: bool
    #: Takes a minute or more: begun before the others, so that nothing waits for it at the end.
    first: bool


def scenario(title: str, *, needs: tuple[str, ...] = ("pod-network",), alone: bool = False, long: bool = False, first: bool = False):
    """Declares a scenario; the function's name is the name by which it is chosen."""

    def declare(story: Callable) -> Callable:
        _SCENARIOS.append(Scenario(story.__name__.replace("_", "-"), title, story, needs, alone, long, first))
        return story

    return declare


def all_scenarios() -> list[Scenario]:
    for module in _MODULES:
        importlib.import_module(f"scenarios.{module}")
    return list(_SCENARIOS)
