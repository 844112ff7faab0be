"""Which states an upstream has published, for those who judge what is served; written by one process and read by others."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

from archive import ARCHITECTURE, COMPONENT
from repository import packages_of

#: A state is in the record before it can be seen, but for what a disk takes, and for when its reader has its turn.
PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class State:
    #: From 0, as they were published.
    number: int
    #: SHA-256 of InRelease.
    root: str
    #: SHA-256 of the gzipped Packages.
    index: str
    #: Of each package its path in the archive and its SHA-256.
    packages: tuple[tuple[str, str], ...]


class Writing:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        path.touch()

    def note(self, folder: Path) -> None:
        """A suite's folder, before it is served."""
        binary = folder / COMPONENT / f"binary-{ARCHITECTURE}"
        packages = [(path, dict(promise.digests)["sha256"]) for path, promise in packages_of((binary / "Packages").read_bytes())]
        line = [self.number, digest_of(folder / "InRelease"), digest_of(binary / "Packages.gz"), packages]
        with self.path.open("a") as file:
            print(json.dumps(line), file=file)
        self.number += 1


class Reading:
    def __init__(self, path: Path) -> None:
        self._file = path.open()
        self._states: dict[str, State] = {}
        self._rest = ""

    def of_root(self, body: bytes) -> State | None:
        """The state that an InRelease is of; none if it is of none."""
        digest = hashlib.sha256(body).hexdigest()
        until = time.monotonic() + PATIENCE_SECONDS
        while digest not in self._states and time.monotonic() < until:
            if not self._read_on():
                time.sleep(0.02)
        return self._states.get(digest)

    def _read_on(self) -> bool:
        self._rest += self._file.read()
        lines = self._rest.split("\n")
        self._rest = lines.pop()
        for line in lines:
            number, root, index, packages = json.loads(line)
            self._states[root] = State(number, root, index, tuple((path, digest) for path, digest in packages))
        return bool(lines)


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
