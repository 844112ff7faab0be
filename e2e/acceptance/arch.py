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


def begun(place: Place, source: Path) -> tuple[str, Path, str]:
    """What `init` makes of it, synced: the Mirror's name, the manifests, and what `init` said."""
    name, manifests = "mirror-127-0-0-1", place.workdir / "manifests.yaml"
    made = place.mirrorfleet("init", "--from", source, "--out", manifests)
    assert made.returncode == 0, made.stderr
    done = place.mirrorfleet("sync", "-f", manifests, "--mirror", name, "--data", place.data)
    assert done.returncode == 0, done.stdout + done.stderr
    return name, manifests, made.stdout + made.stderr


def checked(place: Place, server: Server, mirror: ArchMirror, *, layout: str = ARCH, signed: bool = True, **more) -> ArchResult:
    """Zero misses by the independent checker, and something that it checked."""
    place.wait_until_served(server, mirror)
    folders = {repo: path.replace("$repo", repo).replace("$arch", mirror.architectures[0]) for repo, path in laid_out(mirror, layout).items()}
    result = check(server.url(f"{mirror.path}/"), folders, signed=signed, **more)
    assert not result.misses, "\n".join(result.misses[:20])
    assert result.packages, f"{mirror.name}: the checker found nothing that a database names"
    return result


def laid_out(mirror: ArchMirror, layout: str) -> dict[str, str]:
    """The folder of each repository, with words to fill in."""
    own = {path["repo"]: path["path"] for path in mirror.arch.get("layout", {}).get("paths", ())}
    return {repo: own.get(repo, layout) for repo in mirror.repos}


def servers(server: Server, mirror: ArchMirror, layout: str = ARCH) -> dict[str, str]:
    return {repo: server.url(f"{mirror.path}/{path}".replace("/./", "/").removesuffix("/.")) for repo, path in laid_out(mirror, layout).items()}


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


@dataclass(frozen=True)
class Layout:
    """How somebody else lays repositories out, and makes databases."""

    path: str
    repos: tuple[str, ...]
    architecture: str = "x86_64"
    suffix: str = "gz"
    clock: bool = False
    #: Of repositories that lie elsewhere.
    paths: dict[str, str] = field(default_factory=dict)
    #: Whether clients ask for signatures of databases.
    signed: bool = False

    def declared(self) -> dict:
        paths = [{"repo": repo, "path": path} for repo, path in self.paths.items()]
        return {"layout": {"path": self.path, **({"paths": paths} if paths else {})}}


LAYOUTS = {
    "manjaro": Layout("stable/$repo/$arch", ("extra",)),
    "alarm": Layout("$arch/$repo", ("core",), architecture="aarch64"),
    "endeavouros": Layout("$repo/$arch", ("endeavouros",), suffix="xz"),
    "chaotic": Layout("$repo/$arch", ("chaotic-aur",), suffix="zst", clock=True),
    "cachyos": Layout("$arch_v3/$repo", ("cachyos-v3", "cachyos"), paths={"cachyos": "$arch/$repo"}),
    "cachyos-v4": Layout("$arch_v4/$repo", ("cachyos-v4",), signed=True),
    "archlinuxcn": Layout("$arch", ("archlinuxcn",)),
    "msys2": Layout("mingw/$repo", ("ucrt64", "msys"), suffix="zst", paths={"msys": "msys/$arch"}, signed=True),
    "blackarch": Layout("$repo/os/$arch", ("blackarch",)),
    "custom": Layout(".", ("custom",), suffix="bz2"),
}


@story("layouts of other distributions are one template each: Manjaro, ARM, EndeavourOS, Chaotic, CachyOS, MSYS2, BlackArch, a folder of one's own")
def layouts_of_others(place: Place) -> None:
    mirrors = {}
    for name, layout in LAYOUTS.items():
        made = {"layout": layout.path, "paths": layout.paths, "suffix": layout.suffix, "clock": layout.clock, "signs_databases": layout.signed}
        upstream = an_upstream(place, name, architecture=layout.architecture, ring=place.ring, **made)
        for repo in layout.repos:
            upstream.add(repo, f"one-{repo}")
        keys = {"own.gpg": place.ring.public("archive")} if layout.signed else {}
        judged = {"keyringRef": {"kind": "ConfigMap", "name": "keys", "key": "own.gpg"}, "databases": "Required"}
        trust = {"trust": judged, "keys": keys} if layout.signed else {}
        mirrors[name] = arch_mirror(place, name, *layout.repos, architectures=(layout.architecture,), arch=layout.declared(), **trust)
        place.sync(mirrors[name])
        assert place.sync(mirrors[name]).report["reason"] == "Unchanged"
    server = place.serve()
    for name, mirror in mirrors.items():
        layout = LAYOUTS[name]
        result = checked(place, server, mirror, layout=layout.path, suffix=layout.suffix)
        assert result.packages == len(layout.repos), f"{name}: {result}"
        assert (ask(server, f"{name}/lastupdate").status == 200) == layout.clock, name
        level = "Required" if layout.signed else ""
        pacman = Pacman(place.workdir / f"pacman-{name}", servers(server, mirror, layout.path), ring=place.ring, architecture=layout.architecture, level=level)
        pacman.clean("-Sy")
        pacman.clean("-Sw", *(f"one-{repo}" for repo in layout.repos))


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
