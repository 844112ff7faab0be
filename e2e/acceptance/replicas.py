"""Three regions of two replicas each: what crosses the upstream's link, the links between regions, and those inside of them."""

from __future__ import annotations

import contextlib
import dataclasses
from urllib.parse import urlsplit

from .debian import DebianArchive, Suite
from .following import Edge, Region, checked, contents, over_the_link
from .link import Link
from .manners import ask
from .place import Place, Run
from .registry import story

SUITE = Suite("stable", suite="stable", codename="stable")
#: The second says it by where clients reach it.
REGIONS = [
    {"name": "eu", "replicas": 2, "traceName": "eu.example.org"},
    {"name": "us", "replicas": 2, "follows": "eu", "publicUrl": "https://us.example.org/mirrors/"},
    {"name": "asia", "replicas": 2, "follows": "us", "traceName": "asia.example.org"},
]
TRACES = {"eu": "eu.example.org", "us": "us.example.org", "asia": "asia.example.org"}
FETCHES = "eu-0"
#: Each of the others with whom it copies from, as the controller decides it: `six_replicas_cross_each_link_between_regions_once`
#: in operator/fleet-plan/tests/it/stories/replicas.rs has the same.
SOURCES = {"eu-1": "eu-0", "us-0": "eu-0", "us-1": "us-0", "asia-0": "us-0", "asia-1": "asia-0"}


def region_of(replica: str) -> str:
    return replica.rpartition("-")[0]


class Replicas:
    """Six stores with what serves them, and a relay before each source for each that copies from it."""

    def __init__(self, place: Place, links: contextlib.ExitStack) -> None:
        self.place = place
        self.upstream = links.enter_context(Link(urlsplit(place.url("debian")).port))
        mirror = place.mirror("debian", "debian", ("stable",), spec={"regions": REGIONS})
        mirror = dataclasses.replace(mirror, upstream=f"http://127.0.0.1:{self.upstream.port}/debian/")
        self.hub = Region(place, FETCHES, mirror)
        self.all: dict[str, Region] = {FETCHES: self.hub, **{name: Edge(place, name, mirror) for name in SOURCES}}
        self.servers, self.links = {}, {}
        self.opened = links

    def publish(self) -> None:
        """One fetches, and each of the others copies once its source has it. All that crosses a link is counted there."""
        before = self.upstream.bytes
        over_the_link(self.upstream, before, self.hub.sync("--region", region_of(FETCHES)))
        fetched = self.upstream.bytes
        self._serves(FETCHES)
        for name, source in SOURCES.items():
            self._copies(name, self.all[source])
            self._serves(name)
        assert self.upstream.bytes == fetched, "the upstream was asked by somebody who copies"

    def _serves(self, name: str) -> None:
        if name not in self.servers:
            self.servers[name] = self.all[name].start()

    def _copies(self, name: str, source: Region) -> None:
        copier = self.all[name]
        if name not in self.links:
            self.links[name] = self.opened.enter_context(Link(source.follow_port))
        link, had = self.links[name], contents(copier)
        before = link.bytes
        done = self._follow(name, source)
        over_the_link(link, before, done)
        lacked = {digest: size for digest, size in contents(source).items() if digest not in had}
        wanted = len(source.index()) + sum(lacked.values())
        assert done.report["bytesFetched"] == wanted, f"{name}: {done.report}, and it lacked {lacked}"
        assert contents(copier) == contents(source) and copier.index() == source.index(), name

    def _follow(self, name: str, source: Region) -> Run:
        followed = TRACES[region_of(source.name)]
        more = ("--followed", followed, "--region", region_of(name))
        return self.all[name].follow(source.url(self.links[name].port), target=source.target, more=more)

    def crossed(self) -> dict[str, int]:
        return {name: link.bytes for name, link in self.links.items()}

    def rest(self) -> None:
        """Whoever has everything asks for nothing."""
        before = self.crossed()
        for name, source in SOURCES.items():
            done = self._follow(name, self.all[source])
            assert (done.reason, done.report["requests"]) == ("Unchanged", 0), f"{name}: {done.report}"
        assert self.crossed() == before

    def tell(self) -> None:
        """Each replica of a region tells of itself under its region's name, and of whom it copies from under that one's."""
        for name, server in self.servers.items():
            own = TRACES[region_of(name)]
            trace = ask(server, f"debian/project/trace/{own}").body.decode()
            assert ask(server, "debian/project/trace/_traces").body.decode() == f"{own}\n", name
            followed = "127.0.0.1" if name == FETCHES else TRACES[region_of(SOURCES[name])]
            assert f"Upstream-mirror: {followed}\n" in trace, f"{name}: {trace}"
            assert ask(server, "debian/project/trace/debian").status == 404, f"{name} tells of itself under the Mirror's name"


@story("three regions of two replicas each: the upstream gives each byte once, each link between regions carries the index and what is lacking once, and siblings copy from each other")
def each_link_is_crossed_once(place: Place) -> None:
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    archive.add_many(SUITE, [f"tool{number}" for number in range(20)], kilobytes=8)
    archive.add(SUITE, "large", kilobytes=900)
    archive.publish(SUITE)
    with contextlib.ExitStack() as links:
        replicas = Replicas(place, links)
        replicas.publish()
        asked = place.requests()
        assert len(asked) == len(set(asked)), "the upstream was asked for something twice"
        replicas.tell()
        archive.add(SUITE, "new", kilobytes=40)
        archive.publish(SUITE)
        replicas.publish()
        replicas.rest()
        packages = [path for path in place.requests() if path.endswith(".deb")]
        assert len(packages) == len(set(packages)) == 22, packages
        for name in ("eu-1", "asia-1"):
            checked(place, replicas.servers[name], replicas.all[name])
