"""Repositories as other people publish them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

from lab.waiting import wait_until

from .apt import Apt
from .debian import DebianArchive, Suite
from .keys import Signers
from .manners import ask
from .place import Place
from .registry import story

SUITE = Suite("stable", suite="stable", codename="stable")
LAYOUTS = {
    "no-by-hash": dataclasses.replace(SUITE, by_hash=False),
    "only-gz": dataclasses.replace(SUITE, by_hash=False, compressions=(".gz",)),
    "plain-too": dataclasses.replace(SUITE, plain=True),
    "no-inrelease": dataclasses.replace(SUITE, in_release=False),
    "no-release-gpg": dataclasses.replace(SUITE, release_gpg=False),
    "without-end": dataclasses.replace(SUITE, valid_for=None),
}
#: Names that need care in URLs: a tilde and pluses, a colon, a percent sign that is part of the name.
AWKWARD = ("lib~a++_1.0~rc1+dfsg-1_amd64.deb", "colon_2:1.0_amd64.deb", "percent_1%3a1.0_amd64.deb")


@story("layouts of other archives: no by-hash, only .gz, no InRelease, no Release.gpg, no Valid-Until")
def other_layouts_are_served(place: Place) -> None:
    mirrors = {}
    for name, suite in LAYOUTS.items():
        archive = DebianArchive(place.upstreams / name, place.signers)
        archive.add_many(suite, ["one", "two"], kilobytes=1)
        archive.publish(suite)
        mirrors[name] = place.mirror(name, name, ("stable",), spec={"serving": {"path": f"vendors/{name}"}})
        place.sync(mirrors[name])
    server = place.serve()
    for name, mirror in mirrors.items():
        place.check(server, mirror)
        Apt(place.workdir / f"apt-{name}", place.keyring, f"deb {server.url(mirror.path)} stable main").install_from("two")
    # Several repositories under one host, in one set of sources, and a host that is an address of the newer family.
    sources = [f"deb {server.url(mirror.path, host='[::1]')} stable main" for mirror in mirrors.values()]
    Apt(place.workdir / "apt-all", place.keyring, *sources).install_from("one")


@story("`mirrorfleet local` syncs several repositories and serves them under one host")
def one_process_serves_several(place: Place) -> None:
    mirrors = []
    for name in ("red", "blue"):
        archive = DebianArchive(place.upstreams / name, place.signers)
        archive.add(SUITE, name)
        archive.publish(SUITE)
        mirrors.append(place.mirror(name, name, ("stable",), spec={"serving": {"path": f"vendors/{name}"}}))
    server = place.local(*mirrors)
    for mirror in mirrors:
        wait_until(lambda mirror=mirror: ask(server, f"{mirror.path}/dists/stable/InRelease").status == 200, 120, f"the first sync of {mirror.name}")
        place.check(server, mirror)
    apt = Apt(place.workdir / "apt", place.keyring, *(f"deb {server.url(mirror.path)} stable main" for mirror in mirrors))
    for name in ("red", "blue"):
        apt.install_from(name)


@story("flat repositories, at the top and in a folder, with ./ before every name")
def flat_repositories_are_served(place: Place) -> None:
    archive = DebianArchive(place.upstreams / "flat", place.signers)
    top, sub = Suite("./", by_hash=False), Suite("sub/", suite="sub", by_hash=False)
    archive.add(top, "topmost")
    archive.add(top, "percent", "1:1.0", file_name=AWKWARD[2])
    archive.add(sub, "below")
    for suite in (top, sub):
        archive.publish(suite)
    mirror = place.mirror("flat", "flat", ("./", "sub/"))
    place.sync(mirror)
    server = place.serve()
    place.check(server, mirror)
    url = server.url("flat")
    apt = Apt(place.workdir / "apt", place.keyring, f"deb {url} ./", f"deb {url} sub/")
    for name in ("topmost", "below", "percent"):
        apt.install_from(name)


@story("names with ~, +, : and a literal %3a reach apt")
def awkward_names_are_served(place: Place) -> None:
    archive = DebianArchive(place.upstreams / "vendor", place.signers)
    archive.add(SUITE, "lib-a++", "1.0~rc1+dfsg-1", file_name=AWKWARD[0])
    archive.add(SUITE, "colon", "2:1.0", file_name=AWKWARD[1])
    archive.add(SUITE, "percent", "1:1.0", file_name=AWKWARD[2])
    archive.publish(SUITE)
    mirror = place.mirror("vendor", "vendor", ("stable",))
    place.sync(mirror)
    server = place.serve()
    place.check(server, mirror)
    apt = Apt(place.workdir / "apt", place.keyring, f"deb {server.url('vendor')} stable main")
    for name in ("lib-a++", "colon", "percent"):
        apt.install_from(name)


@story("during a key rollover, either key is enough, for us and for apt")
def two_signatures_during_a_rollover(place: Place) -> None:
    old, new = "archive", place.ring.make("successor")
    archive = DebianArchive(place.upstreams / "vendor", Signers(place.ring, (old, new)))
    archive.add(SUITE, "one")
    archive.publish(SUITE)
    keyrings = {"with-old": place.ring.public(old), "with-new": place.ring.public(new), "with-both": place.ring.public(old, new)}
    mirrors = {name: place.mirror(name, "vendor", ("stable",), keyring=keys) for name, keys in keyrings.items()}
    for mirror in mirrors.values():
        place.sync(mirror)
    server = place.serve()
    for name, mirror in mirrors.items():
        place.check(server, mirror)
        for whose in ("with-old", "with-new"):
            Apt(place.workdir / f"apt-{name}-{whose}", keyrings[whose], f"deb {server.url(name)} stable main").install_from("one")


@story("an expired key is refused by its own reason, what was served stays, and the renewed keyring heals it")
def an_expired_key_and_its_renewal(place: Place) -> None:
    made, signed = (f"{datetime.now(UTC) - timedelta(days=days):%Y%m%dT%H%M%S}" for days in (30, 25))
    owner = place.ring.make("forgetful", expires="10d", at=made)
    expired = place.ring.public(owner)
    archive = DebianArchive(place.upstreams / "vendor", place.signers)
    archive.add(SUITE, "one")
    archive.publish(SUITE)
    keys = place.keyring + expired
    place.sync(place.mirror("vendor", "vendor", ("stable",), keyring=keys))
    server = place.serve()
    source = f"deb {server.url('vendor')} stable main"

    archive.add(SUITE, "two")
    archive.publish(SUITE, Signers(place.ring, (owner,), at=signed))
    refused = place.sync(place.mirror("vendor", "vendor", ("stable",), keyring=keys), expect=3)
    assert "KeyExpired" in refused.text, refused.text
    Apt(place.workdir / "apt-before", place.keyring, source).install_from("one")

    place.ring.renew(owner, "1y")
    mirror = place.mirror("vendor", "vendor", ("stable",), keyring=place.ring.public("archive", owner))
    place.sync(mirror)
    place.check(server, mirror)
    Apt(place.workdir / "apt-after", mirror.keyring, source).install_from("two")
