"""How the checker reads a Debian repository: Release files, indices, and which of them belong to a declared slice.

Written against https://wiki.debian.org/DebianRepository/Format with nothing but Python's library.
"""

from __future__ import annotations

import bz2
import fnmatch
import gzip
import hashlib
import lzma
from collections.abc import Iterator
from dataclasses import dataclass

#: Field of a Release -> name of the algorithm; weakest first.
ALGORITHMS = {"MD5Sum": "md5", "SHA1": "sha1", "SHA256": "sha256", "SHA512": "sha512"}
COMPRESSIONS = {".xz": lzma.decompress, ".gz": gzip.decompress, ".bz2": bz2.decompress, ".lzma": lzma.decompress}


@dataclass(frozen=True)
class Options:
    """What the mirror declares to hold."""

    suites: tuple[str, ...]
    components: tuple[str, ...] = ("main",)
    architectures: tuple[str, ...] = ("amd64",)
    sources: bool = False
    contents: bool = False
    dep11: bool = False
    installer: bool = False
    pdiffs: bool = False
    #: Globs over paths that the mirror leaves out; these must be absent.
    excluded: tuple[str, ...] = ()

    def excludes(self, path: str) -> bool:
        return any(fnmatch.fnmatchcase(path, glob) for glob in self.excluded)


@dataclass(frozen=True)
class Promise:
    """What a signed index says of a file. `size` is unknown where only a digest is listed."""

    size: int | None
    digests: tuple[tuple[str, str], ...]

    def broken_by(self, body: bytes) -> str:
        """What does not fit; nothing if all does."""
        if self.size is not None and len(body) != self.size:
            return f"has {len(body)} bytes, promised were {self.size}"
        for algorithm, digest in self.digests:
            if hashlib.new(algorithm, body).hexdigest() != digest:
                return f"has another {algorithm} than promised"
        return ""


@dataclass
class Release:
    components: list[str]
    by_hash: bool
    files: dict[str, Promise]


def parse_release(text: str) -> Release:
    stanza = next(stanzas(text.encode()), {})
    digests: dict[str, list[tuple[str, str]]] = {}
    sizes: dict[str, int] = {}
    for field_name, algorithm in ALGORITHMS.items():
        for digest, size, name in lines_of(stanza.get(field_name, "")):
            digests.setdefault(name, []).append((algorithm, digest))
            sizes[name] = size
    return Release(
        components=stanza.get("Components", "").split(),
        by_hash=stanza.get("Acquire-By-Hash", "no").lower() == "yes",
        files={name: Promise(sizes[name], tuple(found)) for name, found in digests.items()},
    )


def stanzas(content: bytes) -> Iterator[dict[str, str]]:
    stanza: dict[str, str] = {}
    last = ""
    for line in content.decode(errors="surrogateescape").split("\n"):
        if not line.strip():
            if stanza:
                yield stanza
            stanza, last = {}, ""
        elif line[0] in " \t":
            stanza[last] = stanza.get(last, "") + "\n" + line
        else:
            last, _, value = line.partition(":")
            stanza[last] = value.strip()
    if stanza:
        yield stanza


def lines_of(value: str) -> list[tuple[str, int, str]]:
    """Lines `digest size name`."""
    words = [line.split() for line in value.splitlines() if line.strip()]
    return [(digest.lower(), int(size), name) for digest, size, name in words]


def packages_of(content: bytes) -> Iterator[tuple[str, Promise]]:
    for stanza in stanzas(content):
        fields = {"MD5sum": "md5", "SHA1": "sha1", "SHA256": "sha256", "SHA512": "sha512"}
        digests = tuple((algorithm, stanza[name].lower()) for name, algorithm in fields.items() if name in stanza)
        yield stanza["Filename"], Promise(int(stanza["Size"]), digests)


def sources_of(content: bytes) -> Iterator[tuple[str, Promise]]:
    for stanza in stanzas(content):
        digests: dict[str, list[tuple[str, str]]] = {}
        sizes: dict[str, int] = {}
        fields = {"Files": "md5", "Checksums-Sha1": "sha1", "Checksums-Sha256": "sha256", "Checksums-Sha512": "sha512"}
        for field_name, algorithm in fields.items():
            for digest, size, name in lines_of(stanza.get(field_name, "")):
                digests.setdefault(name, []).append((algorithm, digest))
                sizes[name] = size
        for name, found in digests.items():
            yield f"{stanza.get('Directory', '.')}/{name}", Promise(sizes[name], tuple(found))


def images_of(content: bytes, directory: str) -> Iterator[tuple[str, Promise]]:
    for line in content.decode().splitlines():
        digest, _, name = line.partition(" ")
        yield f"{directory}/{name.lstrip(' *')}", Promise(None, (("sha256", digest),))


def decompress(name: str, body: bytes) -> bytes:
    suffix = name[len(stem_of(name)) :]
    return COMPRESSIONS[suffix](body) if suffix in COMPRESSIONS else body


def stem_of(name: str) -> str:
    for suffix in (*COMPRESSIONS, ".zst"):
        if name.endswith(suffix):
            return name[: -len(suffix)]
    return name


def normal(path: str) -> str:
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def canonical(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


# What belongs to the declared slice


def flat_wants(name: str, options: Options) -> bool:
    stem = stem_of(name)
    return stem == "Packages" or (options.sources and stem == "Sources")


def wants(name: str, release: Release, options: Options) -> bool:
    stem = stem_of(name)
    for component in options.components:
        # bookworm-security says `updates/main` where its files are below `main/`; others have them below both.
        for prefix in {component, *(offered for offered in release.components if offered.endswith(f"/{component}"))}:
            if stem.startswith(f"{prefix}/"):
                return wants_in_component(stem[len(prefix) + 1 :], options)
    return "/" not in stem.removesuffix(".diff/Index") and wants_contents(stem, options)


def wants_in_component(rest: str, options: Options) -> bool:
    if rest.endswith(".diff/Index"):
        return options.pdiffs and wants_in_component(rest.removesuffix(".diff/Index"), options)
    directory, _, file = rest.rpartition("/")
    architecture = directory.rpartition("binary-")[2] if "binary-" in directory else directory.removeprefix("installer-").partition("/")[0]
    known = architecture in (*options.architectures, "all")
    if directory.startswith("binary-"):
        return known and file in ("Packages", "Release")
    if directory.startswith("debian-installer/binary-"):
        return options.installer and known and file in ("Packages", "Release")
    if directory.startswith("installer-"):
        return options.installer and known and directory.endswith("/current/images") and file in ("SHA256SUMS", "MD5SUMS")
    if directory == "source":
        return options.sources and file in ("Sources", "Release")
    if directory == "i18n":
        return file.startswith("Translation-")
    if directory == "dep11":
        return options.dep11 and (file.startswith("icons-") or file in {f"Components-{a}.yml" for a in options.architectures})
    if directory == "cnf":
        return file in {f"Commands-{a}" for a in (*options.architectures, "all")}
    return not directory and wants_contents(file, options)


def wants_contents(stem: str, options: Options) -> bool:
    stem = stem.removesuffix(".diff/Index") if options.pdiffs else stem
    wanted = {f"Contents-{a}" for a in (*options.architectures, "all")}
    if options.sources:
        wanted.add("Contents-source")
    if options.installer:
        wanted |= {f"Contents-udeb-{a}" for a in (*options.architectures, "all")}
    return options.contents and stem in wanted
