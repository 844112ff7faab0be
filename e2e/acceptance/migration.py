"""Moving over from another tool: its tree is an endpoint of first priority, so that nothing that is on the disk comes from afar again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from archive import run

from .apt import Apt
from .debian import DebianArchive, Suite
from .place import Mirror, Place, plain_environment
from .registry import story

SUITE = Suite("trixie", suite="stable", codename="trixie")
PACKAGES = ["one", "two", "three", "four"]
#: Makes the tool's tree below a folder, and says where in it an archive has its root.
Tool = Callable[[Place, Path], Path]


def with_apt_mirror(place: Place, folder: Path) -> Path:
    """At the top of the server: with both a port and a path in an address, apt-mirror looks for its files where it has not put them."""
    for part in ("dists", "pool"):
        (place.upstreams / part).symlink_to(Path("debian") / part)
    top = place.url("debian").removesuffix("/debian/")
    config = place.workdir / "mirror.list"
    config.write_text(f"set base_path {folder}\nset nthreads 4\nset defaultarch amd64\nset run_postmirror 0\nset _tilde 0\ndeb {top} {SUITE.name} main\n")
    run(["apt-mirror", config], env=plain_environment())
    return folder / "mirror" / top.removeprefix("http://")


def with_debmirror(place: Place, folder: Path) -> Path:
    host = place.url("debian").removeprefix("http://").partition("/")[0]
    keyring = place.ring.export(place.workdir / "keyring.gpg", "archive")
    run([
        "debmirror", folder, "--method=http", f"--host={host}", "--root=/debian", f"--dist={SUITE.name}", "--section=main", "--arch=amd64",
        "--nosource", "--diff=none", "--rsync-extra=none", f"--keyring={keyring}",
    ], env=plain_environment())  # fmt: skip
    return folder


def with_ftpsync(place: Place, folder: Path) -> Path:
    """As ftpsync does it, in two stages and with its trace; the script itself wants a machine that sends mail."""
    first = ["--exclude=/dists/**/[IR]*Release*", "--exclude=/dists/**/Packages*"]
    for stage in (first, []):
        run(["rsync", "--archive", "--delay-updates", *stage, f"{place.upstreams / 'debian'}/", folder])
    trace = folder / "project" / "trace" / "mirror.example.org"
    trace.parent.mkdir(parents=True)
    trace.write_text("Fri Nov 27 10:00:00 UTC 2026\nUsed ftpsync version: 20180513\n")
    return folder


def with_aptly(place: Place, folder: Path) -> Path:
    """What aptly publishes has a Release of aptly's own; the pool below it is laid out as Debian's."""
    config = place.workdir / "aptly.json"
    config.write_text(json.dumps({"rootDir": str(folder), "architectures": ["amd64"], "gpgProvider": "gpg"}))
    keyring = f"-keyring={place.ring.export(place.workdir / 'keyring.gpg', 'archive')}"
    for command in (
        ["mirror", "create", keyring, "debian", place.url("debian"), SUITE.name, "main"],
        ["mirror", "update", keyring, "debian"],
        ["snapshot", "create", "today", "from", "mirror", "debian"],
        ["publish", "snapshot", "-skip-signing", f"-distribution={SUITE.name}", "today"],
    ):
        run(["aptly", f"-config={config}", *command], env=plain_environment())
    return folder / "public"


def beside(mirror: Mirror, tree: Path, upstream: str) -> list[dict]:
    """The manifests with the tree as the first endpoint."""
    secret, kind, spec = mirror.manifests()
    kind["spec"]["endpoints"] = [{"name": "disk", "url": f"file://{tree}/", "priority": 0}, {"name": "upstream", "url": upstream, "priority": 10}]
    return [secret, kind, spec]


def moved_over(place: Place, tool: Tool, *, damage: bool = False) -> str:
    """The tree is made; time goes by; we take it up. Nothing but metadata, what is new, and what is damaged comes by http."""
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    archive.add_many(SUITE, PACKAGES, kilobytes=1)
    archive.publish(SUITE)
    tree = tool(place, place.workdir / "tree")
    on_disk = {path.name: path for path in (tree / "pool").rglob("*.deb")}
    assert len(on_disk) == len(PACKAGES), f"the tool has copied {sorted(on_disk)}"
    archive.add(SUITE, "new", kilobytes=1)
    archive.publish(SUITE)
    expected = {"new_1.0_amd64.deb"}
    if damage:
        harmed = on_disk["two_1.0_amd64.deb"]
        content = harmed.read_bytes()
        harmed.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        expected.add(harmed.name)

    mirror = place.mirror("debian", "debian", (SUITE.name,))
    before = len(place.requests())
    said = once(place, beside(mirror, tree, place.url("debian")))
    assert fetched(place, before) == expected, f"by http came {fetched(place, before)}"
    server = place.serve()
    place.check(server, mirror)
    apt = Apt(place.workdir / "apt", place.keyring, f"deb {server.url('debian')} {SUITE.name} main")
    for package in ("one", "new"):
        apt.install_from(package)

    # The tree can go.
    before = len(place.requests())
    once(place, mirror.manifests())
    assert place.requests()[before:] == [f"/debian/dists/{SUITE.name}/InRelease"]
    return said


def once(place: Place, documents: list[dict]) -> str:
    file = place.workdir / "manifests.yaml"
    file.write_text("\n---\n".join(map(json.dumps, documents)))
    done = place.mirrorfleet("local", "-f", file, "--data", place.data, "--once")
    assert done.returncode == 0, f"the run ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def fetched(place: Place, since: int) -> set[str]:
    """What else than metadata was asked for."""
    asked = [path for path in place.requests()[since:] if not path.startswith("/debian/dists/")]
    assert len(asked) == len(set(asked)), f"asked for more than once: {asked}"
    return {Path(path).name for path in asked}


@story("moving over from apt-mirror: its tree is the first endpoint, only what is new and what is damaged there comes by http")
def moving_over_from_apt_mirror(place: Place) -> None:
    moved_over(place, with_apt_mirror, damage=True)


@story("moving over from debmirror")
def moving_over_from_debmirror(place: Place) -> None:
    moved_over(place, with_debmirror)


@story("moving over from ftpsync")
def moving_over_from_ftpsync(place: Place) -> None:
    moved_over(place, with_ftpsync)


@story("moving over from aptly: what it published is signed by nobody we know, and its files are taken all the same")
def moving_over_from_aptly(place: Place) -> None:
    said = moved_over(place, with_aptly)
    assert "endpoint disk is passed over" in said, said
