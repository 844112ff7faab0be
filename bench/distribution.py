"""Signed Debian archives with many packages, always the same ones, kept in a cache.

An archive has two states, `state-1` and `state-2`: in the second, one package in a hundred has a new version. Unchanged
files are hard links. Laid out as Debian lays out its own: by-hash directories, and an uncompressed Packages that is
listed but that nobody serves.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import lzma
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import debs
from places import CACHE

from archive import SigningKey

# To be raised with every change of what is generated.
GENERATOR = 1
SUITE = "stable"
COMPONENT = "main"
FIRST_DATE = datetime(2024, 1, 1, tzinfo=UTC)
CHANGED_EVERY = 100
ALGORITHMS = {"MD5Sum": "md5", "SHA256": "sha256"}


@dataclass(frozen=True)
class State:
    """What a client must have when it is done."""

    root: Path
    # Path -> size of every package.
    payload: dict[str, int]
    # How many of them the state before did not have.
    new: int

    @property
    def payload_bytes(self) -> int:
        return sum(self.payload.values())


@dataclass(frozen=True)
class Distribution:
    """A finished archive in the cache; read-only."""

    root: Path

    @property
    def keyring(self) -> Path:
        """The certificate, binary, as gpgv wants it."""
        return self.root / "keyring.gpg"

    @property
    def certificate(self) -> str:
        """The same, armoured, as it stands in a manifest."""
        return (self.root / "keyring.asc").read_text()

    def state(self, number: int) -> State:
        about = json.loads((self.root / f"state-{number}.json").read_text())
        return State(self.root / f"state-{number}", about["payload"], about["new"])


def many_packages(count: int, extra_bytes: tuple[int, ...] = ()) -> Distribution:
    """`count` small packages, and one of each of the sizes in `extra_bytes`."""
    name = "-".join(["packages", str(count), *map(str, extra_bytes)])
    extras = [debs.Package(f"large{size}", "1.0-1", "large", size) for size in extra_bytes]

    def build(root: Path, key: SigningKey) -> None:
        before = [*debs.packages(count), *extras]
        after = [debs.changed(package) if number % CHANGED_EVERY == 0 else package for number, package in enumerate(before)]
        build_state(root, 1, before, key)
        build_state(root, 2, after, key)

    return cached(name, build)


def cached(name: str, build) -> Distribution:
    """Takes it from the cache; builds it there where it is missing, once, whoever else wants it at the same time."""
    target = CACHE / f"v{GENERATOR}-{name}"
    with locked(CACHE / f"{target.name}.lock"):
        if not target.exists():
            print(f"making the archive {name} (once)", flush=True)
            fresh = target.with_name(target.name + ".new")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            key = SigningKey(fresh / "gnupg", "benchmark")
            try:
                build(fresh, key)
                write_keyring(fresh, key)
            finally:
                key.close()
            shutil.rmtree(fresh / "gnupg")
            fresh.replace(target)
    return Distribution(target)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_keyring(root: Path, key: SigningKey) -> None:
    (root / "keyring.asc").write_text(key.public())
    key.export(root / "keyring.gpg")


def build_state(root: Path, number: int, packages: list[debs.Package], key: SigningKey) -> None:
    state, before = root / f"state-{number}", root / f"state-{number - 1}"
    payload: dict[str, int] = {}
    new = 0

    def stanzas() -> Iterator[bytes]:
        nonlocal new
        for package in packages:
            fresh, content = place(state, before, package)
            new += fresh
            payload[package.path] = len(content)
            yield stanza(package, content)

    publish(state, before, stanzas(), FIRST_DATE + timedelta(days=number), key)
    (root / f"state-{number}.json").write_text(json.dumps({"payload": payload, "new": new}))


def place(state: Path, before: Path, package: debs.Package) -> tuple[bool, bytes]:
    """Puts a package into the pool; whether the state before lacked it, and its bytes."""
    content = package.content()
    target, same = state / package.path, before / package.path
    target.parent.mkdir(parents=True, exist_ok=True)
    if same.exists():
        os.link(same, target)
        return False, content
    target.write_bytes(content)
    os.utime(target, (debs.STAMP, debs.STAMP))
    return True, content


def stanza(package: debs.Package, content: bytes) -> bytes:
    return (
        f"{package.control}Filename: {package.path}\nSize: {len(content)}\nMD5sum: {hashlib.md5(content).hexdigest()}\n"
        f"SHA256: {hashlib.sha256(content).hexdigest()}\n\n"
    ).encode()


class Index:
    """An index file that is written while its digests are taken; a path of None is listed and not written."""

    def __init__(self, path: Path | None) -> None:
        self.size = 0
        self.digests = {name: hashlib.new(algorithm) for name, algorithm in ALGORITHMS.items()}
        self._file = path.open("wb") if path else None

    def write(self, chunk: bytes) -> None:
        self.size += len(chunk)
        for digest in self.digests.values():
            digest.update(chunk)
        if self._file:
            self._file.write(chunk)

    def close(self) -> None:
        if self._file:
            self._file.close()


def publish(
    state: Path, before: Path, stanzas: Iterable[bytes], date: datetime, key: SigningKey, *, preset: int = 6,
) -> None:
    """Writes one suite's indices and signs them."""
    suite = state / "dists" / SUITE
    directory = f"{COMPONENT}/binary-amd64"
    (suite / directory).mkdir(parents=True)
    listed = {
        f"{directory}/Packages": Index(None),
        f"{directory}/Packages.gz": Index(suite / directory / "Packages.gz"),
        f"{directory}/Packages.xz": Index(suite / directory / "Packages.xz"),
    }
    plain, gz, xz = listed.values()
    # wbits 31: a gzip stream without a time in it.
    gzip, xzip = zlib.compressobj(preset, wbits=31), lzma.LZMACompressor(preset=preset)
    for chunk in stanzas:
        plain.write(chunk)
        gz.write(gzip.compress(chunk))
        xz.write(xzip.compress(chunk))
    gz.write(gzip.flush())
    xz.write(xzip.flush())
    for index in listed.values():
        index.close()
    for path in listed:
        add_by_hash(suite / path, listed[path])
    carry_by_hash(before / "dists" / SUITE, suite)
    (suite / "Release").write_text(release(listed, date))
    key.clearsign(suite / "Release", suite / "InRelease")
    key.detach_sign(suite / "Release", suite / "Release.gpg")
    stamp_all(suite, date)


