"""Debian's own layout, complete for the declared slice, and what apt does with each part of it."""

from __future__ import annotations

import dataclasses
import hashlib

from .apt import Apt
from .debian import DebianArchive, Suite
from .place import Mirror, Place
from .registry import story

EVERYTHING = ("sources", "contents", "dep11", "installer", "pdiffs")
TRIXIE = Suite("trixie", suite="stable", codename="trixie", components=("main", "contrib"), architectures=("amd64", "arm64"), everything=True, pdiffs=14)
UPDATES = dataclasses.replace(TRIXIE, name="trixie-updates", suite="stable-updates", codename="trixie-updates", pdiffs=0)
SECURITY = Suite("trixie-security", suite="stable-security", codename="trixie-security", says_components=("updates/main",))
#: The targets that apt-file, appstream and command-not-found add to apt's own.
TARGETS = {
    "Acquire__IndexTargets__deb__Contents-deb__MetaKey": "$(COMPONENT)/Contents-$(ARCHITECTURE)",
    "Acquire__IndexTargets__deb__Contents-deb__ShortDescription": "Contents-$(ARCHITECTURE)",
    "Acquire__IndexTargets__deb__Contents-deb__Description": "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Contents",
    "Acquire__IndexTargets__deb__DEP-11__MetaKey": "$(COMPONENT)/dep11/Components-$(NATIVE_ARCHITECTURE).yml",
    "Acquire__IndexTargets__deb__DEP-11__ShortDescription": "Components-$(NATIVE_ARCHITECTURE)",
    "Acquire__IndexTargets__deb__DEP-11__Description": "$(RELEASE)/$(COMPONENT) $(NATIVE_ARCHITECTURE) DEP-11 Metadata",
    "Acquire__IndexTargets__deb__CNF__MetaKey": "$(COMPONENT)/cnf/Commands-$(NATIVE_ARCHITECTURE)",
    "Acquire__IndexTargets__deb__CNF__ShortDescription": "Commands-$(NATIVE_ARCHITECTURE)",
    "Acquire__IndexTargets__deb__CNF__Description": "$(RELEASE)/$(COMPONENT) $(NATIVE_ARCHITECTURE) CNF Metadata",
    "Acquire__Languages": "de,en",
}


def debian(place: Place) -> DebianArchive:
    """Three suites over one pool, two components, two architectures, and all that a Debian archive has beside packages."""
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    archive.add_many(TRIXIE, [f"tool{number}" for number in range(8)])
    archive.add_many(TRIXIE, ["documents", "data"], architecture="all")
    archive.add_many(TRIXIE, ["tool0", "tool1"], architecture="arm64")
    archive.add(TRIXIE, "firmware", component="contrib")
    archive.add(TRIXIE, "netcfg", udeb=True, section="debian-installer")
    archive.add_source(TRIXIE, "tool0")
    archive.add(UPDATES, "tool0", "1.1")
    archive.take_over(UPDATES, archive.packages["trixie"][1])
    archive.add(SECURITY, "tool1", "1.0+deb13u1")
    for suite in (TRIXIE, UPDATES, SECURITY):
        archive.publish(suite)
    return archive


def debian_mirror(place: Place, name: str, *suites: Suite, **options) -> Mirror:
    options.setdefault("components", ("main", "contrib"))
    return place.mirror(name, "debian", tuple(suite.name for suite in suites), **options)


