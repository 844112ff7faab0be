"""Lists of regions: real apts and pacmans go over to the next one when a server is shot, and leave one that was taken out."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections.abc import Callable
from pathlib import Path

from archive import run
from lab.nginx import nginx
from lab.waiting import wait_until
from soak.squid import Squid

from .apt import Apt
from .arch import an_upstream, arch_mirror
from .debian import DebianArchive, Suite
from .following import Edge, Region
from .link import Link
from .manners import ask
from .pacman import Pacman
from .place import Place, Server, free_port, wait_for_port
from .registry import story

SUITE = Suite("stable", suite="stable", codename="stable")
MIB = 1 << 20
#: apt gives up an address, whatever its port: regions have one each.
NEAR, FAR = "127.0.0.2", "127.0.0.3"
#: Slow enough that somebody can be shot in the middle of a package.
LINK_BYTES_PER_SECOND = 3 * MIB


class Fleet:
    """Two regions with the same snapshot: the near one behind a slow link, and a far one. Both tell clients of both."""

    def __init__(self, place: Place, mirror) -> None:
        self.place, self.mirror = place, mirror
        self.near, self.far = Region(place, "near", mirror), Edge(place, "far", mirror)
        self.lists = place.workdir / "lists"
        self.lists.mkdir()
        self.near.sync()
        self.servers: dict[str, Server] = {NEAR: self.near.start("--lists", self.lists, "--region", NEAR)}
        self.far.follow(self.near.url(), target=self.near.target)
        self.servers[FAR] = self.far.start("--lists", self.lists, "--region", FAR)
        self.link = Link(self.servers[NEAR].port, bytes_per_second=LINK_BYTES_PER_SECOND, address=NEAR)
        self.ports = {NEAR: self.link.port, FAR: self.servers[FAR].port}
        self.tell(NEAR, FAR)

    def url(self, address: str) -> str:
        return f"http://{address}:{self.ports[address]}/{self.mirror.path}/"

    def list_url(self, address: str = FAR) -> str:
        return f"http://{address}:{self.ports[address]}/.mirrorfleet/mirrorlist/{self.mirror.path}"

    def tell(self, *addresses: str, proxies: tuple[str, ...] = (), **networks: list[str]) -> None:
        """As the kubelet does: never half of it. Regions have their addresses for names."""
        regions = [{"name": address, "url": self.url(address), "clients": networks.get(f"of_{address.rpartition('.')[2]}", [])} for address in addresses]
        new = self.lists / "new"
        new.write_text(json.dumps({"regions": regions, "together": True, "trustedProxies": proxies}))
        new.rename(self.lists / self.mirror.name)

    def publish(self) -> None:
        self.near.sync()
        self.far.follow(self.near.url(), target=self.near.target)
        for address, region in ((NEAR, self.near), (FAR, self.far)):
            served = self.servers[address]
            wait_until(lambda: served.snapshot(self.mirror.name) == region.current(), 90, f"{address} to serve it", interval=0.02)  # noqa: B023

    def shoot(self, since: int, least: int) -> None:
        """The near one, once so much of an answer has come over its link; no more comes, however late that is seen."""
        self.link.hold_at(since + least)
        wait_until(lambda: self.link.bytes >= since + least, 120, "some of the package to come", interval=0.005)
        self.near.kill()
        self.link.hold_at(None)

    def revive(self) -> None:
        """Where it was before."""
        self.servers[NEAR] = self.near.start("--lists", self.lists, "--region", NEAR)
        self.link.target = self.servers[NEAR].port


@contextlib.contextmanager
def meanwhile(do):
    """Does something beside the body, and fails with it."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            do()
        except BaseException as error:  # noqa: BLE001 it is raised again below
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if failed:
        raise failed[0]


@story("a region is shot while apt downloads from it, directly and through squid: apt ends without an error from the next of its list, and leaves a region that is taken out")
def apt_goes_over_to_the_next_region(place: Place) -> None:
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    for name in ("large", "huge"):
        archive.add(SUITE, name, kilobytes=12 * 1024)
    archive.publish(SUITE)
    fleet = Fleet(place, place.mirror("debian", "debian", ("stable",)))
    squid = Squid(place)
    with contextlib.closing(squid):
        source = f"deb mirror+{fleet.list_url()} stable main"
        apts = {
            "direct": Apt(place.workdir / "apt", place.keyring, source),
            "through squid": Apt(place.workdir / "apt-squid", place.keyring, source, Acquire__http__Proxy=squid.url),
        }
        for (how, apt), package in zip(apts.items(), ("large", "huge"), strict=True):
            before = fleet.link.bytes
            apt.update()
            assert fleet.link.bytes > before, f"{how}: the first of the list was not asked"
            before = fleet.link.bytes
            with meanwhile(lambda: fleet.shoot(before, 2 * MIB)):  # noqa: B023
                assert apt.download(package).name == f"{package}_1.0_amd64.deb"
            assert fleet.link.bytes < before + 10 * MIB, f"{how}: it was not shot in the middle"
            # A whole update, too.
            apt.forget_lists()
            apt.update()
            fleet.revive()
        for how, apt in apts.items():
            a_region_is_taken_out(fleet, archive, how, apt)
    front = a_proxy_says_who_asks(place, fleet, lambda *order: "".join(f"{fleet.url(address)}\tpriority:{rank}\n" for rank, address in enumerate(order, 1)))
    apt = Apt(place.workdir / "apt-proxy", place.keyring, f"deb mirror+{front} stable main")
    before = fleet.link.bytes
    apt.update()
    apt.download("large")
    assert fleet.link.bytes == before, "apt asked another region than the one that its network is sent to"


