"""Reads InRelease as fast as it can, and whatever each new one names: no mix, no way back, nothing absent."""

from __future__ import annotations

import gzip
import hashlib
import json
import queue
import re
import threading
from collections import deque

from repository import packages_of, parse_release

from .trace import Getter, Trace
from .upstream import Upstream

HERTZ = 200
FOLDER = "debian/dists/stable"
#: How many states back a client is that goes on.
HELD = 5


class Tracer:
    """One thread polls, another follows what it found, so that following does not slow the polling down."""

    def __init__(self, port: int, upstream: Upstream) -> None:
        self.port, self.upstream = port, upstream
        self.trace = Trace()
        self._found: queue.Queue[bytes | None] = queue.Queue()

    def poll(self, stop: threading.Event) -> None:
        number_of = lambda body: state.number if (state := self.upstream.state_of("InRelease", body)) else None  # noqa: E731
        try:
            self.trace.poll(self.port, f"{FOLDER}/InRelease", HERTZ, stop, number_of, lambda _get, body: self._found.put(body))
        finally:
            self._found.put(None)

    def follow(self, _stop: threading.Event) -> None:
        """Until the polling has ended."""
        get = Getter(self.port)
        held: deque[bytes] = deque(maxlen=HELD)
        while (body := self._found.get()) is not None:
            held.append(body)
            looks = (self._one_snapshot, self._by_plain_name, self._by_hash_and_packages)
            # A client that began some publishes ago and goes on now.
            for look, what in [*((look, body) for look in looks), (self._by_hash_and_packages, held[0])]:
                try:
                    look(get, what)
                except (OSError, LookupError, ValueError) as error:
                    self.trace.violation(f"{look.__name__}: {type(error).__name__}: {error}")
                    get = Getter(self.port)

    def _one_snapshot(self, get: Getter, _body: bytes) -> None:
        """Under one id InRelease, Release and Release.gpg are of one state, and so is each index."""
        _, status = get(".mirrorfleet/status/debian")
        mirror, _, folder = FOLDER.partition("/")
        below = f".mirrorfleet/s/{mirror}/{json.loads(status)['snapshot']}/{folder}"
        states = {}
        for name in ("InRelease", "Release", "Release.gpg"):
            body = self.trace.get(get, f"{below}/{name}")
            states[name] = self.upstream.state_of(name, body)
        if len({state and state.number for state in states.values()}) != 1 or None in states.values():
            self.trace.violation(f"{below}: a mix of {({name: state and state.number for name, state in states.items()})}")
            return
        state = next(state for state in states.values() if state)
        for name, digest in state.indices.items():
            if hashlib.sha256(self.trace.get(get, f"{below}/{name}")).hexdigest() != digest:
                self.trace.violation(f"{below}/{name}: not that of state {state.number}")

    def _by_plain_name(self, get: Getter, _body: bytes) -> None:
        """An index that is read between two InReleases is of one of their states or of one between; of that state if
        they are the same."""
        release = "InRelease"
        names = list(self.upstream.states()[0].indices)
        for name in names:
            before = self.upstream.state_of(release, self.trace.get(get, f"{FOLDER}/{release}"))
            body = self.trace.get(get, f"{FOLDER}/{name}")
            after = self.upstream.state_of(release, self.trace.get(get, f"{FOLDER}/{release}"))
            if before is None or after is None:
                self.trace.violation("InRelease: of no published state")
                continue
            possible = {state.indices[name] for state in self.upstream.states()[before.number : after.number + 1]}
            if hashlib.sha256(body).hexdigest() not in possible:
                self.trace.violation(f"{name}: of none of the states {before.number} to {after.number}")

    def _by_hash_and_packages(self, get: Getter, body: bytes) -> None:
        """All that the InRelease names by digest, and all packages that those name, however old it has become."""
        text = re.sub(r"\A.*?\n\n", "", body.decode().split("-----BEGIN PGP SIGNATURE")[0], count=1, flags=re.DOTALL)
        for name, promise in parse_release(text).files.items():
            if not name.endswith((".gz", ".xz")):
                continue
            folder = name.rpartition("/")[0]
            for field_name, algorithm in (("SHA256", "sha256"), ("MD5Sum", "md5")):
                digest = dict(promise.digests)[algorithm]
                index = self.trace.get(get, f"{FOLDER}/{folder}/by-hash/{field_name}/{digest}")
                if problem := promise.broken_by(index):
                    self.trace.violation(f"by-hash of {name}: {problem}")
            if name.endswith(".gz"):
                self._packages(get, index)

    def _packages(self, get: Getter, index: bytes) -> None:
        for path, promise in packages_of(gzip.decompress(index)):
            if problem := promise.broken_by(self.trace.get(get, f"debian/{path}")):
                self.trace.violation(f"{path}: {problem}")
