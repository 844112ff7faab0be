"""Mirrors of a part, whose signed index still is upstream's."""

from __future__ import annotations

import gzip

from repository import packages_of

from .apt import Apt
from .debian import DebianArchive, Suite
from .manners import ask
from .place import Place
from .registry import story

SUITE = Suite("stable", suite="stable", codename="stable", components=("main", "contrib"), architectures=("amd64", "arm64", "i386"))


def archive_of_all_kinds(place: Place) -> DebianArchive:
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    archive.add_many(SUITE, ["tool", "editor"])
    archive.add_many(SUITE, ["manual"], architecture="all", section="doc")
    archive.add_many(SUITE, ["game"], section="games", priority="extra")
    for architecture in ("arm64", "i386"):
        archive.add(SUITE, "tool", architecture=architecture)
    archive.add(SUITE, "firmware", component="contrib")
    archive.publish(SUITE)
    return archive


@story("architectures and components that are left out stand in the Release, and apt does not notice")
def left_out_architectures_are_not_noticed(place: Place) -> None:
    archive_of_all_kinds(place)
    mirror = place.mirror("debian", "debian", ("stable",))
    place.sync(mirror)
    server = place.serve()
    place.check(server, mirror)
    release = ask(server, "debian/dists/stable/Release").body.decode()
    assert "Architectures: amd64 arm64 i386" in release and "contrib/binary-arm64/Packages.xz" in release
    for path in ("main/binary-arm64/Packages.xz", "contrib/binary-amd64/Packages.xz"):
        assert ask(server, f"debian/dists/stable/{path}").status == 404, f"{path} was not asked for"
    apt = Apt(place.workdir / "apt", place.keyring, f"deb {server.url('debian')} stable main")
    apt.install_from("tool")
    assert apt.download("manual").name == "manual_1.0_all.deb", "packages for all architectures come with any"


@story("paths that are left out are absent, which the checker demands, and the rest installs")
def left_out_paths_are_absent(place: Place) -> None:
    archive_of_all_kinds(place)
    mirror = place.mirror("debian", "debian", ("stable",), exclude=("pool/*/e/**", "pool/main/m/manual/*"))
    place.sync(mirror)
    server = place.serve()
    result = place.check(server, mirror)
    assert result.payload == 2, f"tool and game are all that is left of four packages: {result}"
    Apt(place.workdir / "apt", place.keyring, f"deb {server.url('debian')} stable main").install_from("tool")


@story("of packages that are left out a client sees 404, and everything else installs")
def left_out_packages_are_absent(place: Place) -> None:
    archive = archive_of_all_kinds(place)
    packages = {"exclude": [{"section": "doc"}, {"name": "gam*", "priority": "extra"}]}
    mirror = place.mirror("debian", "debian", ("stable",), components=("main", "contrib"), debian={"packages": packages})
    place.sync(mirror)
    server = place.serve()
    index = ask(server, "debian/dists/stable/main/binary-amd64/Packages.gz").body
    upstreams = (archive.folder(SUITE) / "main/binary-amd64/Packages.gz").read_bytes()
    assert index == upstreams, "the signed index stays upstream's"
    apt = Apt(place.workdir / "apt", place.keyring, f"deb {server.url('debian')} stable main contrib")
    apt.update()
    for name in ("tool", "editor", "firmware"):
        apt.download(name)
    for name in ("manual", "game"):
        refused = apt.run("apt-get", "install", "--download-only", name)
        assert refused.returncode != 0 and "404" in refused.stdout + refused.stderr, f"{name}: see {apt.log}"
    listed = {path for path, _ in packages_of(gzip.decompress(upstreams))}
    absent = {path for path in listed if ask(server, f"debian/{path}").status == 404}
    assert absent == {path for path in listed if "/manual_" in path or "/game_" in path}, absent


@story("what the reverse asks for is all there is: only packages that a rule names")
def only_named_packages_are_present(place: Place) -> None:
    archive_of_all_kinds(place)
    mirror = place.mirror("debian", "debian", ("stable",), debian={"packages": {"include": [{"name": "tool"}]}})
    place.sync(mirror)
    server = place.serve()
    apt = Apt(place.workdir / "apt", place.keyring, f"deb {server.url('debian')} stable main")
    apt.install_from("tool")
    assert apt.run("apt-get", "install", "--download-only", "editor").returncode != 0
