"""Loops of real apts, each at one region, and one that goes where the Service of all regions leads."""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

from lab import wait_until
from world import PACKAGE, AptClient

from .places import ALL, address

#: What apt says of a server that nobody answers for, and what it says of a fault of what was served.
CONNECTING = re.compile(r"Could not connect|Connection refused|Connection reset|Connection failed|Connection timed out|Unable to connect|No route to host|connect \(|Error reading from server")
FAULT = re.compile(r"Hash Sum mismatch|unexpected size|Mirror sync in progress|\b(?:404|500|503) +[A-Z]|NO_PUBKEY|BADSIG|EXPKEYSIG|not signed|GPG error")
#: Between two rounds of one apt: there is more than apts to be run.
PAUSE_SECONDS = 1.0
#: The loop that is at no region.
ANY = "all regions"


def client(fleet, region: str | None, **settings: str) -> AptClient:
    root = fleet.world.workdir / "apt" / f"{fleet.name}-{region}-{time.monotonic_ns()}"
    source = f"http://{address(fleet, region)}/debian stable main"
    return AptClient(root, fleet.world.key.public(), source, Acquire__http__Timeout="10", **settings)


def download(fleet, region: str) -> str:
    """The name of the package that an apt gets which is new there."""
    return client(fleet, region).download(fleet.lab, PACKAGE).name


@dataclass
class Loop:
    #: The region, or `ANY`.
    place: str
    how: str
    apt: AptClient
    rounds: int = 0
    failures: list[str] = field(default_factory=list)


class Loops:
    """`with Loops(fleet) as loops:`; at each region one that takes indices by hash and one that does not."""

    def __init__(self, fleet) -> None:
        self.fleet = fleet
        by_name = {"Acquire__By-Hash": "no"}
        self.loops = [Loop(name, "by hash", client(fleet, name)) for name in ALL]
        self.loops += [Loop(name, "by name", client(fleet, name, **by_name)) for name in ALL]
        self.loops.append(Loop(ANY, "by hash", client(fleet, None)))
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
        while not self.ended.wait(PAUSE_SECONDS):
            excused = loop.place in self.excused
            try:
                loop.apt.download(self.fleet.lab, PACKAGE)
                loop.rounds += 1
            except Exception as error:  # noqa: BLE001 judged below
                words = str(error)
                # A round that began before its pod was killed ends after it.
                excused = excused or loop.place in self.excused
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
