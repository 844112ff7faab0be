"""The kill-storm: one sync after the other killed, and after each the store is whole and what is served is one state."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from acceptance.manners import ask
from acceptance.place import Mirror, Place, Server

from .syncs import MUCH_CHANGES, Syncs
from .upstream import Upstream

ARRIVALS = 6


@dataclass
class Storm:
    killed: int = 0
    ended_before: int = 0
    #: What was served after a kill: the state of before, or already the new one.
    old: int = 0
    new: int = 0
    files_checked: int = 0


def kill_storm(place: Place, kills: int, seed: int) -> Storm:
    """Raises where a store is damaged, or a mix is served."""
    dice, storm = random.Random(seed), Storm()
    upstream = Upstream(place, seed)
    mirror = place.mirror("debian", "debian", ("stable",), components=("main", "contrib"), spec=MUCH_CHANGES)
    syncs = Syncs(place, mirror, seed)
    syncs.once(None)
    server = place.serve()
    longest = a_whole_sync(upstream, syncs)
    place.wait_until_served(server, mirror)
    served = state_served(server, upstream)
    while storm.killed < kills and storm.ended_before < 2 * kills:
        upstream.advance(ARRIVALS)
        if syncs.once(dice.uniform(0, longest)):
            storm.killed += 1
        else:
            storm.ended_before += 1
        verified = place.mirrorfleet("verify", "--data", place.data)
        assert verified.returncode == 0, f"after {storm.killed} kills: {verified.stdout}{verified.stderr}"
        storm.files_checked += place.check(server, mirror).checked
        place.wait_until_served(server, mirror)
        now = state_served(server, upstream)
        assert now in (served, len(upstream.states()) - 1), f"state {now} is served; before the kill it was {served}"
        storm.old += now == served
        storm.new += now != served
        served = now
    return heal(place, server, mirror, upstream, storm)


def a_whole_sync(upstream: Upstream, syncs: Syncs) -> float:
    """How long a sync of as many changes takes here, so that kills fall on all of its parts."""
    upstream.advance(ARRIVALS)
    started = time.monotonic()
    syncs.once(None)
    return time.monotonic() - started


def state_served(server: Server, upstream: Upstream) -> int:
    body = ask(server, "debian/dists/stable/InRelease").body
    state = upstream.state_of("InRelease", body)
    assert state, "an InRelease of no published state is served"
    return state.number


def heal(place: Place, server: Server, mirror: Mirror, upstream: Upstream, storm: Storm) -> Storm:
    """One sync that nobody kills brings everything up to date."""
    place.sync(mirror)
    place.check(server, mirror)
    place.wait_until_served(server, mirror)
    assert state_served(server, upstream) == len(upstream.states()) - 1
    return storm
