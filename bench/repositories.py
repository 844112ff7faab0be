"""A repository of pacman with many packages, laid out as Arch Linux has it, in two states as `distribution` makes them.

Databases are written directly, since repo-add takes minutes for so many; they are what it writes. Signatures lie beside
packages, made by one key as most of the distribution's are: RSA of 4096 bits over SHA-512.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import debs
from distribution import CHANGED_EVERY, Distribution, cached, write_keyring

from archive import SigningKey

REPO = "extra"
ARCHITECTURE = "x86_64"
FOLDER = f"{REPO}/os/{ARCHITECTURE}"
#: What signatures are made by, as gpg and people call it.
ALGORITHM, ALGORITHM_NAME = "rsa4096", "RSA-4096 over SHA-512"
DAY_SECONDS = 86_400


def repository(count: int, package_bytes: int = 0) -> Distribution:
    """With packages of this size, where one is given."""

    def build(root: Path, _key: SigningKey) -> None:
        packager = SigningKey(root / "gnupg-packager", "packager", ALGORITHM)
        before = debs.packages(count)
        if package_bytes:
            before = [dataclasses.replace(package, wanted_bytes=package_bytes) for package in before]
        after = [debs.changed(package) if number % CHANGED_EVERY == 0 else package for number, package in enumerate(before)]
        try:
            build_state(root, 1, before, packager)
            build_state(root, 2, after, packager)
            write_keyring(packager_of(root), packager)
        finally:
            packager.close()
        shutil.rmtree(packager.home)

    size = f"-{package_bytes}" if package_bytes else ""
    return cached(f"pacman-signed-{count}{size}", build)


def packager_of(root: Path) -> Path:
    """The folder with the packager's certificate."""
    folder = root / "packager"
    folder.mkdir(exist_ok=True)
    return folder


def build_state(root: Path, number: int, packages: list[debs.Package], packager: SigningKey) -> None:
    state, before = root / f"state-{number}", root / f"state-{number - 1}"
    folder = state / FOLDER
    folder.mkdir(parents=True)
    payload: dict[str, int] = {}
    new = 0
    # A database has its packages by name.
    members: list[tuple[str, bytes]] = []
    for package in sorted(packages, key=lambda package: package.name):
        content, name = filling(package, package.wanted_bytes), file_name(package)
        new += 2 * place(folder / name, before / FOLDER / name, content)
        members.append((f"{package.name}-{version(package)}", desc(package, content)))
    sign(folder, before / FOLDER, packager)
    payload |= {f"{FOLDER}/{file.name}": file.stat().st_size for file in folder.iterdir()}
    stamp = debs.STAMP + number * DAY_SECONDS
    write_database(folder, "db", ((f"{directory}/desc", text) for directory, text in members), stamp)
    write_database(folder, "files", with_files(members), stamp)
    for clock in ("lastupdate", "lastsync"):
        (state / clock).write_text(f"{stamp}\n")
        os.utime(state / clock, (stamp, stamp))
    (root / f"state-{number}.json").write_text(json.dumps({"payload": payload, "new": new}))


def version(package: debs.Package) -> str:
    """pacman's versions have one dash."""
    upstream, _, release = package.version.partition("-")
    return f"{upstream}-{release.replace('+deb13u', '.')}"


def file_name(package: debs.Package) -> str:
    return f"{package.name}-{version(package)}-{ARCHITECTURE}.pkg.tar.zst"


def filling(package: debs.Package, count: int) -> bytes:
    return hashlib.shake_256(f"{package.name} {package.version}".encode()).digest(count)


def sign(folder: Path, before: Path, packager: SigningKey) -> None:
    """What is new; the rest is signed as it was."""

    def signed(package: Path) -> None:
        target = package.with_name(f"{package.name}.sig")
        if (same := before / target.name).exists():
            os.link(same, target)
            return
        packager.sign_as_packager(package, target)
        os.utime(target, (debs.STAMP, debs.STAMP))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(signed, sorted(folder.iterdir())))


def place(target: Path, same: Path, content: bytes) -> bool:
    """Whether the state before lacked it."""
    if same.exists():
        os.link(same, target)
        return False
    target.write_bytes(content)
    os.utime(target, (debs.STAMP, debs.STAMP))
    return True


def desc(package: debs.Package, content: bytes) -> bytes:
    sections = {
        "FILENAME": file_name(package), "NAME": package.name, "BASE": package.source, "VERSION": version(package),
        "DESC": f"what {package.source} is good for, part {package.name}", "CSIZE": len(content), "ISIZE": package.wanted_bytes * 3,
        "SHA256SUM": hashlib.sha256(content).hexdigest(), "URL": f"https://{package.source}.example.org/", "LICENSE": "GPL",
        "ARCH": ARCHITECTURE, "BUILDDATE": debs.STAMP, "PACKAGER": f"Somebody <{package.source}@example.org>", "DEPENDS": "glibc",
    }  # fmt: skip
    return "".join(f"%{title}%\n{value}\n\n" for title, value in sections.items()).encode()


def with_files(members: list[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    for directory, text in members:
        yield f"{directory}/desc", text
        listed = "".join(f"usr/share/{directory}/{number}\n" for number in range(20))
        yield f"{directory}/files", f"%FILES%\nusr/\nusr/share/\n{listed}".encode()


def write_database(folder: Path, kind: str, members: Iterator[tuple[str, bytes]], stamp: int) -> None:
    archive = folder / f"{REPO}.{kind}.tar.gz"
    with archive.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, text in members:
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(text), debs.STAMP
            tar.addfile(member, io.BytesIO(text))
    os.utime(archive, (stamp, stamp))
    (folder / f"{REPO}.{kind}").symlink_to(archive.name)
