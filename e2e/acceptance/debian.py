"""A Debian archive with everything that archives hold, made by the distribution's own tools.

`archive.py` makes the small ones for scenarios on the cluster; here are suites with sources, translations, Contents,
AppStream data, installer images, differences between indices, and the ways in which other repositories differ from
Debian's.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import shutil
import subprocess
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from archive import run

from .keys import Signers

BY_HASH = {"MD5Sum": "md5", "SHA1": "sha1", "SHA256": "sha256", "SHA512": "sha512"}
#: What apt-ftparchive does not list by itself.
ALSO_LISTED = ("Translation-*", "Commands-*", "SHA256SUMS", "MD5SUMS")
TOOL_CALLS_AT_ONCE = 4
#: apt and we bear ten.
MOST_SECONDS_AHEAD = 5


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    architecture: str
    component: str
    file: Path
    #: As apt-ftparchive describes it.
    stanza: str
    udeb: bool = False


@dataclass(frozen=True)
class Suite:
    """One suite as its owner set it up."""

    #: Below dists/; ends in / for a flat repository, whose folder it is.
    name: str
    suite: str = ""
    codename: str = ""
    components: tuple[str, ...] = ("main",)
    #: What the Release says instead: bookworm-security says updates/main and keeps its files below main/.
    says_components: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ("amd64",)
    by_hash: bool = True
    compressions: tuple[str, ...] = (".gz", ".xz")
    #: Whether the uncompressed index, which is listed, is served too.
    plain: bool = False
    in_release: bool = True
    release_gpg: bool = True
    #: Sources, translations, Contents, AppStream data, command-not-found data, installer.
    everything: bool = False
    #: How many differences to earlier indices are kept; no differences without any.
    pdiffs: int = 0
    valid_for: timedelta | None = timedelta(days=7)

    @property
    def flat(self) -> bool:
        return self.name.endswith("/")


@dataclass
class Differences:
    """The last text of an index, and the patches that lead to it."""

    text: bytes = b""
    #: Name, digest and size of the text before, patch.
    patches: list[tuple[str, bytes, bytes]] = field(default_factory=list)


class DebianArchive:
    """Suites that share one pool below `root`."""

    def __init__(self, root: Path, signers: Signers) -> None:
        self.root = root
        self.signers = signers
        root.mkdir(parents=True, exist_ok=True)
        self.packages: dict[str, list[Package]] = {}
        self._sources: dict[str, dict[str, str]] = {}
        self._differences: dict[tuple[str, str], Differences] = {}
        self._dates: dict[str, datetime] = {}

    # What it holds

    def add(
        self, suite: Suite, name: str, version: str = "1.0", *, architecture: str = "amd64", component: str = "main",
        section: str = "misc", priority: str = "optional", udeb: bool = False, file_name: str = "", kilobytes: int = 2,
    ) -> Package:
        """Builds a package into the pool; in the suite it takes the place of other versions."""
        extension = "udeb" if udeb else "deb"
        folder = Path(suite.name) if suite.flat else Path("pool") / component / name[0] / name
        relative = folder / (file_name or f"{name}_{version.partition(':')[2] or version}_{architecture}.{extension}")
        file = self.root / relative
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            build(file, name, version, architecture, section, priority, kilobytes)
        stanza = run(["apt-ftparchive", "packages", relative if not suite.flat else f"./{relative}"], cwd=self.root)
        package = Package(name, version, architecture, component, file, stanza, udeb)
        listed = self.packages.setdefault(suite.name, [])
        listed[:] = [other for other in listed if (other.name, other.architecture) != (name, architecture)] + [package]
        return package

    def add_many(self, suite: Suite, names: list[str], **options) -> None:
        with ThreadPoolExecutor(TOOL_CALLS_AT_ONCE) as pool:
            list(pool.map(lambda name: self.add(suite, name, **options), names))

    def take_over(self, suite: Suite, package: Package) -> None:
        """The same file in another suite."""
        self.packages.setdefault(suite.name, []).append(package)

    def remove(self, suite: Suite, name: str) -> Package:
        """Out of the suite; the file stays in the pool."""
        listed = self.packages[suite.name]
        gone = next(package for package in listed if package.name == name)
        listed.remove(gone)
        return gone

    def add_source(self, suite: Suite, name: str, version: str = "1.0") -> None:
        """A source package of three files, by dpkg-source."""
        folder = self.root / "pool" / "main" / name[0] / name
        build_source(folder, name, version)
        self._sources.setdefault(suite.name, {})[name] = run(["apt-ftparchive", "sources", folder.relative_to(self.root)], cwd=self.root)

    # Publishing

    def publish(self, suite: Suite, signers: Signers | None = None) -> None:
        """Makes the suite's indices anew and signs them; served in one step."""
        date = self._next_date(suite)
        current = self.folder(suite)
        if suite.flat:
            fresh = current
            fresh.mkdir(parents=True, exist_ok=True)
            self._write_index(fresh, "Packages", self._text(suite, lambda _: True), suite)
        else:
            fresh = current.parent / f".{current.name}-{time.monotonic_ns()}"
            for component in suite.components:
                self._component(suite, fresh, component, date)
        self._release(suite, fresh, date)
        if suite.by_hash:
            by_hash(fresh, current)
        if not suite.plain:
            # As Debian does: listed, so that clients know the digest of what they unpack, and not served.
            for packed in [*fresh.rglob("*.gz"), *fresh.rglob("*.xz")]:
                packed.with_suffix("").unlink(missing_ok=True)
        (signers or self.signers).sign(fresh / "Release", inline=suite.in_release, detached=suite.release_gpg)
        if not suite.release_gpg:
            (fresh / "Release").unlink()
        if not suite.flat:
            switch(current, fresh)

    def folder(self, suite: Suite) -> Path:
        return self.root / suite.name if suite.flat else self.root / "dists" / suite.name

    def _next_date(self, suite: Suite) -> datetime:
        """Now, but never the second of the state before: two states of one date are an equivocation."""
        earliest = self._dates.get(suite.name, datetime.min.replace(tzinfo=UTC)) + timedelta(seconds=1)
        date = max(datetime.now(UTC).replace(microsecond=0), earliest)
        self._dates[suite.name] = date
        # Publishing more often than once a second runs ahead of the clock; a date too far in the future is refused.
        time.sleep(max(0.0, (date - datetime.now(UTC)).total_seconds() - MOST_SECONDS_AHEAD))
        return date

    def _component(self, suite: Suite, fresh: Path, component: str, date: datetime) -> None:
        folder = fresh / component
        for architecture in suite.architectures:
            def is_here(package: Package, architecture: str = architecture) -> bool:
                return package.component == component and package.architecture in (architecture, "all") and not package.udeb

            text = self._text(suite, is_here)
            binary = folder / f"binary-{architecture}"
            self._write_index(binary, "Packages", text, suite)
            (binary / "Release").write_text(f"Archive: {suite.suite}\nComponent: {component}\nArchitecture: {architecture}\n")
            if suite.pdiffs:
                self._difference(suite, f"{component}/binary-{architecture}/Packages", text.encode(), binary / "Packages.diff", date)
            if suite.everything:
                self._extras_of_architecture(suite, folder, component, architecture)
        if suite.everything:
            self._extras(suite, folder)

    def _text(self, suite: Suite, wanted) -> str:
        chosen = sorted((p for p in self.packages.get(suite.name, []) if wanted(p)), key=lambda package: package.name)
        return "".join(package.stanza for package in chosen)

    def _write_index(self, folder: Path, name: str, text: str, suite: Suite) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / name, text.encode())
        for suffix in suite.compressions:
            pack = {".gz": lambda data: gzip.compress(data, mtime=0), ".xz": lzma.compress}[suffix]
            write(folder / f"{name}{suffix}", pack(text.encode()))

    def _extras_of_architecture(self, suite: Suite, folder: Path, component: str, architecture: str) -> None:
        contents = run(["apt-ftparchive", "-a", architecture, "contents", f"pool/{component}"], cwd=self.root)
        self._write_index(folder, f"Contents-{architecture}", contents, suite)
        self._write_index(folder / "cnf", f"Commands-{architecture}", f"suite: {suite.suite}\ncomponent: {component}\narch: {architecture}\n", suite)
        self._write_index(folder / "dep11", f"Components-{architecture}.yml", "---\nFile: DEP-11\nVersion: '1.0'\n", suite)
        udebs = self._text(suite, lambda package: package.udeb and package.architecture == architecture)
        self._write_index(folder / "debian-installer" / f"binary-{architecture}", "Packages", udebs, suite)
        installer(folder / f"installer-{architecture}" / "current" / "images", architecture)

    def _extras(self, suite: Suite, folder: Path) -> None:
        self._write_index(folder / "source", "Sources", "".join(self._sources.get(suite.name, {}).values()), suite)
        for language in ("en", "de"):
            entries = [f"Package: {p.name}\nDescription-md5: {'0' * 32}\nDescription-{language}: {p.name}\n\n" for p in self.packages[suite.name]]
            self._write_index(folder / "i18n", f"Translation-{language}", "".join(entries), suite)
        for size in ("48x48", "64x64"):
            write(folder / "dep11" / f"icons-{size}.tar.gz", icons(size))

    def _difference(self, suite: Suite, stem: str, text: bytes, folder: Path, date: datetime) -> None:
        """`Packages.diff/Index` and its patches, as dak writes them."""
        known = self._differences.setdefault((suite.name, stem), Differences(text))
        if text != known.text:
            known.patches.append((date.strftime("%Y-%m-%d-%H%M.%S"), known.text, ed_script(known.text, text)))
            known.text = text
        known.patches = known.patches[-suite.pdiffs :]
        if not known.patches:
            return
        folder.mkdir()
        packed = {name: gzip.compress(patch, mtime=0) for name, _, patch in known.patches}
        for name, body in packed.items():
            write(folder / f"{name}.gz", body)
        lines = [f"Canonical-Path: dists/{suite.codename or suite.name}/{stem}"]
        for field_name, algorithm in (("SHA1", "sha1"), ("SHA256", "sha256")):
            line = lambda data, name: f" {hashlib.new(algorithm, data).hexdigest()} {len(data)} {name}".rstrip()  # noqa: B023, E731
            lines += [f"{field_name}-Current:{line(text, '')}"]
            lines += [f"{field_name}-History:", *(line(before, name) for name, before, _ in known.patches)]
            lines += [f"{field_name}-Patches:", *(line(patch, name) for name, _, patch in known.patches)]
            lines += [f"{field_name}-Download:", *(line(packed[name], f"{name}.gz") for name, _, _ in known.patches)]
        (folder / "Index").write_text("\n".join(lines) + "\n")

    # The Release and its signatures

    def _release(self, suite: Suite, fresh: Path, date: datetime) -> None:
        for stale in ("InRelease", "Release", "Release.gpg"):
            (fresh / stale).unlink(missing_ok=True)
        fields = {
            "Origin": "mirrorfleet tests", "Suite": suite.suite, "Codename": suite.codename,
            "Architectures": " ".join(suite.architectures), "Components": " ".join(suite.says_components or suite.components),
        }  # fmt: skip
        if suite.flat:
            fields = {"Origin": "mirrorfleet tests", "Suite": suite.suite}
        options = [f"-oAPT::FTPArchive::Release::{name}={value}" for name, value in fields.items() if value]
        options += [f"-oAPT::FTPArchive::Release::Patterns::={pattern}" for pattern in ALSO_LISTED]
        text = run(["apt-ftparchive", *options, "release", "."], cwd=fresh)
        own = ("Date:", "Valid-Until:")
        # A flat repository's own Release would be listed, as it was a moment ago.
        lines = [line for line in text.splitlines() if not line.startswith(own) and "by-hash/" not in line and not line.endswith((" Release", " InRelease"))]
        stamp = "%a, %d %b %Y %H:%M:%S UTC"
        head = [f"Date: {date.strftime(stamp)}", f"Acquire-By-Hash: {'yes' if suite.by_hash else 'no'}"]
        if suite.valid_for:
            head.append(f"Valid-Until: {(date + suite.valid_for).strftime(stamp)}")
        (fresh / "Release").write_text("\n".join(head + lines) + "\n")


