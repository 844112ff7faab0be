"""An upstream that publishes all the time, and the record of what it has published."""

from __future__ import annotations

import hashlib
import random
import shutil
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from acceptance.debian import DebianArchive, Package, Suite
from acceptance.place import Place

SUITE = Suite("stable", suite="stable", codename="stable", components=("main", "contrib"))
PACKAGES = 24
#: A file leaves the pool so many publishes after its package left the index, as at real archives.
GRACE = 3


@dataclass(frozen=True)
class State:
    """One published state: its number and the digests of its files."""

    number: int
    #: InRelease, Release and Release.gpg.
    roots: dict[str, str]
    #: Relative to the Release.
    indices: dict[str, str]


class Upstream:
    def __init__(self, place: Place, seed: int) -> None:
        self.random = random.Random(seed)
        self.archive = DebianArchive(place.upstreams / "debian", place.signers)
        self._states: list[State] = []
        self._lock = threading.Lock()
        self._leaving: deque[list[Path]] = deque()
        self._folders: deque[Path] = deque()
        self._made = 0
        for component in SUITE.components:
            self.archive.add_many(SUITE, [self._name() for _ in range(PACKAGES // 2)], component=component)
        self._publish()

    def _name(self) -> str:
        self._made += 1
        return f"package{self._made}"

    def advance(self, arrivals: int = 2) -> None:
        """Some packages come, some go, and one component of the two often stays as it is."""
        listed = self.archive.packages[SUITE.name]
        component = self.random.choice(SUITE.components)
        gone = [self._remove(component, listed) for _ in range(arrivals if len(listed) > PACKAGES else 0)]
        self._leaving.append([path for path in gone if path])
        for _ in range(arrivals):
            self.archive.add(SUITE, self._name(), component=component)
        self._publish()
        if len(self._leaving) > GRACE:
            for file in self._leaving.popleft():
                file.unlink()

    def _remove(self, component: str, listed: list[Package]) -> Path | None:
        names = [package.name for package in listed if package.component == component]
        return self.archive.remove(SUITE, self.random.choice(names)).file if len(names) > 2 else None

    def _publish(self) -> None:
        self.archive.publish(SUITE)
        folder = self.archive.folder(SUITE).resolve()
        state = State(
            len(self._states),
            {name: digest_of(folder / name) for name in ("InRelease", "Release", "Release.gpg")},
            {str(path.relative_to(folder)): digest_of(path) for path in folder.rglob("Packages.*") if path.is_file()},
        )
        with self._lock:
            self._states.append(state)
        self._folders.append(folder)
        if len(self._folders) > GRACE:
            shutil.rmtree(self._folders.popleft())

    def states(self) -> list[State]:
        with self._lock:
            return list(self._states)

    def state_of(self, name: str, body: bytes) -> State | None:
        """The state that a root file belongs to. Recorded a moment after it could be seen, and when the publisher has its turn."""
        digest = hashlib.sha256(body).hexdigest()
        for _ in range(1000):
            for state in reversed(self.states()):
                if state.roots[name] == digest:
                    return state
            time.sleep(0.02)
        return None


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
