"""The list of stories. A story is a function that gets a `Place`, and raises where it goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .place import Place


@dataclass(frozen=True)
class Story:
    name: str
    title: str
    tell: Callable[[Place], None]


class Skipped(Exception):
    """What a story needs is not there on this machine; the text says what."""


_STORIES: list[Story] = []


def story(title: str) -> Callable[[Callable[[Place], None]], Callable[[Place], None]]:
    def register(tell: Callable[[Place], None]) -> Callable[[Place], None]:
        _STORIES.append(Story(tell.__name__.replace("_", "-"), title, tell))
        return tell

    return register


def all_stories() -> list[Story]:
    from . import arch, arch_clients, arch_dates, arch_endpoints, arch_hostile, arch_images, arch_lasting, arch_on_demand, arch_over_time, arch_transports, arch_trust, arch_unchanged, audits, behind, boards, costs, encrypted, examples, following, identity, judges, layout, lists, live, manners, migration, needs, npm, npm_apart, npm_over_time, npm_page, npm_room, npm_signatures, npm_tarballs, oddities, partial, plugin, prewarm, probing, pull_through, releases, replicas, retention, scores, status_page, strictness, third_party  # noqa: F401 registers them

    return list(_STORIES)
