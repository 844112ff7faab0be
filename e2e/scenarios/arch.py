"""Arch Linux: what `acceptance/` shows without a cluster, through a Service, and what the cluster tells of it."""

from __future__ import annotations

import contextlib

from acceptance.arch_upstream import ArchUpstream
from acceptance.keys import KeyRing
from acceptance.pacman import Pacman
from lab import condition_of, wait_until
from world import UPSTREAM_PORT

from .registry import scenario

NAME = "arch"
FOLDER = "pacman"


@scenario("repositories of pacman: an Upstream of Arch is probed, a pacman installs and upgrades through the Service, both clocks are handed on")
def arch_linux(world):
    with contextlib.ExitStack() as cleanup:
        ring = KeyRing()
        cleanup.callback(ring.close)
        for owner in ("archive", "another"):
            ring.make(owner)
        source = ArchUpstream(world.upstreams / FOLDER, pool="pool/packages", ring=ring)
        for repo in ("core", "extra"):
            source.add(repo, f"tool-{repo}")
        fleet = cleanup.enter_context(world.fleet(NAME))
        authority = {"url": f"http://{fleet.lab.host_ip}:{UPSTREAM_PORT}/{FOLDER}/"}
        content = {"repos": ["core", "extra"], "architectures": ["x86_64"], "layout": {"pool": "pool/packages"}}
        fleet.apply(
            keyring(ring),
            fleet.upstream(type="Arch", authority=authority, trust={"keyringRef": {"kind": "ConfigMap", "name": "pacman-keyring", "key": "own.gpg"}}),
            fleet.mirror(NAME, content={"arch": content}),
        )
        fleet.wait_ready(NAME)
        asked = fleet.lab.wait_condition("upstream", "debian", fleet.namespace, "Reachable", timeout=120)
        units = [unit["unit"] for unit in asked["status"]["revision"]]
        assert units == ["core/x86_64", "extra/x86_64"], units
        assert condition_of(asked, "Ready")["status"] == "True", asked["status"]

        servers = {repo: f"{fleet.mirror_url(NAME)}/$repo/os/$arch" for repo in ("core", "extra")}
        pacman = Pacman(world.workdir / "pacman", servers, ring=ring, enter=fleet.lab.command)
        pacman.clean("-Sy")
        pacman.clean("-S", "tool-core", "tool-extra")

        source.add("core", "tool-core", "2-1")
        before = fleet.region(NAME)["snapshot"]
        fleet.sync(NAME)
        wait_until(lambda: fleet.region(NAME).get("snapshot") not in (None, before), 120, "the new snapshot in the status")
        for clock in ("lastupdate", "lastsync"):
            assert fleet.curl(f"{fleet.mirror_url(NAME)}/{clock}") == (source.root / clock).read_text(), clock
        pacman.clean("-Syu")
        assert pacman.installed() == {"tool-core": "2-1", "tool-extra": "1-1"}, pacman.installed()

        # Signed by a key of the ring that is no master and that no master vouches for: its repository is held.
        assert condition_of(fleet.get(NAME), "Verified")["status"] == "True", fleet.get(NAME)["status"]
        source.owner = "another"
        source.add("extra", "intruder")
        attempt = fleet.sync(NAME)["lastAttempt"]
        assert attempt["reason"] == "KeyUnknown" and "intruder-1-1" in attempt["message"], attempt
        source.remove("extra", "intruder")
        assert fleet.sync(NAME)["lastAttempt"]["reason"] == "Unchanged"

        # The master is alive, and nothing is new: two requests of the run.
        source.beat()
        since = world.access_position()
        before = fleet.region(NAME)["snapshot"]
        assert fleet.sync(NAME)["lastAttempt"]["reason"] == "Unchanged"
        assert fleet.region(NAME)["snapshot"] == before
        requests = [path.rpartition("/")[2] for path in world.requests(f"/{FOLDER}/", since) if not path.endswith(".db")]
        assert sorted(requests) == ["lastsync", "lastupdate"], requests
        return f"{len(units)} databases"


def keyring(ring: KeyRing) -> dict:
    """As files of pacman's: one key is a master."""
    trusted = f"{ring.fingerprints('archive')[0]}:4:\n"
    data = {"own.gpg": ring.public("archive", "another"), "own-trusted": trusted}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pacman-keyring"}, "data": data}