# Files


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def build(target: Path, name: str, version: str, architecture: str, section: str, priority: str, kilobytes: int) -> None:
    """A .deb or .udeb whose content depends on its name and version alone."""
    work = target.parent / f".{target.name}.build"
    shutil.rmtree(work, ignore_errors=True)
    (work / "DEBIAN").mkdir(parents=True)
    (work / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nSection: {section}\nPriority: {priority}\n"
        "Maintainer: mirrorfleet tests <tests@example.org>\nDescription: a package for tests\n"
    )
    share = work / "usr" / "share" / name
    share.mkdir(parents=True)
    share.joinpath("content").write_bytes(
        b"".join(hashlib.sha512(f"{name} {version} {block}".encode()).digest() for block in range(kilobytes * 16))
    )
    run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", work, target], env={"SOURCE_DATE_EPOCH": "1700000000"})
    shutil.rmtree(work)


def build_source(folder: Path, name: str, version: str) -> None:
    tree = folder / f"{name}-{version}"
    (tree / "debian" / "source").mkdir(parents=True)
    (tree / "readme").write_text(f"{name} {version}\n")
    run(["tar", "-czf", f"{name}_{version}.orig.tar.gz", "--exclude=debian", tree.name], cwd=folder)
    debian = tree / "debian"
    (debian / "source" / "format").write_text("3.0 (quilt)\n")
    (debian / "control").write_text(
        f"Source: {name}\nSection: misc\nPriority: optional\nMaintainer: mirrorfleet tests <tests@example.org>\n"
        f"Standards-Version: 4.6.2\n\nPackage: {name}\nArchitecture: all\nDescription: a package for tests\n of sources\n"
    )
    (debian / "changelog").write_text(
        f"{name} ({version}-1) unstable; urgency=medium\n\n  * For tests.\n\n -- mirrorfleet tests <tests@example.org>  Mon, 01 Jan 2024 00:00:00 +0000\n"
    )
    (debian / "rules").write_text("#!/usr/bin/make -f\n%:\n\ttrue\n")
    (debian / "rules").chmod(0o755)
    run(["dpkg-source", "--build", tree.name], cwd=folder)
    shutil.rmtree(tree)


