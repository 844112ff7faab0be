"""`examples/`: each as it stands, and each against archives of the same layout, whose addresses are all that is replaced in it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from archive import run
from quick_start import blocks

from .apt import Apt
from .arch_upstream import ArchUpstream
from .debian import DebianArchive, Suite
from .pacman import Pacman
from .place import Place, free_port, plain_environment, wait_for_port
from .registry import story

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
KEYRING = re.compile(r"keyringRef: \{kind: (Secret|ConfigMap), name: ([\w-]+), key: ([\w.]+)\}")
#: The address of an authority or an endpoint; `publicUrl` is nobody's to fetch from.
ADDRESS = re.compile(r"\burl: (https?://[^},\s]+)")
ARCHITECTURES = re.compile(r"architectures: \[([^]]+)\]")
UNREACHABLE, MANIFEST_ERROR = 2, 1

DEBIAN = ("main", "contrib", "non-free-firmware")
BOTH = ("amd64", "arm64")
TRIXIE = Suite("trixie", suite="stable", codename="trixie", components=DEBIAN, architectures=BOTH, everything=True)
UPDATES = Suite("trixie-updates", suite="stable-updates", codename="trixie-updates", components=DEBIAN, architectures=BOTH)
SECURITY = Suite("trixie-security", suite="stable-security", codename="trixie-security", components=DEBIAN, architectures=BOTH, says_components=tuple(f"updates/{name}" for name in DEBIAN))
UBUNTU = ("main", "restricted", "universe", "multiverse")
NOBLE, RESOLUTE = (
    [Suite(f"{name}{pocket}", suite=f"{name}{pocket}", codename=name, components=UBUNTU, architectures=architectures, valid_for=None) for pocket in ("", "-updates", "-security")]
    for name, architectures in (("noble", ("amd64",)), ("resolute", ("amd64", "amd64v3")))
)
VENDOR = Suite("stable", suite="stable", codename="stable", by_hash=False, compressions=(".gz",), valid_for=None)
FLAT = Suite("./", by_hash=False, valid_for=None)


@dataclass(frozen=True)
class Behind:
    """What stands behind the addresses of an example: one archive, each of whose suites has a package of its own name."""

    addresses: tuple[str, ...]
    suites: tuple[Suite, ...]
    #: Where clients find it.
    served: str

    @property
    def folder(self) -> str:
        return self.served.replace("/", "-")


KERNEL = "http://mirrors.kernel.org"
MASTER = Behind((f"{KERNEL}/debian/",), (TRIXIE, UPDATES), "debian")
#: The same with as little in it as the examples ask for that say no more.
LIGHT = dataclasses.replace(MASTER, suites=tuple(dataclasses.replace(suite, components=("main",), architectures=("amd64",), everything=False) for suite in MASTER.suites))
#: By the name of the file; those in a folder are told as one story.
TRIED: dict[str, tuple[Behind, ...]] = {
    "debian.yaml": (MASTER,),
    "debian-with-security.yaml": (MASTER, Behind((f"{KERNEL}/debian-security/",), (SECURITY,), "debian-security")),
    "regions.yaml": (dataclasses.replace(MASTER, addresses=(f"{KERNEL}/debian/", "http://debian.example.org/debian/")),),
    "following.yaml": (MASTER,),
    "ubuntu.yaml": (Behind((f"{KERNEL}/ubuntu/",), (*NOBLE, *RESOLUTE), "ubuntu"),),
    "third-party.yaml": (Behind(("https://packages.example.org/apt/",), (VENDOR,), "vendors/vendor"),),
    "flat.yaml": (Behind(("https://packages.example.org/flat/",), (FLAT,), "flat"),),
}
AIR_GAP = ("air-gap/outer.yaml", "air-gap/inner.yaml")
ARCH = "arch.yaml"


def package_of(suite: Suite) -> str:
    return "agent-flat" if suite.flat else f"agent-{suite.name}"


def publish(place: Place, behind: Behind) -> DebianArchive:
    archive = DebianArchive(place.upstreams / behind.folder, place.signers)
    for suite in behind.suites:
        for architecture in suite.architectures:
            archive.add(suite, package_of(suite), architecture=architecture, kilobytes=1)
        if suite.everything:
            archive.add(suite, "agent-dbgsym", section="debug", kilobytes=1)
            for component in suite.components[1:]:
                archive.add(suite, f"agent-{component}", component=component, kilobytes=1)
    # What a rule leaves out for us: apt sees its name.
    archive.add(behind.suites[0], "other", kilobytes=1)
    for suite in behind.suites:
        archive.publish(suite)
    return archive


def manifests(place: Place, name: str, *behind: Behind, addresses: dict[str, str] | None = None) -> Path:
    """The example with our addresses in it, and the keyrings that it names."""
    ours = {address: place.url(each.folder) for each in behind for address in each.addresses} | (addresses or {})
    return manifest_file(place, name, ours)


def manifest_file(place: Place, name: str, ours: dict[str, str]) -> Path:
    """The example with our addresses in the place of its own."""
    text = (EXAMPLES / name).read_text()
    named = set(ADDRESS.findall(text))
    assert named == set(ours), f"{name} names {named}, and we have archives for {set(ours)}"
    text = ADDRESS.sub(lambda match: f"url: {ours[match[1]]}", text)
    file = place.workdir / Path(name).name
    file.write_text("\n---\n".join([text, *map(json.dumps, keyrings(text, place.keyring))]))
    return file


def keyrings(text: str, armoured: str) -> list[dict]:
    found = sorted(set(KEYRING.findall(text)))
    assert found or "trust: {signatures: None}" in text, "the example names no keyring"
    return [{"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "stringData" if kind == "Secret" else "data": {key: armoured}} for kind, name, key in found]


def once(place: Place, file: Path, data: Path) -> str:
    done = place.mirrorfleet("local", "-f", file, "--data", data, "--once")
    assert done.returncode == 0, f"{file.name} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def mirrored(place: Place, name: str) -> None:
    """The example's copy is made, and an apt installs each suite's package from it."""
    behind = TRIED[name]
    place.data = place.workdir / f"data-{Path(name).stem}"
    once(place, manifests(place, name, *behind), place.data)
    server = place.serve()
    text = (EXAMPLES / name).read_text()
    declared = ARCHITECTURES.search(text)
    architectures = declared[1].split(", ") if declared else ["amd64"]
    sources, wanted = [], []
    for each in behind:
        for suite in each.suites:
            if not re.search(rf"[\[ ]{re.escape(suite.name)}[],]", text):
                continue
            sources.append(f"deb {server.url(each.served)} {suite.name} {'' if suite.flat else suite.components[0]}".strip())
            wanted += [f"{package_of(suite)}:{architecture}" for architecture in suite.architectures if architecture in architectures]
    apt = Apt(place.workdir / f"apt-{Path(name).stem}", place.keyring, *sources, APT__Architectures=",".join(architectures))
    apt.update()
    for wish in wanted:
        apt.clean("apt-get", "download", wish, cwd=apt.archives)
    assert len(list(apt.archives.glob("*.deb"))) == len(wanted) > 0, f"{name}: {wanted}"


@story("the quick start on one machine: its commands as they stand there, but for apt's folder, the port and the place of the data")
def the_quick_start(place: Place) -> None:
    publish(place, LIGHT)
    etc = place.workdir / "etc-apt"
    (etc / "sources.list.d").mkdir(parents=True)
    (etc / "archive.asc").write_text(place.keyring)
    (etc / "sources.list.d" / "debian.list").write_text(
        "".join(f"deb [signed-by={etc}/archive.asc arch=amd64] {place.url('debian')} {suite.name} main\n" for suite in LIGHT.suites)
    )
    programs = place.workdir / "bin"
    programs.mkdir()
    script = f'#!/bin/sh\n[ "$1" != init ] || set -- "$@" --from {etc}\nexec {place.binary} "$@"\n'
    # Not by us: a child of the story beside this one would have it open for writing for a moment, and nobody could run it.
    run(["install", "-m", "755", "/dev/stdin", programs / "mirrorfleet"], input=script)
    port = free_port()
    environment = {**plain_environment(), "PATH": f"{programs}:{os.environ['PATH']}"}
    *before, (_, serve) = blocks("On one machine")
    assert len(before) == 2 and "0.0.0.0:8080" in serve, before
    for _, block in before:
        run(["bash", "-euo", "pipefail", "-c", block.replace("/srv/mirror", str(place.data))], cwd=place.workdir, env=environment)
    served = re.search(r"^# Served under /(\S+)/", (place.workdir / "mirrors.yaml").read_text(), re.MULTILINE)[1]
    command = serve.replace("/srv/mirror", str(place.data)).replace("8080", str(port)).replace("mirrors.yaml", str(place.workdir / "mirrors.yaml"))
    place.start("quick-start", ["bash", "-c", f"exec {command.replace('mirrorfleet', str(place.binary), 1)}"])
    wait_for_port(port)
    apt = Apt(place.workdir / "apt", place.keyring, f"deb http://localhost:{port}/{served} {UPDATES.name} main")
    apt.install_from(package_of(UPDATES))


@story("examples of Debian: the quick start, with security and a second name, three regions of two endpoints, and three that follow each other")
def the_examples_of_debian(place: Place) -> None:
    for behind in TRIED["debian-with-security.yaml"]:
        publish(place, behind)
    for name in ("debian.yaml", "regions.yaml", "following.yaml", "debian-with-security.yaml"):
        mirrored(place, name)
    server = place.serve()
    apt = Apt(place.workdir / "apt-stable", place.keyring, f"deb {server.url('debian')} stable main")
    apt.install_from(package_of(TRIXIE))
    refused = apt.run("apt-get", "download", "agent-dbgsym", cwd=apt.archives)
    assert refused.returncode != 0 and "404" in refused.stderr, "a package that the example leaves out was served"


@story("the example of Ubuntu: noble and resolute, amd64 and amd64v3, which noble does not have")
def the_example_of_ubuntu(place: Place) -> None:
    [behind] = TRIED["ubuntu.yaml"]
    publish(place, behind)
    mirrored(place, "ubuntu.yaml")


@story("examples of other people's repositories: one with few of its packages, and a flat one")
def the_examples_of_other_repositories(place: Place) -> None:
    for name in ("third-party.yaml", "flat.yaml"):
        publish(place, *TRIED[name])
        mirrored(place, name)
    assert not (place.upstreams / "flat" / "dists").exists(), "a flat repository has no dists"


@story("the example of Arch Linux: two mirrors of one archive, its pool, and a pacman that installs from the copy")
def the_example_of_arch(place: Place) -> None:
    upstream = ArchUpstream(place.upstreams / "arch", pool="pool/packages", ring=place.ring)
    for repo in ("core", "extra", "multilib"):
        upstream.add(repo, f"tool-{repo}")
    upstream.add("extra", "tool-docs")
    (place.upstreams / "mirror").symlink_to("arch")
    addresses = {"https://mirrors.kernel.org/archlinux/": place.url("arch"), "https://mirror.example.org/archlinux/": place.url("mirror")}
    once(place, manifest_file(place, ARCH, addresses), place.data)
    server = place.serve()
    servers = {repo: server.url("arch/$repo/os/$arch") for repo in ("core", "extra", "multilib")}
    pacman = Pacman(place.workdir / "pacman", servers, ring=place.ring)
    pacman.clean("-Sy")
    pacman.clean("-S", *(f"tool-{repo}" for repo in servers))
    refused = pacman.run("-Sw", "tool-docs")
    assert refused.returncode != 0 and "404" in refused.stdout + refused.stderr, "a package that the example leaves out was served"


@story("across an air gap: exported outside, carried, and the carried tree is the inner upstream, by http and by its path")
def the_example_of_an_air_gap(place: Place) -> None:
    archive = publish(place, LIGHT)
    outer_data, inner_data = place.workdir / "outer", place.workdir / "inner"
    outer = manifests(place, AIR_GAP[0], LIGHT)
    by_http = {"http://carried.example.org/debian/": place.url("carried")}
    for round_ in range(2):
        once(place, outer, outer_data)
        exported = place.mirrorfleet("export", "--data", outer_data, "debian", place.workdir / "export")
        assert exported.returncode == 0, exported.stderr
        carried = place.upstreams / "carried"
        shutil.rmtree(carried, ignore_errors=True)
        shutil.copytree(place.workdir / "export", carried, symlinks=True)
        said = once(place, manifests(place, AIR_GAP[1], addresses=by_http), inner_data)
        if round_ == 0:
            archive.add(LIGHT.suites[0], "later", kilobytes=1)
            archive.publish(LIGHT.suites[0])
    fetched = [path for path in place.requests() if path.startswith("/carried/pool/")]
    assert len(fetched) == len(set(fetched)), f"what was carried before is fetched again: {fetched}\n{said}"

    # The same tree by its path: another authority, so another store.
    by_path = {"http://carried.example.org/debian/": f"file://{carried}/"}
    place.data = place.workdir / "by-path"
    once(place, manifests(place, AIR_GAP[1], addresses=by_path), place.data)
    for data in (inner_data, place.data):
        place.data = data
        server = place.serve()
        apt = Apt(place.workdir / f"apt-{data.name}", place.keyring, *(f"deb {server.url('debian')} {suite.name} main" for suite in LIGHT.suites))
        for package in ("later", *map(package_of, LIGHT.suites)):
            apt.install_from(package)


@story("every example is a manifest as it stands, is tried by a story, and has no field that is unknown")
def every_example_is_a_manifest(place: Place) -> None:
    found = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.yaml")}
    assert found == {*TRIED, *AIR_GAP, ARCH}, "each example needs archives behind it"
    for name in found:
        assert f"]({name})" in (EXAMPLES / "README.md").read_text(), f"examples/README.md does not name {name}"
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: is_a_manifest(place, name), found))


def is_a_manifest(place: Place, name: str) -> None:
    text = (EXAMPLES / name).read_text()
    whole = "\n---\n".join([text, *map(json.dumps, keyrings(text, place.keyring))])
    # Nobody's port: what is asked for outside of this machine is asked for there.
    nowhere = plain_environment() | {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    for manifest, code in ((whole, UNREACHABLE), (whole.replace("upstreamRef:", "upstreamReff:"), MANIFEST_ERROR)):
        with tempfile.TemporaryDirectory() as data:
            command = [place.binary, "plan", "-f", "-", "--data", data]
            done = subprocess.run(command, input=manifest, capture_output=True, text=True, env=nowhere)
        assert done.returncode == code, f"{name} ended with {done.returncode} instead of {code}:\n{done.stdout}{done.stderr}"
