#!/usr/bin/env python3
"""Walks a served Debian repository and reports what is missing or wrong in it.

Written against https://wiki.debian.org/DebianRepository/Format with nothing but Python's library and gpgv, so that what
it finds does not depend on the reading of the same rules by the mirror's own program.

    checker.py URL --keyring FILE --suite trixie --component main --architecture amd64 [--sources] [--pdiffs] ...

Every file that the signed Release lists and the options include is fetched: size and all listed digests must fit, by its
plain name and by its by-hash names; then every package, source file, installer image and patch that those name. Exit
code 0 means that nothing is missing.
"""

from __future__ import annotations

import argparse
import http.client
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from repository import (
    ALGORITHMS,
    Options,
    Promise,
    Release,
    canonical,
    decompress,
    flat_wants,
    images_of,
    lines_of,
    normal,
    packages_of,
    parse_release,
    sources_of,
    stanzas,
    stem_of,
    wants,
)

CONNECTIONS = 4


@dataclass
class Result:
    checked: int = 0
    by_hash: int = 0
    payload: int = 0
    #: Listed, and absent by the rule that another compression of the same file is there.
    other_compression: int = 0
    misses: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.checked} files checked ({self.by_hash} by hash, {self.payload} named by indices), "
            f"{self.other_compression} offered in another compression only, {len(self.misses)} misses"
        )


class Http:
    """GET over kept connections, one for each thread."""

    def __init__(self, base: str) -> None:
        self.url = urllib.parse.urlsplit(base.rstrip("/") + "/")
        self._local = threading.local()

    def get(self, path: str) -> tuple[int, bytes]:
        target = self.url.path + urllib.parse.quote(path, safe="/+~:!,=@")
        for attempt in (1, 2):
            connection = self._connection()
            try:
                connection.request("GET", target, headers={"User-Agent": "checker"})
                response = connection.getresponse()
                return response.status, response.read()
            except (http.client.HTTPException, OSError):
                connection.close()
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    def _connection(self) -> http.client.HTTPConnection:
        if not hasattr(self._local, "connection"):
            kind = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
            self._local.connection = kind(self.url.hostname or "", self.url.port, timeout=60)
        return self._local.connection


