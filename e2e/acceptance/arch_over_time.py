"""Repositories of pacman over time: clients that never stop, clients of yesterday, and the way back."""

from __future__ import annotations

import contextlib
import dataclasses
import threading

from soak.squid import Squid

from .arch import ArchMirror, an_upstream, arch_mirror, checked, servers
from .arch_upstream import ArchUpstream
from .pacman import COMPLAINT, Pacman
from .place import Place
from .registry import story


@story("who rolls back or pins reaches every pacman, which takes no older date; so does the way forward again")
def pacman_follows_backwards_and_forwards(place: Place) -> None:
    upstream = an_upstream(place, ring=place.ring)
    upstream.add("core", "one", "1-1")
    mirror = arch_mirror(place, "arch", "core")
    place.sync(mirror)
    first = (place.data / "arch" / "current").read_text().strip()
    upstream.add("core", "one", "2-1")
    place.sync(mirror)
    server = place.serve()
    place.wait_until_served(server, mirror)
    pacman = Pacman(place.workdir / "pacman", servers(server, mirror), ring=place.ring)

    def offers(version: str) -> None:
        place.wait_until_served(server, mirror)
        pacman.clean("-Sy")
        assert pacman.offered() == {"core/one": version}, pacman.offered()

    offers("2-1")
    done = place.mirrorfleet("snapshots", "--data", place.data, "arch", "rollback", first)
    assert done.returncode == 0, done.stderr
    offers("1-1")
    upstream.add("core", "one", "3-1")
    place.sync(mirror)
    offers("3-1")
    place.sync(dataclasses.replace(mirror, spec={"snapshots": {"pinned": first}}))
    offers("1-1")
    place.sync(mirror)
    offers("3-1")
    # What comes afterwards has been at the upstream since before all that.
    for version in ("4-1", "5-1"):
        upstream.add("core", "one", version)
        place.sync(mirror)
        offers(version)


@story("pacmans that read, upgrade and download, half of them through squid, while the upstream changes and syncs are killed, never fail")
def pacmans_under_churn(place: Place) -> None:
    squid = Squid(place)
    with contextlib.closing(squid):
        under_churn(place, squid)
        assert squid.hits(), "nothing came from the proxy's cache"


def under_churn(place: Place, squid: Squid) -> None:
    upstream = an_upstream(place, ring=place.ring)
    for number in range(8):
        upstream.add(("core", "extra")[number % 2], f"tool{number}")
    mirror = arch_mirror(place, "arch", "core", "extra")
    place.sync(mirror)
    server = place.serve()
    place.wait_until_served(server, mirror)
    stop, complaints, calls = threading.Event(), [], []

    def client(number: int) -> None:
        proxy = squid.url if number % 2 else ""
        pacman = Pacman(place.workdir / f"pacman{number}", servers(server, mirror), ring=place.ring, proxy=proxy)
        turn = number
        while not stop.is_set():
            for arguments in (("-Sy",), ("-Sw", f"tool{turn % 8}"), ("-Syuw",), ("-S", f"tool{(turn + 3) % 8}")):
                done = pacman.run(*arguments)
                said = done.stdout + done.stderr
                calls.append(arguments[0])
                if done.returncode or COMPLAINT.search(said):
                    complaints.append(f"{' '.join(arguments)}: {said}")
            turn += 1

    clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in clients:
        thread.start()
    try:
        for version in range(2, 14):
            number = version % 8
            upstream.add(("core", "extra")[number % 2], f"tool{number}", f"{version}-1")
            if version % 3 == 0:
                killed_sync(place, mirror)
            place.sync(mirror)
    finally:
        stop.set()
        for thread in clients:
            thread.join()
    assert not complaints, f"{len(complaints)} of {len(calls)} calls:\n" + "\n".join(complaints[:5])
    assert len(calls) >= 16, calls
    checked(place, server, mirror)


@story("who read the databases before forty publications downloads everything that they name, though most snapshots are given up")
def an_old_client_downloads_everything(place: Place) -> None:
    upstream = an_upstream(place, ring=place.ring)
    for number in range(3):
        upstream.add("core", f"tool{number}")
    mirror = arch_mirror(place, "arch", "core", spec={"snapshots": {"keep": 2, "minAge": "24h"}})
    place.sync(mirror)
    server = place.serve()
    pacman = Pacman(place.workdir / "pacman", servers(server, mirror), ring=place.ring)
    pacman.clean("-Sy")
    for version in range(2, 42):
        name = f"tool{version % 3}"
        upstream.remove("core", name)
        upstream.add("core", name, f"{version}-1")
        place.sync(mirror)
    assert len(list((place.data / "arch" / "snapshots").iterdir())) < 40
    place.wait_until_served(server, mirror)
    pacman.clean("-Sw", "tool0", "tool1", "tool2")
    assert len(list(pacman.cache.glob("*-1-1-any.pkg.tar.zst"))) == 3
    pacman.clean("-Syw", "tool0", "tool1", "tool2")


def killed_sync(place: Place, mirror: ArchMirror) -> None:
    manifest = place.manifest_file(mirror)
    process = place.start("killed", [place.binary, "sync", "-f", manifest, "--mirror", mirror.name, "--data", place.data])
    # Whatever it has come to by then, also nothing.
    place.requests()
    process.kill()
    process.wait()