#: From where a proxy asks us, and the address of a client before it.
PROXY, CLIENT = "127.0.0.5", "127.0.0.9"
PROXIES = """
server {{
    listen 127.0.0.1:{front};
    location / {{ proxy_pass http://{far}; proxy_bind {proxy}; proxy_set_header X-Forwarded-For $remote_addr; }}
}}
server {{
    listen 127.0.0.1:{client};
    location / {{ proxy_pass http://127.0.0.1:{front}; proxy_bind {address}; }}
}}
"""


def a_proxy_says_who_asks(place: Place, fleet: Fleet, written: Callable[..., str]) -> str:
    """A real proxy's word counts where it is declared, and nobody else's. Where a client of the far region's network gets its list, with
    that region first; `written` is a list of these addresses."""
    front, client = free_port(), free_port()
    rules = PROXIES.format(front=front, client=client, far=f"{FAR}:{fleet.ports[FAR]}", proxy=PROXY, address=CLIENT)
    place.start("proxies", nginx(place.workdir / "proxies", rules))
    for port in (front, client):
        wait_for_port(port)
    path = f".mirrorfleet/mirrorlist/{fleet.mirror.path}"
    of_client, of_others = ([f"http://127.0.0.1:{port}/{path}"] for port in (client, front))
    of_liars = [fleet.list_url(), "--header", f"X-Forwarded-For: {CLIENT}"]
    declared, turned = written(NEAR, FAR), written(FAR, NEAR)
    networks = {"of_3": [f"{CLIENT}/32"]}
    for proxies, wanted in (
        ((f"{PROXY}/32",), {turned: (of_client,), declared: (of_others, of_liars)}),
        ((), {declared: (of_client, of_others, of_liars)}),
        ((f"{PROXY}/32",), {turned: (of_client,)}),
    ):
        fleet.tell(NEAR, FAR, proxies=proxies, **networks)
        for text, places in wanted.items():
            # What is told is read anew a moment later.
            got = lambda: {run(["curl", "--silent", "--show-error", "--fail", *asked]) for asked in places}  # noqa: B023, E731
            wait_until(lambda: got() == {text}, 90, f"lists of {proxies}", interval=0.02, detail=lambda: str(got()))  # noqa: B023
    return of_client[0]


def a_region_is_taken_out(fleet: Fleet, archive: DebianArchive, how: str, apt: Apt) -> None:
    """Lists that get shorter, longer, and other content of the same length: what apt has is what it was told last."""
    for number, addresses in enumerate(((NEAR, FAR), (FAR,), (FAR,), (FAR, NEAR), (NEAR, FAR), (FAR,))):
        fleet.tell(*addresses)
        archive.add(SUITE, f"new-{how.partition(' ')[0]}-{number}")
        archive.publish(SUITE)
        fleet.publish()
        before = fleet.link.bytes
        apt.update()
        has = {file.read_text() for file in (apt.lists / "auxfiles").iterdir() if file.is_file()}
        wanted = "".join(f"{fleet.url(address)}\tpriority:{rank}\n" for rank, address in enumerate(addresses, 1))
        assert has == {wanted}, f"{how}, list {number}: apt has {has}, it was told {wanted!r}"
        assert (fleet.link.bytes > before) == (addresses[0] == NEAR), f"{how}, list {number}: another region was asked first"