@story("everything that Debian's layout has is served, to the checker and to apt")
def everything_of_a_slice_is_served(place: Place) -> None:
    archive = debian(place)
    archive.add(TRIXIE, "tool8")
    archive.publish(TRIXIE)
    mirror = debian_mirror(place, "debian", TRIXIE, UPDATES, architectures=("amd64", "arm64"), include=EVERYTHING)
    security = place.mirror("security", "debian", (SECURITY.name,))
    for each in (mirror, security):
        place.sync(each)
    server = place.serve()
    place.check(server, security)
    result = place.check(server, mirror)
    # Lest the checker pass because it looked at little: packages, udeb, source, images, patches.
    assert result.payload > 30 and result.by_hash > 60, result

    url, safe = server.url("debian"), server.url("security")
    sources = [f"{kind} {url} {suite} main contrib" for kind in ("deb", "deb-src") for suite in ("trixie", "trixie-updates")]
    apt = Apt(place.workdir / "apt", place.keyring, *[s for s in sources if "src" not in s or "updates" not in s], f"deb {safe} trixie-security main", **TARGETS)
    said = apt.update()
    for part in ("amd64 Contents", "DEP-11 Metadata", "CNF Metadata", "Translation-de", "Sources"):
        assert part in said, f"apt did not fetch {part}; see {apt.log}"
    assert apt.download("tool0").name == "tool0_1.1_amd64.deb", "the version of trixie-updates is newer"
    assert apt.download("tool1").name == "tool1_1.0+deb13u1_amd64.deb", "the version of trixie-security is newer"
    apt.download("documents")
    apt.download("firmware")
    place_of_source = place.workdir / "source"
    place_of_source.mkdir()
    apt.clean("apt-get", "source", "--download-only", "tool0=1.0-1", cwd=place_of_source)
    assert len(list(place_of_source.iterdir())) == 3, "a .dsc, the original and Debian's part"


@story("a client three publishes behind is brought up by patches; where patches are left out, by the whole index")
def patches_bring_a_client_up_to_date(place: Place) -> None:
    suite = Suite("trixie", suite="stable", codename="trixie", pdiffs=14)
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    archive.add_many(suite, [f"tool{number}" for number in range(40)], kilobytes=1)
    archive.publish(suite)
    patched = place.mirror("patched", "debian", ("trixie",), include=("pdiffs",))
    whole = place.mirror("whole", "debian", ("trixie",))
    for mirror in (patched, whole):
        place.sync(mirror)
    server = place.serve()
    clients = {
        mirror.name: Apt(place.workdir / f"apt-{mirror.name}", place.keyring, f"deb {server.url(mirror.name)} trixie main", Acquire__PDiffs="true", Debug__pkgAcquire__Diffs="true")
        for mirror in (patched, whole)
    }  # fmt: skip
    for client in clients.values():
        client.update()
    for number in range(3):
        archive.add(suite, f"new{number}", kilobytes=1)
        archive.add(suite, f"tool{number}", "1.1", kilobytes=1)
        archive.publish(suite)
        for mirror in (patched, whole):
            place.sync(mirror)
    for mirror in (patched, whole):
        client = clients[mirror.name]
        place.check(server, mirror)
        said = client.update()
        assert said.count(".pdiff") + said.count("pdiff [") >= 3 if mirror is patched else "pdiff" not in said.lower().replace("pdiffs", ""), said
        assert index_of(client) == suite_text(archive, suite), f"{mirror.name}: apt's index is not the archive's"
        client.download("new2")


def index_of(client: Apt) -> str:
    [lists] = client.lists.glob("*_Packages")
    return hashlib.sha256(lists.read_bytes()).hexdigest()


def suite_text(archive: DebianArchive, suite: Suite) -> str:
    """The digest of the current Packages, as its Release says."""
    lines = (archive.folder(suite) / "Release").read_text().split("SHA256:")[1].splitlines()
    return next(line.split()[0] for line in lines if line.endswith(" main/binary-amd64/Packages"))


@story("a suite is served by its alias too: to the checker, and to apt whose sources say stable")
def an_alias_is_served(place: Place) -> None:
    suite = Suite("trixie", suite="stable", codename="trixie")
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    archive.add_many(suite, ["one", "two"])
    archive.publish(suite)
    mirror = place.mirror("debian", "debian", ("trixie",), debian={"aliases": [{"name": "stable", "suite": "trixie"}]})
    place.sync(mirror)
    server = place.serve()
    place.check(server, mirror)
    place.check(server, dataclasses.replace(mirror, suites=("stable",)))
    for name in ("stable", "trixie"):
        Apt(place.workdir / f"apt-{name}", place.keyring, f"deb {server.url('debian')} {name} main").install_from("two")
    archive.add(suite, "three")
    archive.publish(suite)
    place.sync(mirror)
    place.wait_until_served(server, mirror)
    Apt(place.workdir / "apt-later", place.keyring, f"deb {server.url('debian')} stable main").install_from("three")
