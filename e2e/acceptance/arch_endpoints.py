"""Upstreams of pacman's repositories that go back, stand still, or do not say the same to everybody."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

from .arch import ArchMirror, an_upstream, arch_mirror, checked, servers
from .manners import ask
from .pacman import Pacman
from .place import Place
from .registry import story

ALIKE = "clocks stand alike"


def copied(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)


@story("endpoints are compared when the clock moves: one that hands on the clock and withholds databases is told of; who agrees costs one request")
def endpoints_are_compared_at_one_clock(place: Place) -> None:
    upstream = an_upstream(place)
    upstream.add("core", "one")
    second = place.upstreams / "second"
    copied(upstream.root, second)
    mirror = arch_mirror(
        place, "arch", "core", arch={"include": {"signatures": False, "files": False}},
        endpoints=({"name": "first", "url": place.url("arch"), "priority": 10}, {"name": "second", "url": place.url("second"), "priority": 20}),
    )  # fmt: skip
    assert ALIKE not in place.sync(mirror).text
    server = place.serve()
    checked(place, server, mirror, signed=False, files=False)

    def asked(since: int) -> list[str]:
        return [path for path in place.requests()[since:] if path.startswith("/second/")]

    # While the first one's clock stands, the second is asked for nothing.
    seen = len(place.requests())
    place.sync(mirror)
    assert not asked(seen), asked(seen)

    # The clock moves at both, and the first has the database of before.
    kept = upstream.database("core").read_bytes()
    upstream.add("core", "two")
    copied(upstream.root, second)
    new = upstream.database("core").read_bytes()
    upstream.database("core").write_bytes(kept)
    frozen = place.sync(mirror)
    assert frozen.reason == "Unchanged" and ALIKE in frozen.text and "/second/" in frozen.text, frozen.text
    assert ask(server, "arch/core/os/x86_64/two-1-1-any.pkg.tar.zst").status == 404

    # It was the copy of a tree in the middle of a change: the next one is whole.
    upstream.database("core").write_bytes(new)
    upstream.publish()
    copied(upstream.root, second)
    seen = len(place.requests())
    whole = place.sync(mirror)
    assert ALIKE not in whole.text, whole.text
    assert sorted(asked(seen)) == ["/second/core/os/x86_64/core.db", "/second/lastsync", "/second/lastupdate"], asked(seen)
    checked(place, server, mirror, signed=False, files=False)
    assert ask(server, "arch/core/os/x86_64/two-1-1-any.pkg.tar.zst").status == 200


@story("checkers see by lastsync how old the endpoint is and never less: with a tier 1 that has stopped, our delay grows as its own")
def checkers_see_how_old_the_endpoint_is(place: Place) -> None:
    master = an_upstream(place)
    master.add("core", "one")
    tier1 = place.upstreams / "tier1"
    copied(master.root, tier1)
    mirror = arch_mirror(
        place, "arch", "core", arch={"include": {"signatures": False}}, endpoints=({"name": "tier1", "url": place.url("tier1")},),
    )  # fmt: skip
    place.sync(mirror)
    server = place.serve()
    place.wait_until_served(server, mirror)

    def delay(lastsync: bytes | str) -> int:
        """As archweb computes it (`mirrors/utils.py`): the time of the check, less what the mirror says."""
        return master.now - int(lastsync)

    def ours() -> int:
        return delay(ask(server, "arch/lastsync").body)

    def of_tier1() -> int:
        return delay((tier1 / "lastsync").read_text())

    assert ours() == of_tier1() == 0
    # The tier 1 stops; its master is alive, and publishes. Ours succeeds in finding nothing new.
    for _ in range(3):
        master.beat()
        assert place.sync(mirror).reason == "Unchanged"
        assert ours() == of_tier1() > 0
    master.add("core", "two")
    place.sync(mirror)
    assert ours() == of_tier1() > 3
    # It goes on; and a run that fails claims nothing.
    copied(master.root, tier1)
    before = ours()
    (tier1 / "core/os/x86_64/two-1-1-any.pkg.tar.zst").unlink()
    assert place.sync(mirror, expect=2).reason == "UpstreamIncomplete"
    assert ours() == before > of_tier1()
    copied(master.root, tier1)
    place.sync(mirror)
    place.wait_until_served(server, mirror)
    assert ours() == of_tier1() == 0


@story("without a clock a way back of all packages is refused until a person lets it through; one package that goes back is told of, and refused on request")
def a_way_back_is_not_taken_for_news(place: Place) -> None:
    upstream = an_upstream(place, clock=False, ring=place.ring)
    for name in ("one", "two", "three"):
        upstream.add("core", name)
    mirror = arch_mirror(place, "arch", "core")
    place.sync(mirror)
    server = place.serve()
    pacman = Pacman(place.workdir / "pacman", servers(server, mirror), ring=place.ring)
    old = upstream.database("core").read_bytes()
    for name in ("one", "two"):
        upstream.add("core", name, "2-1")
    place.sync(mirror)
    checked(place, server, mirror)

    new = upstream.database("core").read_bytes()
    upstream.database("core").write_bytes(old)
    upstream.publish()
    back = place.sync(mirror, expect=3)
    assert back.reason == "RollbackDetected" and "all 2 packages were built earlier" in back.text, back.text
    pacman.clean("-Sy")
    assert pacman.offered()["core/one"] == "2-1"
    # As the message says.
    digest = re.search(r'digest: "([0-9a-f]{64})"', back.report["units"][0]["message"])
    assert digest, back.report
    allowed = [{"unit": "core/x86_64", "digest": digest[1], "reasons": ["RollbackDetected"]}]
    place.sync(with_spec(mirror, verification={"allowed": allowed}))
    place.wait_until_served(server, mirror)
    assert ask(server, "arch/core/os/x86_64/core.db").body == old
    upstream.database("core").write_bytes(new)
    upstream.add("core", "four")
    place.sync(mirror)

    # One is withdrawn: the packager publishes the version before, built anew.
    upstream.add("core", "two", "1-2")
    told = place.sync(mirror)
    assert "two 1-2 after 2-1" in told.text, told.text
    checked(place, server, mirror)
    strict = arch_mirror(place, "arch", "core", arch={"downgrades": "Refuse"})
    place.sync(strict)
    upstream.add("core", "one", "1-9")
    held = place.sync(strict, expect=3)
    assert held.reason == "RollbackDetected" and "one 1-9 after 2-1" in held.text and "arch.downgrades" in held.text, held.text
    upstream.add("core", "one", "1:1-9")
    place.sync(strict)
    checked(place, server, strict)


def with_spec(mirror: ArchMirror, **spec) -> ArchMirror:
    return dataclasses.replace(mirror, spec=spec)