@story("a region is shot while pacman downloads from it: the next server of its mirrorlist has the rest, and the list is written for where a client is")
def pacman_goes_over_to_the_next_region(place: Place) -> None:
    upstream = an_upstream(place, ring=place.ring)
    dice = random.Random(7)
    for number in range(2):
        upstream.add("core", f"large{number}", content=dice.randbytes(8 * MIB).hex())
    fleet = Fleet(place, arch_mirror(place, "arch", "core"))
    mirrorlist = place.workdir / "mirrorlist"

    def fetch(address: str = FAR) -> str:
        text = ask(fleet.servers[address], ".mirrorfleet/mirrorlist/arch").body.decode()
        mirrorlist.write_text(text)
        return text

    servers = [f"Server = {fleet.url(address)}$repo/os/$arch\n" for address in (NEAR, FAR)]
    assert fetch() == "".join(servers)
    pacman = Pacman(place.workdir / "pacman", {"core": "in the mirrorlist"}, ring=place.ring)
    pacman.include(mirrorlist)
    pacman.clean("-Sy")
    before = fleet.link.bytes
    with meanwhile(lambda: fleet.shoot(before, 2 * MIB)):
        done = pacman.run("-S", "large0")
    assert done.returncode == 0 and "large0" in pacman.installed(), done.stdout + done.stderr
    assert before + 2 * MIB <= fleet.link.bytes, "the first of the list was not asked"
    # Both tell the same; clients of its own networks are sent to the far one first.
    fleet.revive()
    fleet.tell(NEAR, FAR, of_3=["127.0.0.0/8"])
    assert fetch() == fetch(NEAR) == servers[1] + servers[0]
    fleet.tell(NEAR, FAR, of_3=["198.51.100.0/24"])
    assert fetch() == servers[0] + servers[1]
    fleet.tell(FAR)
    assert fetch() == servers[1]
    upstream.add("core", "small")
    fleet.publish()
    before = fleet.link.bytes
    pacman.clean("-Syu", "small")
    assert fleet.link.bytes == before, "a server that was taken out was asked"
    front = a_proxy_says_who_asks(place, fleet, lambda *order: "".join(f"Server = {fleet.url(address)}$repo/os/$arch\n" for address in order))
    run(["curl", "--silent", "--show-error", "--fail", "--output", mirrorlist, front])
    before = fleet.link.bytes
    pacman.clean("-Syu", "large1")
    assert fleet.link.bytes == before, "pacman asked another region than the one that its network is sent to"


@story("mirrorfleet local gives a list of its one region, by which apt installs")
def local_gives_a_list(place: Place) -> None:
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    archive.add(SUITE, "tool")
    archive.publish(SUITE)
    mirror = place.mirror("debian", "debian", ("stable",))
    server = place.local(mirror)
    wait_until(lambda: server.snapshot("debian"), 120, "the first snapshot", interval=0.05)
    path = ".mirrorfleet/mirrorlist/debian"
    answer = ask(server, path, Range="bytes=5-", If_Modified_Since="Sun, 06 Nov 2094 08:49:37 GMT")
    assert (answer.status, answer.body.decode()) == (200, f"http://127.0.0.1:{server.port}/debian/\tpriority:1\n"), answer
    apt = Apt(place.workdir / "apt", place.keyring, f"deb mirror+{server.url(path, '127.0.0.1')} stable main")
    assert Path(apt.install_from("tool")).name == "tool_1.0_amd64.deb"


@story("one file by `nearest`: curl is sent to the nearest region, aria2 fetches from both and goes on while one is shot, and compares with the digest that it was told")
def one_file_from_the_nearest_region(place: Place) -> None:
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    archive.add(SUITE, "huge", kilobytes=24 * 1024)
    archive.publish(SUITE)
    package = archive.packages["stable"][0].file
    fleet = Fleet(place, place.mirror("debian", "debian", ("stable",)))
    url = f"http://{FAR}:{fleet.ports[FAR]}/.mirrorfleet/nearest/{fleet.mirror.path}/{package.relative_to(archive.root)}"
    got = place.workdir / "got"
    sent = ["curl", "--silent", "--fail", "--location", "--output", got, "--write-out", "%{url_effective}", url]
    assert run(sent).startswith(fleet.url(NEAR)) and got.read_bytes() == package.read_bytes()
    fleet.tell(NEAR, FAR, of_3=["127.0.0.0/8"])
    assert run(sent) == url and got.read_bytes() == package.read_bytes(), "the nearest was asked itself"
    got.unlink()
    before = fleet.link.bytes
    # Slow enough that the region behind the slow link has its part.
    fetch = ["aria2c", "--no-conf", "--dir", place.workdir, "--out", "got", "--split", "4", "--max-connection-per-server", "2", "--min-split-size", "1M", "--max-overall-download-limit", "6M", "--console-log-level", "info", url]
    with meanwhile(lambda: fleet.shoot(before, MIB)):
        said = run(fetch)
    assert got.read_bytes() == package.read_bytes()
    assert fleet.link.bytes >= before + MIB, f"aria2 did not ask the other region:\n{said[-2000:]}"
    assert "Verification finished successfully" in said or "checksum" in said.lower(), said[-2000:]
