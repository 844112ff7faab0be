"""Regions that follow: one mirror asks the upstream, others copy what it made, by digest and pin."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from archive import run
from checker import Checker
from lab.waiting import wait_until

from .apt import Apt
from .arch import an_upstream, arch_mirror
from .debian import DebianArchive, Suite
from .link import Link
from .manners import ask
from .pacman import Pacman
from .place import Place, Run, Server, end, plain_environment
from .registry import story

SUITE = Suite("stable", suite="stable", codename="stable")
MIB = 1 << 20
#: The head of an answer, at most.
HEAD_BYTES = 600
KILLS = 6


class Region:
    """A directory of stores, and what serves it to clients and to those that follow."""

    def __init__(self, place: Place, name: str, mirror) -> None:
        self.place, self.name, self.mirror = place, name, mirror
        self.data = place.workdir / name
        self.data.mkdir()
        self.store = self.data / mirror.name
        self._process: subprocess.Popen | None = None

    # As a source

    def start(self, *more: object) -> Server:
        out = self.place.workdir / f"{self.name}.out"
        listening = ("--listen", "[::]:0", "--follow-listen", "127.0.0.1:0")
        self._process = self.place.start(self.name, [self.place.binary, "serve", "--data", self.data, *listening, *more], out=out)

        def ports() -> dict[str, int]:
            assert self._process.poll() is None, f"the server of {self.name} ended; see {self.place.workdir}/{self.name}.log"
            lines = [line.rpartition(":") for line in out.read_text().splitlines() if " on " in line]
            found = {text.split(" ")[0]: int(port) for text, _, port in lines}
            return found if {"listening", "followers"} <= set(found) else {}

        found = wait_until(ports, 90, f"the server of {self.name} to listen", interval=0.02)
        self.follow_port = found["followers"]
        return Server(found["listening"], self._process.pid)

    def stop(self) -> None:
        end(self._process)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def url(self, port: int | None = None) -> str:
        return f"http://127.0.0.1:{port or self.follow_port}/.mirrorfleet/follow/{self.mirror.name}"

    def snapshots(self) -> list[dict]:
        """The newest first."""
        told = self.place.mirrorfleet("snapshots", "--data", self.data, "-o", "json", self.mirror.name)
        return [json.loads(line) for line in told.stdout.splitlines()]

    @property
    def target(self) -> list[str]:
        """What tells others to copy the newest."""
        newest = self.snapshots()[0]
        return ["--snapshot", newest["snapshot"], "--index", newest["index"]]

    def current(self) -> str:
        return (self.store / "current").read_text().strip()

    def index(self) -> bytes:
        return (self.store / "snapshots" / self.current()).read_bytes()

    # Runs

    def command(self, *arguments: object) -> list[str]:
        common = ("--mirror", self.mirror.name, "--data", self.data, "-o", "json")
        return [str(part) for part in (self.place.binary, "sync", "-f", self.manifests(), *common, *arguments)]

    def manifests(self) -> Path:
        return self.place.manifest_file(self.mirror)

    def sync(self, *arguments: object, expect: int = 0) -> Run:
        done = self.place.mirrorfleet(*self.command(*arguments)[1:])
        assert done.returncode == expect, f"{self.name} ended with {done.returncode} instead of {expect}:\n{done.stdout}{done.stderr}"
        return Run(done.returncode, json.loads(done.stdout), done.stdout + done.stderr)


class Edge(Region):
    """Knows of no key, no login, and no way to the upstream."""

    def manifests(self) -> Path:
        file = self.place.workdir / f"{self.name}.yaml"
        documents = [document for document in self.mirror.manifests() if document["kind"] not in ("Secret", "ConfigMap")]
        text = "\n---\n".join(map(json.dumps, documents))
        # The manifests say where the upstream is; nobody is to go there.
        assert "keyring.asc" not in text.replace('"key": "keyring.asc"', ""), text
        file.write_text(text)
        return file

    def follow(self, *urls: str, target: list[str], expect: int = 0, more: tuple = ()) -> Run:
        sources = [part for url in urls for part in ("--follow", url)]
        return self.sync(*sources, *target, *more, expect=expect)


def contents(region: Region) -> dict[str, int]:
    """The blobs of a store, by digest."""
    files = [file for file in (region.store / "blobs").rglob("*") if file.is_file()]
    return {file.parent.name + file.name: file.stat().st_size for file in files}


def checked(place: Place, server: Server, region: Region) -> None:
    """Everything that the signed index promises, byte for byte; and nothing is damaged on the disk."""
    wait_until(lambda: server.snapshot(region.mirror.name) == region.current(), 90, f"{region.name} to serve what it has", interval=0.02)
    keys = place.workdir / "keys"
    keys.write_text(place.keyring)
    run(["gpg", "--homedir", place.ring.home, "--batch", "--yes", "--quiet", "--output", f"{keys}.bin", "--dearmor", keys])
    result = Checker(server.url(region.mirror.path), Path(f"{keys}.bin"), region.mirror.options()).check()
    assert result.payload and not result.misses, f"{region.name}: {result}\n" + "\n".join(result.misses[:20])
    verified = place.mirrorfleet("verify", "--data", region.data)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def over_the_link(link: Link, before: int, done: Run) -> None:
    """What crossed it is the bodies that the run tells of, and a head for each."""
    crossed, bodies = link.bytes - before, done.report["bytesFetched"]
    assert bodies <= crossed <= bodies + HEAD_BYTES * done.report["requests"], f"{crossed} bytes crossed the link: {done.report}"


@story("one mirror asks the upstream; a second follows it and a third the second, and real apts use all three, also while the first is gone")
def regions_that_follow(place: Place) -> None:
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    archive.add_many(SUITE, [f"tool{number}" for number in range(30)], kilobytes=8)
    archive.add(SUITE, "large", kilobytes=900)
    archive.publish(SUITE)
    mirror = place.mirror("debian", "debian", ("stable",))
    hub, edge, leaf = Region(place, "hub", mirror), Edge(place, "edge", mirror), Edge(place, "leaf", mirror)
    hub.sync()
    servers = {hub: hub.start()}
    asked = place.requests()
    assert len(asked) == len(set(asked)), "the hub asks for everything once"
    confirmed = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=7)
    told = ("--confirmed", confirmed.isoformat(), "--followed", "eu-1.example.org")

    with Link(hub.follow_port) as link:
        first = edge.follow(hub.url(link.port), target=hub.target, more=told)
        over_the_link(link, 0, first)
        lacking = contents(edge)
        index = edge.index()
        assert first.report["indexBytes"] == len(index), first.report
        assert first.report["bytesFetched"] == len(index) + sum(lacking.values()), first.report
        assert first.report["prepared"]["index"]["sha256"] == hashlib.sha256(index).hexdigest(), first.report
        servers[edge] = edge.start()
        leaf.follow(edge.url(), target=edge.target, more=told)
        servers[leaf] = leaf.start()
        assert hub.index() == edge.index() == leaf.index(), "one index in all of the fleet"
        assert contents(hub) == contents(edge) == contents(leaf)
        assert place.requests() == asked, "nobody but the hub asks the upstream"

        apts = {region: Apt(place.workdir / f"apt-{region.name}", place.keyring, f"deb {servers[region].url('debian')} stable main") for region in servers}
        for region, apt in apts.items():
            assert apt.install_from("tool7").name == "tool7_1.0_amd64.deb"
            checked(place, servers[region], region)
        # What the copies say of themselves is what the hub found out, when it did.
        for region in (edge, leaf):
            trace = ask(servers[region], "debian/project/trace/debian").body.decode()
            assert confirmed.strftime("Date: %a, %d %b %Y %H:%M:%S +0000") in trace, trace
            assert "eu-1.example.org" in trace, trace
            status = json.loads(ask(servers[region], ".mirrorfleet/status/debian").body)
            assert status["lastSuccessAt"] == confirmed.timestamp(), status

        # A small change costs what is new.
        archive.add(SUITE, "new", kilobytes=40)
        archive.publish(SUITE)
        hub.sync()
        before, had = link.bytes, contents(edge)
        second = edge.follow(hub.url(link.port), target=hub.target, more=told)
        over_the_link(link, before, second)
        new = {digest: size for digest, size in contents(hub).items() if digest not in had}
        assert second.report["bytesFetched"] == second.report["indexBytes"] + sum(new.values()), (second.report, new)
        again = edge.follow(hub.url(link.port), target=hub.target, more=told)
        assert (again.reason, again.report["requests"]) == ("Unchanged", 0), again.report
        leaf.follow("http://127.0.0.1:9/", edge.url(), target=edge.target, more=told)

    hub.stop()
    for region in (edge, leaf):
        apts[region].update()
        assert apts[region].download("new").name == "new_1.0_amd64.deb"
        checked(place, servers[region], region)
    lost = edge.follow(hub.url(), target=["--snapshot", "ab" * 32, "--index", f"sha256:{'cd' * 32}:1000"], expect=2)
    assert lost.reason == "SourceUnreachable" and "goes on being served" in lost.report["message"], lost.report
    out = place.workdir / "exported"
    exported = place.mirrorfleet("export", "--data", leaf.data, "debian", out)
    assert exported.returncode == 0, exported.stdout + exported.stderr
    assert (out / "pool").is_dir() and (out / "dists/stable/InRelease").is_file()


@story("copies that are killed again and again go on where they were, and end with what the source has")
def killed_copies_go_on(place: Place) -> None:
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    for number in range(48):
        archive.add(SUITE, f"large{number}", kilobytes=1024)
    archive.add_many(SUITE, [f"small{number}" for number in range(60)], kilobytes=4)
    archive.publish(SUITE)
    mirror = place.mirror("debian", "debian", ("stable",))
    hub, edge = Region(place, "hub", mirror), Edge(place, "edge", mirror)
    hub.sync()
    hub.start()
    needed = sum(contents(hub).values()) + len(hub.index())
    assert needed > KILLS * 7 * MIB
    dice, killed = random.Random(7), 0
    with Link(hub.follow_port, bytes_per_second=24 * MIB) as link:
        while killed < KILLS:
            # Held there, however late it is seen on a busy machine.
            begin, least = link.bytes, dice.randrange(4 * MIB, 7 * MIB)
            link.hold_at(begin + least)
            process = subprocess.Popen(
                edge.command("--follow", hub.url(link.port), *hub.target), stdin=subprocess.DEVNULL, stdout=place.log, stderr=place.log, env=plain_environment()
            )
            wait_until(lambda: link.bytes >= begin + least or process.poll() is not None, 120, "some of it to come", interval=0.005)  # noqa: B023
            assert process.poll() is None, "a copy ended before it was killed"
            process.kill()
            process.wait()
            link.hold_at(None)
            killed += 1
            assert not (edge.store / "current").exists()
        edge.follow(hub.url(link.port), target=hub.target)
        # Of each connection what was on its way is lost with a kill, and what its reader had not written.
        print(f"{link.bytes - needed} bytes crossed the link again in {killed} kills of copies of {needed} bytes", file=place.log, flush=True)
        most = needed + killed * MIB
        assert link.bytes < most, f"{link.bytes} bytes crossed the link for {needed}: what had come was fetched again"
    assert contents(edge) == contents(hub)
    checked(place, edge.start(), edge)


@story("a source that gave up a snapshot, names another one or has other bytes: the copy says so, what is served goes on, and the next target is copied")
def sources_that_do_not_have_it(place: Place) -> None:
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    archive.add(SUITE, "one", kilobytes=4)
    archive.publish(SUITE)
    spec = {"snapshots": {"keep": 1, "minAge": "0s"}}
    mirror = place.mirror("debian", "debian", ("stable",), spec=spec)
    hub, edge = Region(place, "hub", mirror), Edge(place, "edge", mirror)

    def publish(package: str, *arguments: object) -> list[str]:
        archive.add(SUITE, package, kilobytes=4)
        archive.publish(SUITE)
        hub.sync(*arguments)
        return hub.target

    first = publish("two")
    hub.start()
    edge.follow(hub.url(), target=first)
    server, served = edge.start(), edge.current()
    second = publish("three")
    third = publish("four")
    gone = edge.follow(hub.url(), target=second, expect=2)
    assert gone.reason == "SnapshotGone" and second[1] in gone.report["message"], gone.report
    # An index that is there, and is of another snapshot than the one that was named.
    for target, reason, code in (
        ([*second[:2], *third[2:]], "SnapshotGone", 2),
        ([*third[:2], "--index", f"sha256:{'ab' * 32}:{third[3].rpartition(':')[2]}"], "DigestMismatch", 3),
        ([*third[:2], "--index", third[3].rpartition(":")[0] + ":7"], "DigestMismatch", 3),
    ):
        refused = edge.follow(hub.url(), target=target, expect=code)
        assert refused.reason == reason, refused.report
        assert edge.current() == served
    checked(place, server, edge)
    edge.follow(hub.url(), target=third)
    checked(place, server, edge)

    # What somebody copies is kept where the runs are told so, however many come after it.
    copied = publish("five", "--prepare-only")
    keep = ("--prepare-only", "--keep", json.dumps([copied[1]]))
    publish("six", *keep)
    newest = publish("seven", *keep)
    late = Edge(place, "late", mirror)
    late.follow(hub.url(), target=copied)
    late.follow(hub.url(), target=newest)
    # Nobody goes back to what was before but by order.
    for edge in (late, Edge(place, "other", mirror)):
        edge.follow(hub.url(), target=newest)
        assert edge.follow(hub.url(), target=copied, expect=3).reason == "RollbackDetected"
    ordered = ("--prepare-only", "--serve", f"7 {copied[1]}")
    assert edge.follow(hub.url(), target=copied, more=ordered).reason == "Prepared"


@story("a mirror of Arch Linux is followed too: pacman installs from the copy, and the clocks are those of the hub")
def a_mirror_of_pacmans_is_followed(place: Place) -> None:
    upstream = an_upstream(place, ring=place.ring)
    upstream.add("core", "one")
    upstream.add("extra", "two")
    mirror = arch_mirror(place, "arch", "core", "extra")
    hub, edge = Region(place, "hub", mirror), Edge(place, "edge", mirror)
    hub.sync()
    asked = place.requests()
    servers = {hub: hub.start()}
    edge.follow(hub.url(), target=hub.target)
    servers[edge] = edge.start()
    assert place.requests() == asked

    def clocks(region: Region) -> list[bytes]:
        return [ask(servers[region], f"arch/{name}").body for name in ("lastupdate", "lastsync")]

    assert clocks(edge) == clocks(hub) == [(upstream.root / name).read_bytes() for name in ("lastupdate", "lastsync")]
    databases = {repo: servers[edge].url(f"arch/{repo}/os/x86_64") for repo in ("core", "extra")}
    pacman = Pacman(place.workdir / "pacman", databases, ring=place.ring)
    pacman.clean("-Sy")
    pacman.clean("-S", "one", "two")
    upstream.add("extra", "two", "1-2")
    hub.sync()
    edge.follow(hub.url(), target=hub.target)
    wait_until(lambda: servers[edge].snapshot("arch") == edge.current(), 90, "the edge to serve it", interval=0.02)
    assert clocks(edge) == [(upstream.root / name).read_bytes() for name in ("lastupdate", "lastsync")]
    pacman.clean("-Syu")
    assert pacman.installed()["two"] == "1-2"
