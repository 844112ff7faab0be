"""Repositories of pacman, copied by us and used by a real pacman."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from archive import run

from .arch_checker import ArchResult, check
from .arch_upstream import ArchUpstream
from .manners import ask
from .pacman import Pacman
from .place import API_VERSION, Place, Server
from .registry import story

ARCH = "$repo/os/$arch"


@dataclass(frozen=True)
class ArchMirror:
    """A Mirror with its Upstream, as one manifest file."""

    name: str
    upstream: str
    repos: tuple[str, ...]
    architectures: tuple[str, ...] = ("x86_64",)
    #: The rest of `content.arch`, of `content`, and of the specs.
    arch: dict = field(default_factory=dict)
    content: dict = field(default_factory=dict)
    spec: dict = field(default_factory=dict)
    endpoints: tuple[dict, ...] = ()
    #: The Upstream's trust, and the keyring with the lists beside it, as files by name.
    trust: dict = field(default_factory=lambda: {"signatures": "None"})
    keys: dict[str, str] = field(default_factory=dict)

    def manifests(self) -> list[dict]:
        content = {"arch": {"repos": list(self.repos), "architectures": list(self.architectures), **self.arch}, **self.content}
        upstream = {"type": "Arch", "authority": {"url": self.upstream}, "trust": self.trust}
        if self.endpoints:
            upstream["endpoints"] = list(self.endpoints)
        keyring = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "keys"}, "data": self.keys}
        return [
            *([keyring] if self.keys else []),
            {"apiVersion": API_VERSION, "kind": "Upstream", "metadata": {"name": self.name}, "spec": upstream},
            {
                "apiVersion": API_VERSION, "kind": "Mirror", "metadata": {"name": self.name},
                "spec": {"upstreamRef": {"name": self.name}, "content": content, "regions": [{"name": "here"}], **self.spec},
            },
        ]  # fmt: skip

    @property
    def path(self) -> str:
        return self.spec.get("serving", {}).get("path") or self.name


def arch_mirror(place: Place, name: str, *repos: str, **more) -> ArchMirror:
    return ArchMirror(name, place.url(name), repos, **more)


def an_upstream(place: Place, name: str = "arch", **more) -> ArchUpstream:
    return ArchUpstream(place.upstreams / name, **more)


def checked(place: Place, server: Server, mirror: ArchMirror, *, layout: str = ARCH, signed: bool = True, **more) -> ArchResult:
    """Zero misses by the independent checker, and something that it checked."""
    place.wait_until_served(server, mirror)
    folders = {repo: layout.replace("$repo", repo).replace("$arch", mirror.architectures[0]) for repo in mirror.repos}
    result = check(server.url(f"{mirror.path}/"), folders, signed=signed, **more)
    assert not result.misses, "\n".join(result.misses[:20])
    assert result.packages, f"{mirror.name}: the checker found nothing that a database names"
    return result


def servers(server: Server, mirror: ArchMirror, layout: str = ARCH) -> dict[str, str]:
    return {repo: server.url(f"{mirror.path}/{layout}".replace("/./", "/").removesuffix("/.")) for repo in mirror.repos}


@story("pacman reads, installs, upgrades and looks for files; signatures beside packages and a pool come with them")
def pacman_uses_our_copy(place: Place) -> None:
    upstream = an_upstream(place, pool="pool/packages", ring=place.ring)
    upstream.add("core", "glibc", "2.38-7", architecture="x86_64")
    upstream.add("core", "c++utils", "1:0.1.r5-1", groups=("base",))
    upstream.add("extra", "tool", "1-1")
    mirror = arch_mirror(place, "arch", "core", "extra", arch={"layout": {"pool": "pool/packages"}})
    place.sync(mirror)
    server = place.serve()
    result = checked(place, server, mirror)
    assert (result.packages, result.signatures) == (3, 3), result
    # Two names, one content.
    name = "tool-1-1-any.pkg.tar.zst"
    assert ask(server, f"arch/pool/packages/{name}").body == ask(server, f"arch/extra/os/x86_64/{name}").body == (place.upstreams / "arch/pool/packages" / name).read_bytes()
    blobs = [file for file in (place.data / "arch" / "blobs").rglob("*") if file.is_file()]
    assert len(blobs) == 3 + 3 + 4, f"3 packages, 3 signatures, 4 databases: {len(blobs)}"

    pacman = Pacman(place.workdir / "pacman", servers(server, mirror), ring=place.ring)
    pacman.clean("-Sy")
    pacman.clean("-S", "glibc", "c++utils", "tool")
    assert pacman.installed() == {"glibc": "2.38-7", "c++utils": "1:0.1.r5-1", "tool": "1-1"}, pacman.installed()
    pacman.clean("-Fy")
    assert "extra/tool" in pacman.clean("-F", "usr/share/tool")

    upstream.add("extra", "tool", "1-2")
    upstream.remove("core", "c++utils")
    upstream.add("core", "new", "3-1")
    foreseen = place.mirrorfleet("plan", "-f", place.manifest_file(mirror), "--data", place.data)
    assert foreseen.returncode == 0, foreseen.stdout + foreseen.stderr
    place.sync(mirror)
    checked(place, server, mirror)
    pacman.clean("-Syu")
    assert pacman.installed()["tool"] == "1-2"
    pacman.clean("-Sw", "new")
    assert list(pacman.cache.glob("new-3-1-*.zst"))
    # Whoever read the databases before downloads what they name.
    assert ask(server, f"arch/extra/os/x86_64/{name}").status == 200


@story("an unchanged upstream costs two tiny requests and makes no snapshot; the master's sign of life is handed on")
def two_requests_when_nothing_is_new(place: Place) -> None:
    upstream = an_upstream(place)
    upstream.add("core", "one")
    upstream.add("extra", "two")
    mirror = arch_mirror(place, "arch", "core", "extra", arch={"include": {"signatures": False}})
    place.sync(mirror)
    server = place.serve()
    place.wait_until_served(server, mirror)
    before = (place.data / "arch" / "current").read_text()

    def clocks(of: str) -> list[str]:
        if of == "upstream":
            return [(upstream.root / name).read_text() for name in ("lastupdate", "lastsync")]
        return [ask(server, f"arch/{name}").body.decode() for name in ("lastupdate", "lastsync")]

    assert clocks("ours") == clocks("upstream")
    for _ in range(3):
        upstream.beat()
        seen = len(place.requests())
        report = place.sync(mirror).report
        assert report["reason"] == "Unchanged", report
        asked = sorted(place.requests()[seen:])
        assert asked == ["/arch/lastsync", "/arch/lastupdate"], asked
        assert clocks("ours") == clocks("upstream")
    assert (place.data / "arch" / "current").read_text() == before

    # Something that we do not copy is new at the upstream: the clock moves, and no snapshot is made.
    upstream.add("testing", "three")
    assert place.sync(mirror).report["reason"] == "Unchanged"
    assert (place.data / "arch" / "current").read_text() == before
    assert clocks("ours") == clocks("upstream")

    # While one repository is refused, nothing is claimed that is not true of all.
    kept = clocks("ours")
    upstream.add("extra", "four")
    upstream.packages["extra", "four"].file.unlink()
    upstream.add("core", "five")
    refused = place.sync(mirror, expect=2)
    assert refused.reason == "UpstreamIncomplete", refused.text
    assert ask(server, "arch/core/os/x86_64/five-1-1-any.pkg.tar.zst").status == 200
    assert clocks("ours") == kept
    upstream.add("extra", "four")
    place.sync(mirror)
    assert clocks("ours") == clocks("upstream")


@story("signatures that a database holds are files of ours without a request; an upstream without any says so, and the remedy works")
def signatures_in_the_database_and_none_at_all(place: Place) -> None:
    upstream = an_upstream(place, "inline", ring=place.ring, inline=True, suffix="zst")
    upstream.add("core", "one")
    mirror = arch_mirror(place, "inline", "core")
    place.sync(mirror)
    assert not [path for path in place.requests() if path.endswith(".sig")], place.requests()
    server = place.serve()
    checked(place, server, mirror, suffix="zst")
    pacman = Pacman(place.workdir / "pacman", servers(server, mirror), ring=place.ring)
    pacman.clean("-Sy")
    pacman.clean("-S", "one")

    unsigned = an_upstream(place, "unsigned")
    unsigned.add("core", "one")
    mirror = arch_mirror(place, "unsigned", "core")
    refused = place.sync(mirror, expect=2)
    assert refused.reason == "UpstreamIncomplete" and ".sig" in refused.text, refused.text
    mirror = arch_mirror(place, "unsigned", "core", arch={"include": {"signatures": False}})
    place.sync(mirror)
    checked(place, server, mirror, signed=False)


#: Name -> layout, repository, architecture, suffix, clock.
LAYOUTS = {
    "manjaro": ("stable/$repo/$arch", "extra", "x86_64", "gz", False),
    "alarm": ("$arch/$repo", "core", "aarch64", "gz", False),
    "endeavouros": ("$repo/$arch", "endeavouros", "x86_64", "xz", False),
    "chaotic": ("$repo/$arch", "chaotic-aur", "x86_64", "zst", True),
    "cachyos": ("$arch_v3/$repo", "cachyos-v3", "x86_64", "gz", False),
    "archlinuxcn": ("$arch", "archlinuxcn", "x86_64", "gz", False),
    "msys2": ("mingw/$repo", "ucrt64", "x86_64", "zst", False),
    "blackarch": ("$repo/os/$arch", "blackarch", "x86_64", "gz", False),
    "custom": (".", "custom", "x86_64", "bz2", False),
}


@story("layouts of other distributions are one template each: Manjaro, ARM, EndeavourOS, Chaotic, CachyOS, MSYS2, BlackArch, a folder of one's own")
def layouts_of_others(place: Place) -> None:
    mirrors = {}
    for name, (layout, repo, architecture, suffix, clock) in LAYOUTS.items():
        upstream = an_upstream(place, name, layout=layout, architecture=architecture, suffix=suffix, clock=clock, ring=place.ring)
        upstream.add(repo, "one")
        mirrors[name] = arch_mirror(place, name, repo, architectures=(architecture,), arch={"layout": {"path": layout}})
        place.sync(mirrors[name])
        assert place.sync(mirrors[name]).report["reason"] == "Unchanged"
    server = place.serve()
    for name, mirror in mirrors.items():
        layout, repo, architecture, suffix, clock = LAYOUTS[name]
        checked(place, server, mirror, layout=layout, suffix=suffix)
        assert (ask(server, f"{name}/lastupdate").status == 200) == clock, name
        pacman = Pacman(place.workdir / f"pacman-{name}", servers(server, mirror, layout), ring=place.ring, architecture=architecture)
        pacman.clean("-Sy")
        pacman.clean("-Sw", "one")


@story("a database that pacman would refuse is refused with a reason, what was served stays, and it heals by itself")
def bad_databases_are_refused(place: Place) -> None:
    upstream = an_upstream(place, ring=place.ring)
    upstream.add("core", "one")
    mirror = arch_mirror(place, "arch", "core")
    place.sync(mirror)
    server = place.serve()
    pacman = Pacman(place.workdir / "pacman", servers(server, mirror), ring=place.ring)
    pacman.clean("-Sy")
    good = upstream.database("core").read_bytes()
    lies = {
        "cut off": (good[: len(good) // 2], "IndexMalformed"),
        "a page": (b"<html><body>Not Found</body></html>", "IndexMalformed"),
        "a path": (database_of_a_lie(place, "../../../etc/x.pkg.tar.zst"), "UnsafePath"),
    }
    for what, (body, reason) in lies.items():
        upstream.database("core").write_bytes(body)
        upstream.publish()
        refused = place.sync(mirror, expect=3)
        assert refused.reason == reason, f"{what}: {refused.text}"
        pacman.clean("-Syy")
        assert pacman.offered() == {"core/one": "1-1"}, what
    upstream.database("core").write_bytes(good)
    upstream.add("core", "two")
    place.sync(mirror)
    checked(place, server, mirror)
    pacman.clean("-Sy")
    assert set(pacman.offered()) == {"core/one", "core/two"}


def database_of_a_lie(place: Place, file_name: str) -> bytes:
    """A database with one package of this file name."""
    liar = ArchUpstream(place.workdir / "liar")
    liar.add("core", "one")
    unpacked = place.workdir / "liar" / "unpacked"
    unpacked.mkdir()
    run(["bsdtar", "-xf", liar.database("core")], cwd=unpacked)
    desc = unpacked / "one-1-1" / "desc"
    desc.write_text(desc.read_text().replace("one-1-1-any.pkg.tar.zst", file_name))
    run(["bsdtar", "-czf", "lie.db", "one-1-1"], cwd=unpacked)
    return (unpacked / "lie.db").read_bytes()


@story("an exported tree is a mirror: pacman installs from the folder")
def an_export_is_a_mirror(place: Place) -> None:
    upstream = an_upstream(place, pool="pool/packages", ring=place.ring)
    upstream.add("core", "one")
    mirror = arch_mirror(place, "arch", "core", arch={"layout": {"pool": "pool/packages"}})
    place.sync(mirror)
    tree = place.workdir / "tree"
    done = place.mirrorfleet("export", "--data", place.data, "arch", tree)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("lastupdate", "lastsync"):
        assert (tree / name).read_text() == (upstream.root / name).read_text(), name
    # Who copies the tree copies each package once, as of the upstream itself.
    for name in ("one-1-1-any.pkg.tar.zst", "one-1-1-any.pkg.tar.zst.sig"):
        theirs, ours = upstream.folder("core") / name, tree / "core/os/x86_64" / name
        assert ours.readlink() == theirs.readlink() == Path("../../../pool/packages") / name, ours
    copy = place.workdir / "copy"
    run(["rsync", "--archive", f"{tree}/", copy])
    assert (copy / "core/os/x86_64/one-1-1-any.pkg.tar.zst").is_symlink()
    pacman = Pacman(place.workdir / "pacman", {"core": f"file://{copy}/{ARCH}"}, ring=place.ring)
    pacman.clean("-Sy")
    pacman.clean("-S", "one")
    assert place.mirrorfleet("verify", "--data", place.data).returncode == 0


@story("`mirrorfleet init` reads a pacman.conf with its mirrorlist, and what it writes works")
def init_reads_a_pacman_conf(place: Place) -> None:
    upstream = an_upstream(place, ring=place.ring)
    upstream.add("core", "one")
    upstream.add("extra", "two")
    etc = place.workdir / "machine" / "etc"
    (etc / "pacman.d").mkdir(parents=True)
    (etc / "pacman.d" / "mirrorlist").write_text(f"# a comment\nServer = {place.url('arch')}$repo/os/$arch\n")
    sections = "".join(f"[{repo}]\nInclude = /etc/pacman.d/mirrorlist\n" for repo in ("core", "extra"))
    (etc / "pacman.conf").write_text(f"[options]\nArchitecture = x86_64\nSigLevel = Required DatabaseOptional\n{sections}")
    manifests = place.workdir / "manifests.yaml"
    done = place.mirrorfleet("init", "--from", etc / "pacman.conf", "--out", manifests)
    assert done.returncode == 0, done.stderr
    name = "mirror-127-0-0-1"
    done = place.mirrorfleet("sync", "-f", manifests, "--mirror", name, "--data", place.data)
    assert done.returncode == 0, done.stdout + done.stderr
    server = place.serve()
    mirror = ArchMirror(name, place.url("arch"), ("core", "extra"))
    checked(place, server, mirror)


@story("rules leave packages out by name, base and group; clients see them and get 404")
def rules_leave_packages_out(place: Place) -> None:
    upstream = an_upstream(place, ring=place.ring)
    for name in ("wanted", "unwanted"):
        upstream.add("core", name)
    upstream.add("core", "grouped", groups=("gnome",))
    rules = {"packages": {"exclude": [{"name": "un*"}, {"group": "gnome"}]}}
    mirror = arch_mirror(place, "arch", "core", arch=rules)
    place.sync(mirror)
    server = place.serve()
    place.wait_until_served(server, mirror)
    found = {name: ask(server, f"arch/core/os/x86_64/{name}-1-1-any.pkg.tar.zst").status for name in ("wanted", "unwanted", "grouped")}
    assert found == {"wanted": 200, "unwanted": 404, "grouped": 404}, found
    assert ask(server, "arch/core/os/x86_64/unwanted-1-1-any.pkg.tar.zst.sig").status == 404
