"""Small Debian archives, made by the distribution's own tools: dpkg-deb, apt-ftparchive and gpg.

An `Archive` is a directory that a web server serves. `publish` makes one suite's indices anew from its packages and
signs them; the other methods make an upstream that lies.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

ARCHITECTURE = "amd64"
COMPONENT = "main"


def run(argv: list, *, cwd: Path | None = None, env: dict[str, str] | None = None, input: str | None = None) -> str:
    result = subprocess.run(
        [str(part) for part in argv], cwd=cwd, env={**os.environ, **(env or {})}, input=input,
        stdin=subprocess.DEVNULL if input is None else None, capture_output=True, text=True,
    )
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, argv))} ended with {result.returncode}:\n{result.stdout}{result.stderr}")
    return result.stdout


class SigningKey:
    """An OpenPGP key in a GNUPGHOME of its own."""

    def __init__(self, home: Path, owner: str, algorithm: str = "ed25519") -> None:
        self.home = home
        self.owner = f"{owner} <{owner}@example.org>"
        home.mkdir(mode=0o700, parents=True)
        self._gpg("--quick-generate-key", self.owner, algorithm, "sign", "3y")

    def _gpg(self, *arguments: str, input: str | None = None) -> str:
        base = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
        return run([*base, *arguments], input=input)

    def public(self) -> str:
        """The certificate, armoured: what goes into a keyring."""
        return self._gpg("--armor", "--export")

    def export(self, target: Path) -> None:
        """The certificate, binary: what gpgv takes as a keyring."""
        self._gpg("--output", str(target), "--export")

    def clearsign(self, source: Path, target: Path) -> None:
        self._gpg("--digest-algo", "SHA512", "--output", str(target), "--clearsign", str(source))

    def detach_sign(self, source: Path, target: Path) -> None:
        self._gpg("--digest-algo", "SHA512", "--armor", "--output", str(target), "--detach-sign", str(source))

    def sign_as_packager(self, source: Path, target: Path) -> None:
        """Binary, as makepkg does."""
        self._gpg("--digest-algo", "SHA512", "--output", str(target), "--detach-sign", str(source))

    def close(self) -> None:
        """Ends the gpg-agent that gpg started for this home."""
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "gpg-agent"], check=False, capture_output=True)


class Archive:
    """A Debian archive below `root`."""

    def __init__(self, root: Path, key: SigningKey, *, by_hash: bool = True) -> None:
        self.root = root
        self.key = key
        self.by_hash = by_hash
        root.mkdir(parents=True, exist_ok=True)
        #: Told of each state of a suite, by its folder, before anybody can see it.
        self.on_publish: Callable[[Path], None] = lambda folder: None
        self._packages: dict[str, list[Path]] = {}
        self._dates: dict[str, datetime] = {}

    # What it holds

    def add_package(self, suite: str, name: str, version: str = "1.0", kilobytes: int = 4) -> Path:
        """Builds a package with `kilobytes` of incompressible content and puts it into the pool."""
        pool = self.root / "pool" / COMPONENT / name[0] / name
        pool.mkdir(parents=True, exist_ok=True)
        target = pool / f"{name}_{version}_{ARCHITECTURE}.deb"
        if not target.exists():
            build_package(target, name, version, kilobytes)
        listed = self._packages.setdefault(suite, [])
        # A suite holds one version of a package; the old file stays in the pool as it does in real archives.
        listed[:] = [path for path in listed if path.parent != pool] + [target]
        return target

    def publish(
        self, suite: str, *, date: datetime | None = None, valid_for: timedelta | None = timedelta(days=7),
        key: SigningKey | None = None,
    ) -> None:
        """Makes the suite's indices anew from its packages, and signs them."""
        date = date or self._next_date(suite)
        current = self.root / "dists" / suite
        fresh = self.root / "dists" / f".{suite}-{time.monotonic_ns()}"
        binary = fresh / COMPONENT / f"binary-{ARCHITECTURE}"
        binary.mkdir(parents=True)
        (binary / "Packages").write_text(self._packages_index(suite))
        run(["gzip", "-9nk", binary / "Packages"])
        run(["xz", "-k", binary / "Packages"])
        if self.by_hash:
            self._by_hash(fresh, current)
        self._release(fresh, suite, date, valid_for)
        self.sign(fresh, key or self.key)
        self._switch(suite, fresh)

    def _next_date(self, suite: str) -> datetime:
        """Now, but never the second of the state before: two states of one date are an equivocation."""
        date = max(datetime.now(UTC).replace(microsecond=0), self._dates.get(suite, datetime.min.replace(tzinfo=UTC)) + timedelta(seconds=1))
        self._dates[suite] = date
        return date

    def _switch(self, suite: str, folder: Path) -> None:
        """Serves `folder` as the suite, in one step: a client must not meet half of an archive that is in order."""
        self.on_publish(folder)
        link = self.root / "dists" / f".{suite}.link"
        link.unlink(missing_ok=True)
        link.symlink_to(folder.name)
        link.replace(self.root / "dists" / suite)

    def _packages_index(self, suite: str) -> str:
        stanzas = []
        for package in sorted(self._packages.get(suite, [])):
            relative = package.relative_to(self.root)
            stanzas.append(run(["apt-ftparchive", "packages", relative], cwd=self.root))
        return "".join(stanzas)

    def _by_hash(self, fresh: Path, current: Path) -> None:
        for index in [path for path in fresh.rglob("Packages*") if path.is_file()]:
            for algorithm, name in (("sha256", "SHA256"), ("md5", "MD5Sum")):
                folder = index.parent / "by-hash" / name
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(index, folder / hashlib.new(algorithm, index.read_bytes()).hexdigest())
        for kept in current.rglob("by-hash/*/*") if current.exists() else []:
            target = fresh / kept.relative_to(current)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                shutil.copyfile(kept, target)

    def _release(self, folder: Path, suite: str, date: datetime, valid_for: timedelta | None) -> None:
        fields = {
            "Origin": "mirrorfleet tests", "Suite": suite, "Codename": suite, "Architectures": ARCHITECTURE,
            "Components": COMPONENT, "Acquire-By-Hash": "yes" if self.by_hash else "no",
        }
        options = [f"-oAPT::FTPArchive::Release::{name}={value}" for name, value in fields.items()]
        text = run(["apt-ftparchive", *options, "release", "."], cwd=folder)
        lines = [line for line in text.splitlines() if not line.startswith(("Date:", "Valid-Until:")) and "by-hash/" not in line]
        stamp = "%a, %d %b %Y %H:%M:%S UTC"
        head = [f"Date: {date.strftime(stamp)}"]
        if valid_for is not None:
            head.append(f"Valid-Until: {(date + valid_for).strftime(stamp)}")
        (folder / "Release").write_text("\n".join(head + lines) + "\n")

    def sign(self, folder: Path, key: SigningKey) -> None:
        key.clearsign(folder / "Release", folder / "InRelease")
        key.detach_sign(folder / "Release", folder / "Release.gpg")

    # States of the upstream, to go back to

    def state(self, suite: str) -> Path:
        """The suite's indices as they are now, for `go_back`."""
        return (self.root / "dists" / suite).resolve()

    def go_back(self, suite: str, state: Path) -> None:
        """Serves an earlier, validly signed state again."""
        self._switch(suite, state)

    # Lies

    def tamper_release(self, suite: str) -> None:
        """One letter of the signed text changes, so that the signature is bad."""
        for name in ("InRelease", "Release"):
            path = self.root / "dists" / suite / name
            path.write_text(path.read_text().replace("mirrorfleet tests", "mirrorfleet-tests"))

    def truncate_package(self, package: Path) -> None:
        """The pool file ends too early; the index still promises all of it."""
        content = package.read_bytes()
        package.write_bytes(content[: len(content) // 2])


def build_package(target: Path, name: str, version: str, kilobytes: int) -> None:
    """A .deb whose content depends only on its name and version."""
    work = target.with_suffix(".build")
    shutil.rmtree(work, ignore_errors=True)
    (work / "DEBIAN").mkdir(parents=True)
    (work / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: {ARCHITECTURE}\nSection: misc\nPriority: optional\n"
        "Maintainer: mirrorfleet tests <tests@example.org>\nDescription: a package for tests\n"
    )
    share = work / "usr" / "share" / name
    share.mkdir(parents=True)
    with (share / "content").open("wb") as content:
        for block in range(kilobytes * 16):
            content.write(hashlib.sha512(f"{name} {version} {block}".encode()).digest())
    run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", work, target], env={"SOURCE_DATE_EPOCH": "1700000000"})
    shutil.rmtree(work)
