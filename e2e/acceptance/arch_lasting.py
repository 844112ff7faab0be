"""Endpoints of pacman's repositories that stand still, or contradict each other, for longer than anybody waits."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

from .arch import ArchMirror, an_upstream, arch_mirror, checked, servers
from .arch_endpoints import ALIKE, copied
from .arch_upstream import ArchUpstream
from .manners import ask
from .pacman import Pacman
from .place import Place, Server
from .registry import story

#: Longer than anybody is waited for, in seconds.
DAYS = 3 * 86_400
CLOCKS = ("lastupdate", "lastsync")


def time_passes(place: Place, mirror: ArchMirror, seconds: int = DAYS) -> None:
    """As if all that lasts had begun so much earlier."""

    def earlier(told: object) -> object:
        if isinstance(told, dict):
            return {name: value - seconds if name == "since" else earlier(value) for name, value in told.items()}
        return [earlier(each) for each in told] if isinstance(told, list) else told

    state = place.data / mirror.name / "state"
    memory = earlier(json.loads((state / "units.json").read_text()))
    # A document without one is taken as it is.
    del memory["checksum"]
    for name in ("units.json", "units.copy.json"):
        (state / name).write_text(json.dumps(memory))


def clocks(server: Server) -> list[bytes]:
    return [ask(server, f"arch/{name}").body for name in CLOCKS]


@story("an authority that gives its clock alone; an endpoint that stands while that goes on is passed over when it lasts: that is told, what was served stays, and it heals")
def an_endpoint_that_stands_still(place: Place) -> None:
    master = an_upstream(place, "master", ring=place.ring)
    master.add("core", "one")
    authority, tier1, alive = (place.upstreams / name for name in ("authority", "tier1", "alive"))
    authority.mkdir()

    def goes_on() -> None:
        shutil.copy(master.root / "lastupdate", authority)

    def endpoints(*names: str) -> ArchMirror:
        found = tuple({"name": name, "url": place.url(name), "priority": rank} for rank, name in enumerate(names, 1))
        return ArchMirror("arch", place.url("authority"), ("core",), endpoints=found)

    goes_on()
    copied(master.root, tier1)
    mirror = endpoints("tier1")
    place.sync(mirror)
    server = place.serve()
    checked(place, server, mirror)
    pacman = Pacman(place.workdir / "pacman", servers(server, mirror), ring=place.ring)

    def offers(*names: str) -> None:
        place.wait_until_served(server, mirror)
        pacman.clean("-Syy")
        assert set(pacman.offered()) == {f"core/{name}" for name in names}, pacman.offered()

    pacman.clean("-Sy")
    pacman.clean("-S", "one")
    # The endpoint stops. For a while it may be late.
    before = clocks(server)
    master.add("core", "two")
    goes_on()
    assert place.sync(mirror).reason == "Unchanged"
    time_passes(place, mirror)
    master.beat()
    for _ in range(2):
        stopped = place.sync(mirror, expect=2)
        assert stopped.reason == "BehindAuthority", stopped.text
        told = (place.url("tier1"), before[0].decode().strip(), (master.root / "lastupdate").read_text().strip())
        assert all(word in stopped.text for word in told), stopped.text
    assert clocks(server) == before, "nothing is claimed of what was not confirmed"
    offers("one")

    # Its copy goes on: nothing of before counts any more.
    copied(master.root, tier1)
    place.sync(mirror)
    checked(place, server, mirror)
    assert clocks(server) == [(master.root / name).read_bytes() for name in CLOCKS]
    offers("one", "two")
    # It stops again, and another one does not.
    master.add("core", "three")
    goes_on()
    copied(master.root, alive)
    place.sync(mirror)
    time_passes(place, mirror)
    assert place.sync(mirror, expect=2).reason == "BehindAuthority"
    mirror = endpoints("tier1", "alive")
    place.sync(mirror)
    checked(place, server, mirror)
    offers("one", "two", "three")
    asked = {path for path in place.requests() if path.startswith("/authority/")}
    assert asked == {f"/authority/{name}" for name in CLOCKS}, asked


class Two:
    """Two endpoints with one clock; the second can have another database of `core` than the first."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.first = an_upstream(place, "first", ring=place.ring)
        for repo in ("core", "extra"):
            self.first.add(repo, "one")
        self.second = place.upstreams / "second"
        self.withheld = self.first.database("core").read_bytes()
        self.mirror = dataclasses.replace(
            arch_mirror(place, "arch", "core", "extra", arch={"include": {"files": False}}),
            upstream=place.url("first"),
            endpoints=tuple({"name": name, "url": place.url(name), "priority": rank} for rank, name in enumerate(("first", "second"), 1)),
        )
        self.agree()

    def agree(self) -> None:
        copied(self.first.root, self.second)

    def differ(self) -> None:
        """The second hands on the clock, and the database of long ago."""
        self.agree()
        ArchUpstream(self.second).database("core").write_bytes(self.withheld)

    def publish(self, name: str) -> None:
        for repo in ("core", "extra"):
            self.first.add(repo, name)

    def sync(self, *, expect: int = 0, **spec):
        self.mirror = dataclasses.replace(self.mirror, spec=spec)
        return self.place.sync(self.mirror, expect=expect)


@story("two endpoints that have different databases at one clock for longer than a day: nothing new of that repository is taken, until a person chooses, or both have the same")
def a_contradiction_that_lasts(place: Place) -> None:
    two = Two(place)
    two.sync()
    server = place.serve()
    pacman = Pacman(place.workdir / "pacman", servers(server, two.mirror), ring=place.ring)

    def offers(core: str, extra: str) -> None:
        """The packages of each repository, by one pacman that reads them."""
        place.wait_until_served(server, two.mirror)
        pacman.clean("-Sy")
        assert set(pacman.offered()) == {f"{repo}/{name}" for repo, names in (("core", core), ("extra", extra)) for name in names.split()}, pacman.offered()

    two.publish("two")
    two.differ()
    assert ALIKE in two.sync().text
    offers("one two", "one two")
    # It lasts, over the next state too.
    time_passes(place, two.mirror)
    two.publish("three")
    two.differ()
    before = clocks(server)
    held = two.sync(expect=3)
    core = next(unit for unit in held.report["units"] if unit["unit"] == "core/x86_64")
    assert core["reason"] == "Equivocation" and all(place.url(name) in core["message"] for name in ("first", "second")), held.text
    offers("one two", "one two three")
    assert clocks(server) == before, "one repository is held"
    assert two.sync(expect=3).reason == "Equivocation", "as long as it lasts"

    # A person chooses, as the message says.
    digest = re.search(r'digest: "([0-9a-f]{64})"', core["message"])
    assert digest, core
    two.sync(verification={"allowed": [{"unit": "core/x86_64", "digest": digest[1], "reasons": ["Equivocation"]}]})
    offers("one two three", "one two three")
    # That was of one state.
    two.publish("four")
    two.differ()
    assert two.sync(expect=3).reason == "Equivocation"
    offers("one two three", "one two three four")
    # Both have the same.
    two.agree()
    two.sync()
    offers("one two three four", "one two three four")
    checked(place, server, two.mirror, files=False)
    # And what they differ in now is new.
    two.publish("five")
    two.differ()
    assert ALIKE in two.sync().text