class Checker:
    def __init__(self, base: str, keyring: Path, options: Options) -> None:
        self.http = Http(base)
        self.keyring = keyring
        self.options = options
        self.result = Result()
        self._lock = threading.Lock()
        self._seen: dict[str, Promise] = {}

    def check(self) -> Result:
        with ThreadPoolExecutor(CONNECTIONS) as self._pool:
            for suite in self.options.suites:
                self._suite(suite)
        return self.result

    # One suite

    def _suite(self, suite: str) -> None:
        folder = "" if suite in ("/", "./") else suite if suite.endswith("/") else f"dists/{suite}/"
        text = self._signed_release(folder)
        if text is None:
            return
        release = parse_release(text)
        flat = suite.endswith("/")
        wanted = {name: promise for name, promise in release.files.items() if flat_wants(name, self.options) or (not flat and wants(name, release, self.options))}
        self._demand_indices(suite, flat, release, wanted)
        stems: dict[str, list[str]] = {}
        for name in wanted:
            stems.setdefault(stem_of(name), []).append(name)
        for stem, bodies in zip(stems, self._pool.map(lambda stem: self._stem(folder, stems[stem], wanted, release.by_hash), stems), strict=True):
            if bodies:
                self._follow(folder, stem, bodies)

    def _demand_indices(self, suite: str, flat: bool, release: Release, wanted: dict[str, Promise]) -> None:
        """A Release that lists no index at all would otherwise pass."""
        stems = {stem_of(name) for name in wanted}
        if flat:
            if "Packages" not in stems:
                self._miss(f"{suite}: the Release lists no Packages")
            return
        for component in self.options.components:
            for architecture in self.options.architectures:
                ending = f"{component}/binary-{architecture}/Packages"
                if not any(stem == ending or stem.endswith(f"/{ending}") for stem in stems):
                    self._miss(f"{suite}: the Release lists no {ending}")

    def _signed_release(self, folder: str) -> str | None:
        """The payload that the keyring vouches for. InRelease, or Release with Release.gpg; if both, of one state."""
        found = {name: self.http.get(folder + name) for name in ("InRelease", "Release", "Release.gpg")}
        self._count(len([1 for status, _ in found.values() if status == 200]))
        inline = detached = None
        if found["InRelease"][0] == 200:
            inline = self._gpgv(folder + "InRelease", found["InRelease"][1], None)
        if found["Release"][0] == 200 and found["Release.gpg"][0] == 200:
            detached = self._gpgv(folder + "Release.gpg", found["Release"][1], found["Release.gpg"][1])
        if found["InRelease"][0] != 200 and detached is None:
            self._miss(f"{folder}InRelease: {found['InRelease'][0]}, and no Release with Release.gpg either")
        for name, (status, _) in found.items():
            if status not in (200, 404):
                self._miss(f"{folder}{name}: {status}")
        if inline is not None and detached is not None and canonical(inline) != canonical(detached):
            self._miss(f"{folder}Release: another state than InRelease")
        return inline if inline is not None else detached

    def _gpgv(self, name: str, body: bytes, signature: bytes | None) -> str | None:
        with tempfile.TemporaryDirectory() as place:
            content, out, sig = Path(place, "content"), Path(place, "out"), Path(place, "sig")
            content.write_bytes(body)
            command = ["gpgv", "--homedir", place, "--keyring", str(self.keyring)]
            if signature is None:
                command += ["--output", str(out), str(content)]
            else:
                sig.write_bytes(signature)
                command += [str(sig), str(content)]
            judged = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
            # gpgv fails if any signature is of an unknown key; one good signature is what apt asks for.
            if judged.returncode != 0 and "Good signature" not in judged.stderr:
                self._miss(f"{name}: gpgv does not accept it: {judged.stderr.strip().splitlines()[-1:]}")
                return None
            return (out if signature is None else content).read_text()

    # One index in all its compressions

    def _stem(self, folder: str, names: list[str], wanted: dict[str, Promise], by_hash: bool) -> list[tuple[str, bytes]]:
        bodies, absent = [], []
        for name in names:
            status, body = self.http.get(folder + name)
            if status == 404:
                absent.append(name)
                continue
            if self._verify(folder + name, status, body, wanted[name]):
                bodies.append((name, body))
                if by_hash:
                    self._by_hash(folder, name, wanted[name])
        for name in absent:
            if bodies:
                with self._lock:
                    self.result.other_compression += 1
            else:
                self._miss(f"{folder}{name}: 404, and no other compression of it is served")
        return bodies

    def _by_hash(self, folder: str, name: str, promise: Promise) -> None:
        directory, _, _ = (folder + name).rpartition("/")
        for field_name, algorithm in ALGORITHMS.items():
            digest = dict(promise.digests).get(algorithm)
            if digest is not None:
                path = f"{directory}/by-hash/{field_name}/{digest}".lstrip("/")
                status, body = self.http.get(path)
                if self._verify(path, status, body, promise):
                    with self._lock:
                        self.result.by_hash += 1

    # What the indices name

    def _follow(self, folder: str, stem: str, bodies: list[tuple[str, bytes]]) -> None:
        name, body = bodies[0]
        plain = decompress(name, body)
        directory = (folder + stem).rpartition("/")[0]
        last = stem.rpartition("/")[2]
        if last == "Packages":
            self._payload(packages_of(plain))
        elif last == "Sources":
            self._payload(sources_of(plain))
        elif last == "SHA256SUMS":
            self._payload(images_of(plain, directory))
        elif stem.endswith(".diff/Index"):
            self._patches(plain, directory)

    def _payload(self, listed: Iterator[tuple[str, Promise]]) -> None:
        list(self._pool.map(lambda one: self._one(*one), listed))

    def _one(self, path: str, promise: Promise) -> None:
        path = normal(path)
        with self._lock:
            known = self._seen.setdefault(path, promise)
        if known is not promise and known == promise:
            return
        status, body = self.http.get(path)
        if self.options.excludes(path):
            if status != 404:
                self._miss(f"{path}: excluded, but answered with {status}")
            return
        if self._verify(path, status, body, promise):
            with self._lock:
                self.result.payload += 1

    def _patches(self, index: bytes, directory: str) -> None:
        stanza = next(stanzas(index), {})
        inner = {name: Promise(size, (("sha256", digest),)) for digest, size, name in lines_of(stanza.get("SHA256-Patches", ""))}
        listed = lines_of(stanza.get("SHA256-Download", ""))
        if len(inner) != len(listed):
            self._miss(f"{directory}/Index: {len(inner)} patches, of which {len(listed)} can be downloaded")
        for digest, size, name in listed:
            path = f"{directory}/{name}"
            status, body = self.http.get(path)
            if not self._verify(path, status, body, Promise(size, (("sha256", digest),))):
                continue
            with self._lock:
                self.result.payload += 1
            problem = inner.get(stem_of(name), Promise(-1, ())).broken_by(decompress(name, body))
            if problem:
                self._miss(f"{path}: unpacked it {problem}")

    # Counting

    def _verify(self, path: str, status: int, body: bytes, promise: Promise) -> bool:
        self._count(1)
        problem = f"answered with {status}" if status != 200 else promise.broken_by(body)
        if problem:
            self._miss(f"{path}: {problem}")
        return not problem

    def _count(self, files: int) -> None:
        with self._lock:
            self.result.checked += files

    def _miss(self, what: str) -> None:
        with self._lock:
            self.result.misses.append(what)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("url", help="the folder that holds dists/, or a flat repository")
    parser.add_argument("--keyring", type=Path, required=True, help="the keys to believe, not armoured")
    parser.add_argument("--suite", action="append", required=True, help="as in a sources.list; ends in / for a flat repository")
    parser.add_argument("--component", action="append", default=[])
    parser.add_argument("--architecture", action="append", default=[])
    parser.add_argument("--exclude", action="append", default=[], metavar="GLOB", help="what the mirror leaves out")
    flags = ("sources", "contents", "dep11", "installer", "pdiffs")
    for flag in flags:
        parser.add_argument(f"--{flag}", action="store_true")
    given = parser.parse_args(arguments)
    options = Options(
        tuple(given.suite), tuple(given.component or ["main"]), tuple(given.architecture or ["amd64"]),
        excluded=tuple(given.exclude), **{flag: getattr(given, flag) for flag in flags},
    )  # fmt: skip
    result = Checker(given.url, given.keyring, options).check()
    for miss in result.misses:
        print(f"MISS {miss}")
    print(result)
    return 1 if result.misses else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