def add_by_hash(path: Path, index: Index) -> None:
    if path.exists():
        folder = path.parent / "by-hash" / "SHA256"
        folder.mkdir(parents=True, exist_ok=True)
        os.link(path, folder / index.digests["SHA256"].hexdigest())


def carry_by_hash(before: Path, suite: Path) -> None:
    """Clients that hold the Release of the state before find what it names."""
    for kept in before.rglob("by-hash/*/*"):
        target = suite / kept.relative_to(before)
        if not target.exists():
            os.link(kept, target)


def release(listed: dict[str, Index], date: datetime) -> str:
    lines = [
        "Origin: mirrorfleet benchmarks", f"Suite: {SUITE}", f"Codename: {SUITE}", f"Date: {date:%a, %d %b %Y %H:%M:%S} UTC",
        "Acquire-By-Hash: yes", "Architectures: amd64", f"Components: {COMPONENT}",
    ]
    for name in ALGORITHMS:
        lines.append(f"{name}:")
        lines += [f" {index.digests[name].hexdigest()} {index.size} {path}" for path, index in listed.items()]
    return "\n".join(lines) + "\n"


def stamp_all(suite: Path, date: datetime) -> None:
    """Files of this state get its date; what came from the state before has its own."""
    seconds = int(date.timestamp())
    for path in suite.rglob("*"):
        if path.is_file() and path.stat().st_mtime > seconds:
            os.utime(path, (seconds, seconds))
