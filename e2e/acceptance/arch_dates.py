"""Dates of databases, by which pacman tells whether anything is new: it takes none that is older than its own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import urllib.request

from lab.waiting import wait_until
from soak.squid import Squid

from .arch import ArchMirror, checked, servers
from .arch_trust import of_a_packager, populated
from .arch_upstream import ArchUpstream
from .manners import ask
from .pacman import COMPLAINT, Pacman
from .place import Place
from .registry import story

DATABASES = [f"core/os/x86_64/core.{kind}{form}{signature}" for kind in ("db", "files") for form in ("", ".tar.gz") for signature in ("", ".sig")]


@story("databases have the date that they have at the upstream: a pacman that comes from another mirror, or goes to one, takes what is new there")
def a_pacman_changes_its_mirror(place: Place) -> None:
    web, upstream = of_a_packager(place, signs_databases=True)
    upstream.add("core", "one")
    dates_signatures(upstream)
    mirror = ArchMirror("arch", place.url("arch"), ("core",), trust=web.trust(databases="Required"), keys=web.files())
    with populated(web.files(), place.workdir / "keyring") as gpgdir:
        theirs = f"{place.url('arch')}$repo/os/$arch"
        pacman = Pacman(place.workdir / "pacman", {"core": theirs}, gpgdir=gpgdir, level="Required")
        pacman.clean("-Sy")
        place.sync(mirror)
        server = place.serve()
        ours = servers(server, mirror)["core"]
        conf = pacman.root / "pacman.conf"
        text = conf.read_text()
        for number in range(2, 6):
            package = upstream.add("core", "one", f"{number}-1").file
            dates_signatures(upstream)
            if number == 4:
                # Read by a run that did not take it.
                content = package.read_bytes()
                package.unlink()
                assert place.sync(mirror, expect=2).reason == "UpstreamIncomplete"
                package.write_bytes(content)
            place.sync(mirror)
            place.wait_until_served(server, mirror)
            conf.write_text(text.replace(theirs, ours if number % 2 == 0 else theirs))
            pacman.clean("-Sy")
            assert pacman.offered()["core/one"] == f"{number}-1", f"with {conf.read_text()}"
            if number != 4:
                dates = {name: (ask(server, f"arch/{name}").headers["Last-Modified"], last_modified(place.url("arch") + name)) for name in DATABASES}
                assert all(here == there for here, there in dates.values()), dates
    checked(place, server, mirror)


def dates_signatures(upstream: ArchUpstream) -> None:
    """As of their databases. Two of one second are the same to a pacman that asks the upstream itself."""
    for kind in ("db", "files"):
        database = upstream.database("core", kind)
        date = database.stat().st_mtime
        os.utime(database.with_name(database.name + ".sig"), (date, date))


def last_modified(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.headers["Last-Modified"]


class Readers:
    """Pacmans that never stop: each turn reads the databases and installs what they have. `with Readers(...) as readers:`"""

    def __init__(self, pacmans: list[Pacman], packages: list[str]) -> None:
        self.packages = packages
        #: How often something else was begun to be served, and at which of these times each began its last turn, and what it was offered.
        self.epoch = 0
        self.seen: dict[Pacman, tuple[int, dict[str, str]]] = {}
        self.complaints: list[str] = []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._read, args=[pacman]) for pacman in pacmans]

    def __enter__(self) -> Readers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def _read(self, pacman: Pacman) -> None:
        while not self.stop.is_set():
            epoch = self.epoch
            for arguments in (("-Sy",), ("-S", *self.packages)):
                done = pacman.run(*arguments)
                if done.returncode or COMPLAINT.search(done.stdout + done.stderr):
                    self.complaints.append(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
            self.seen[pacman] = (epoch, pacman.offered())

    def now_offered(self) -> list[dict[str, str]]:
        """What each is offered in a turn that it begins from now on, and that has gone well as all before."""
        self.epoch += 1
        turned = lambda: [offered for epoch, offered in list(self.seen.values()) if epoch == self.epoch]  # noqa: E731
        wait_until(lambda: self.complaints or len(turned()) == len(self.threads), 120, "each pacman to begin a turn and end it", interval=0.02)
        assert not self.complaints, "\n".join(self.complaints[:5])
        return turned()


@story("pacmans that never stop, with signed databases, one of them behind a proxy, while a person goes back and forth, forward again and pins: no 404, no wrong signature, and all end with what is pinned")
def pacmans_while_a_person_goes_back(place: Place) -> None:
    web, upstream = of_a_packager(place, signs_databases=True)
    mirror = ArchMirror("arch", place.url("arch"), ("core", "extra"), trust=web.trust(databases="Required"), keys=web.files())
    tools = {"core": "one", "extra": "two"}

    def publish(version: str) -> str:
        """The snapshot."""
        for repo, name in tools.items():
            upstream.add(repo, name, version)
        place.sync(mirror)
        return (place.data / "arch" / "current").read_text().strip()

    def go_back(snapshot: str) -> None:
        done = place.mirrorfleet("snapshots", "--data", place.data, "arch", "rollback", snapshot)
        assert done.returncode == 0, done.stderr

    first, second = publish("1-1"), publish("2-1")
    server = place.serve()
    place.wait_until_served(server, mirror)
    squid = Squid(place)
    with contextlib.closing(squid), populated(web.files(), place.workdir / "keyring") as gpgdir:
        proxies = {"near": "", "beside": "", "proxied": squid.url}
        pacmans = [Pacman(place.workdir / name, servers(server, mirror), gpgdir=gpgdir, level="Required", proxy=proxy) for name, proxy in proxies.items()]
        with Readers(pacmans, list(tools.values())) as readers:

            def all_are_offered(version: str) -> None:
                place.wait_until_served(server, mirror)
                wanted = {f"{repo}/{name}": version for repo, name in tools.items()}
                offered = readers.now_offered()
                assert all(each == wanted for each in offered), offered

            all_are_offered("2-1")
            # Whatever a pacman is about: between a database and its signature, or a database and its packages.
            for _ in range(3):
                go_back(second)
                place.wait_until_served(server, mirror)
                go_back(first)
                place.wait_until_served(server, mirror)
            all_are_offered("1-1")
            publish("3-1")
            all_are_offered("3-1")
            place.sync(dataclasses.replace(mirror, spec={"snapshots": {"pinned": second}}))
            all_are_offered("2-1")
        assert all(pacman.installed() == dict.fromkeys(tools.values(), "2-1") for pacman in pacmans)
