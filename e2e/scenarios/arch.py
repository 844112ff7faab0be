"""Arch Linux: what `acceptance/` shows without a cluster, through a Service, and what the cluster tells of it."""

from __future__ import annotations

import contextlib

from acceptance.arch_upstream import ArchUpstream
from acceptance.keys import KeyRing
from acceptance.pacman import Pacman
from lab import condition_of, wait_until
from world import UPSTREAM_PORT

from .command_line import REFUSED, Person, has
from .registry import scenario

NAME = "arch"
REPOS = ("core", "extra")


class Packages:
    """Repositories of pacman beside a fleet's own archive, and a Mirror of them. Of two keys that sign packages one is believed."""

    def __init__(self, fleet, cleanup: contextlib.ExitStack) -> None:
        self.fleet = fleet
        self.ring = KeyRing()
        cleanup.callback(self.ring.close)
        for owner in ("archive", "another"):
            self.ring.make(owner)
        self.folder = f"{fleet.name}-pacman"
        self.source = ArchUpstream(fleet.world.upstreams / self.folder, pool="pool/packages", ring=self.ring)
        for repo in REPOS:
            self.source.add(repo, f"tool-{repo}")

    def manifests(self) -> list[dict]:
        fleet = self.fleet
        authority = {"url": f"http://{fleet.lab.host_ip}:{UPSTREAM_PORT}/{self.folder}/"}
        trust = {"keyringRef": {"kind": "ConfigMap", "name": "pacman-keyring", "key": "own.gpg"}}
        upstream = {**fleet.upstream(type="Arch", authority=authority, trust=trust), "metadata": {"name": NAME}}
        content = {"repos": list(REPOS), "architectures": ["x86_64"], "layout": {"pool": "pool/packages"}}
        return [self._keyring(), upstream, fleet.mirror(NAME, upstreamRef={"name": NAME}, content={"arch": content})]

    def _keyring(self) -> dict:
        """As files of pacman's: one key is a master."""
        trusted = f"{self.ring.fingerprints('archive')[0]}:4:\n"
        data = {"own.gpg": self.ring.public("archive", "another"), "own-trusted": trusted}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pacman-keyring"}, "data": data}

    def intrude(self) -> None:
        """Signed by a key of the ring that is no master and that no master vouches for: its repository is held."""
        self.source.owner = "another"
        self.source.add("extra", "intruder")
        attempt = self.fleet.sync(NAME)["lastAttempt"]
        assert attempt["reason"] == "KeyUnknown" and "intruder-1-1" in attempt["message"], attempt


@scenario("repositories of pacman: an Upstream of Arch is probed, a pacman installs and upgrades through the Service, both clocks are handed on, status and why tell of it")
def arch_linux(world):
    with contextlib.ExitStack() as cleanup:
        fleet = cleanup.enter_context(world.fleet(NAME))
        packages = Packages(fleet, cleanup)
        source, person = packages.source, Person(fleet)
        fleet.apply(*packages.manifests())
        fleet.wait_ready(NAME)
        asked = fleet.lab.wait_condition("upstream", NAME, fleet.namespace, "Reachable", timeout=120)
        units = [unit["unit"] for unit in asked["status"]["revision"]]
        assert units == ["core/x86_64", "extra/x86_64"], units
        assert condition_of(asked, "Ready")["status"] == "True", asked["status"]

        servers = {repo: f"{fleet.mirror_url(NAME)}/$repo/os/$arch" for repo in REPOS}
        pacman = Pacman(world.workdir / "pacman", servers, ring=packages.ring, enter=fleet.lab.command)
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

        assert condition_of(fleet.get(NAME), "Verified")["status"] == "True", fleet.get(NAME)["status"]
        person.until_it_says("status", "1 Mirror is well", NAME, "region-a", "Serving")
        has(person.run(f"why {NAME}"), "is well")
        packages.intrude()
        has(person.run("status --check", REFUSED), "! KeyUnknown")
        has(person.run(f"why {NAME} --check", REFUSED), "KeyUnknown", "intruder-1-1", "clients get a complete, verified state")
        source.remove("extra", "intruder")
        assert fleet.sync(NAME)["lastAttempt"]["reason"] == "Unchanged"
        person.until_it_says("status", "1 Mirror is well")

        # The master is alive, and nothing is new: two requests of the run.
        source.beat()
        since = world.access_position()
        before = fleet.region(NAME)["snapshot"]
        assert fleet.sync(NAME)["lastAttempt"]["reason"] == "Unchanged"
        assert fleet.region(NAME)["snapshot"] == before
        requests = [path.rpartition("/")[2] for path in world.requests(f"/{packages.folder}/", since) if not path.endswith(".db")]
        assert sorted(requests) == ["lastsync", "lastupdate"], requests
        return f"{len(units)} databases"
