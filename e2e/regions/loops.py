"""Loops of real apts: each at one region, or where the Service of all regions leads; or with the list of all regions, which it gets there."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field

from lab import wait_until
from world import PACKAGE, AptClient

from .places import ALL, address, list_of

#: What apt says of a server that nobody answers for, and what it says of a fault of what was served.
CONNECTING = re.compile(r"Could not connect|Connection refused|Connection reset|Connection failed|Connection timed out|Unable to connect|No route to host|connect \(|Error reading from server")
FAULT = re.compile(r"Hash Sum mismatch|unexpected size|Mirror sync in progress|\b(?:404|500|503) +[A-Z]|NO_PUBKEY|BADSIG|EXPKEYSIG|not signed|GPG error")
#: Between two rounds of one apt, for each that there is: there is more than apts to be run.
PAUSE_SECONDS = 0.15
#: The loop that is at no region.
ANY = "all regions"
BY_NAME = {"Acquire__By-Hash": "no"}


def client(fleet, region: str | None, *, lists: bool = False, **settings: str) -> AptClient:
    """At a region, or at all of them; with `lists` that is where it gets the list of all."""
    root = fleet.world.workdir / "apt" / f"{fleet.name}-{region}-{time.monotonic_ns()}"
    url = f"mirror+{list_of(fleet, region)}" if lists else f"http://{address(fleet, region)}/debian"
    return AptClient(root, fleet.world.key.public(), f"{url} stable main", Acquire__http__Timeout="10", **settings)


def download(fleet, region: str) -> str:
    """The name of the package that an apt gets which is new there."""
    return client(fleet, region).download(fleet.lab, PACKAGE).name


@dataclass
class Loop:
    #: The region, or `ANY`.
    place: str
    how: str
    apt: AptClient
    #: Places whose pods it may miss, besides its own.
    others: frozenset[str] = frozenset()
    rounds: int = 0
    failures: list[str] = field(default_factory=list)

    def may_miss(self, places: set[str]) -> bool:
        return not places.isdisjoint({self.place, *self.others})


def at_regions(fleet) -> list[Loop]:
    """At each region one that takes indices by hash and one that does not, and one where the Service of all regions leads."""
    by_hash = [Loop(name, "by hash", client(fleet, name)) for name in ALL]
    by_name = [Loop(name, "by name", client(fleet, name, **BY_NAME)) for name in ALL]
    return [*by_hash, *by_name, Loop(ANY, "by hash", client(fleet, None))]


def with_lists(fleet) -> list[Loop]:
    """Each gets the list at one place, which has to answer, and misses no other region: it goes over to the next. Whoever takes indices
    by name takes them from where its InRelease was, as apt does, so it may miss any."""
    places = {**{name: name for name in ALL}, ANY: None}
    by_hash = [Loop(place, "by hash with the list", client(fleet, region, lists=True)) for place, region in places.items()]
    by_name = Loop(ANY, "by name with the list", client(fleet, None, lists=True, **BY_NAME), frozenset(ALL))
    return [*by_hash, by_name]


class Loops:
    """`with Loops(fleet) as loops:`, with all clients of these kinds."""

    def __init__(self, fleet, kinds: tuple[Callable[..., list[Loop]], ...] = (at_regions,)) -> None:
        self.fleet = fleet
        self.loops = [loop for kind in kinds for loop in kind(fleet)]
        #: Places whose pods are gone, as far as it is known.
        self.excused: set[str] = set()
        self.ended = threading.Event()

    def __enter__(self) -> Loops:
        self.threads = [threading.Thread(target=self._go, args=(loop,), daemon=True) for loop in self.loops]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(120)

    def _go(self, loop: Loop) -> None:
        while not self.ended.wait(PAUSE_SECONDS * len(self.loops)):
            excused = loop.may_miss(self.excused)
            try:
                loop.apt.download(self.fleet.lab, PACKAGE)
                loop.rounds += 1
            except Exception as error:  # noqa: BLE001 judged below
                words = str(error)
                # A round that began before its pod was killed ends after it.
                excused = excused or loop.may_miss(self.excused)
                if not excused or FAULT.search(words) or not CONNECTING.search(words):
                    loop.failures.append(f"{time.strftime('%H:%M:%S', time.gmtime())} {loop.place}, {loop.how}: {words}")

    @contextmanager
    def may_fail_to_connect(self, *places: str):
        """And nothing else; they go on by themselves. A pod that goes without a word is missed by clients of `ANY`, too, until
        the Service leads elsewhere."""
        self.excused |= set(places)
        try:
            yield
            for place in places:
                self.goes_on(place)
        finally:
            self.excused -= set(places)

    def goes_on(self, place: str) -> None:
        """By itself: two more rounds each, of which the second began after now."""
        loops = [loop for loop in self.loops if loop.place == place]
        wanted = [loop.rounds + 2 for loop in loops]
        wait_until(lambda: all(loop.rounds >= rounds for loop, rounds in zip(loops, wanted, strict=True)), 90, f"the apts of {place} to go on")

    def judged(self) -> str:
        failures = [failure for loop in self.loops for failure in loop.failures]
        assert not failures, "\n".join(failures[:5])
        assert all(loop.rounds for loop in self.loops), self.loops
        return f"{sum(loop.rounds for loop in self.loops)} rounds of apt, {min(loop.rounds for loop in self.loops)} at least of each"