def installer(images: Path, architecture: str) -> None:
    for name in ("netboot/mini.iso", "netboot/netboot.tar.gz", "cdrom/vmlinuz", "udeb.list"):
        write(images / name, f"{architecture} {name}\n".encode() * 64)
    files = sorted(path.relative_to(images) for path in images.rglob("*") if path.is_file())
    for sums, tool in (("SHA256SUMS", "sha256sum"), ("MD5SUMS", "md5sum")):
        (images / sums).write_text(run([tool, *(f"./{file}" for file in files)], cwd=images))


def icons(size: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("hello.png")
        entry.size = len(size)
        tar.addfile(entry, io.BytesIO(size.encode()))
    return gzip.compress(packed.getvalue(), mtime=0)


def ed_script(before: bytes, after: bytes) -> bytes:
    """What `diff --ed` says; it ends with 1 where there is a difference."""
    descriptors = [os.memfd_create(name) for name in ("before", "after")]
    try:
        for descriptor, text in zip(descriptors, (before, after), strict=True):
            os.write(descriptor, text)
        paths = [f"/proc/self/fd/{descriptor}" for descriptor in descriptors]
        made = subprocess.run(["diff", "--ed", *paths], pass_fds=descriptors, capture_output=True, stdin=subprocess.DEVNULL)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    if made.returncode != 1:
        raise RuntimeError(f"diff --ed ended with {made.returncode}: {made.stderr.decode()}")
    return made.stdout


def by_hash(fresh: Path, current: Path) -> None:
    """The listed files by their digests, and those of the state before."""
    listed = [path for path in fresh.rglob("*") if path.is_file() and "by-hash" not in path.parts and path != fresh / "Release"]
    for index in listed:
        for name, algorithm in BY_HASH.items():
            target = index.parent / "by-hash" / name / hashlib.new(algorithm, index.read_bytes()).hexdigest()
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                os.link(index, target)
    if fresh != current and current.exists():
        for kept in current.rglob("by-hash/*/*"):
            target = fresh / kept.relative_to(current)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                os.link(kept, target)


def switch(current: Path, fresh: Path) -> None:
    """A client must not meet half of an archive that is in order."""
    link = current.parent / f".{current.name}.link"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.replace(current)
