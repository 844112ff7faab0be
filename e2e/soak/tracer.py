"""Reads InRelease as fast as it can, and whatever each new one names: no mix, no way back, nothing absent."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import queue
import re
import threading
import time
from dataclasses import dataclass, field

from repository import packages_of, parse_release

from .upstream import Upstream

HERTZ = 200
FOLDER = "debian/dists/stable"


@dataclass
class Trace:
    polls: int = 0
    seconds: float = 0.0
    states: int = 0
    fetched: int = 0
    violations: list[str] = field(default_factory=list)

    @property
    def hertz(self) -> float:
        return self.polls / self.seconds if self.seconds else 0.0


class Tracer:
    """One thread polls, another follows what it found, so that following does not slow the polling down."""

    def __init__(self, port: int, upstream: Upstream) -> None:
        self.port, self.upstream = port, upstream
        self.trace = Trace()
        self._found: queue.Queue[bytes | None] = queue.Queue()
        self._lock = threading.Lock()

    def poll(self, stop: threading.Event) -> None:
        """Each answer must be of a state that was published, and never of an earlier one than the answer before."""
        get = Getter(self.port)
        last, number = b"", -1
        started = time.monotonic()
        while not stop.is_set():
            asked = time.monotonic()
            status, body = get(f"{FOLDER}/InRelease")
            self.trace.polls += 1
            if status != 200:
                self._violation(f"InRelease: {status}")
            elif body != last:
                state = self.upstream.state_of("InRelease", body)
                if state is None or state.number <= number:
                    self._violation(f"InRelease: state {state and state.number} after {number}")
                number = state.number if state else number
                last = body
                self.trace.states += 1
                self._found.put(body)
            time.sleep(max(0.0, 1 / HERTZ - (time.monotonic() - asked)))
        self.trace.seconds = time.monotonic() - started
        self._found.put(None)

    def follow(self) -> None:
        get = Getter(self.port)
        while (body := self._found.get()) is not None:
            for look in (self._one_snapshot, self._by_plain_name, self._by_hash_and_packages):
                try:
                    look(get, body)
                except (OSError, http.client.HTTPException, LookupError, ValueError) as error:
                    self._violation(f"{look.__name__}: {type(error).__name__}: {error}")
                    get = Getter(self.port)

    def _one_snapshot(self, get: Getter, _body: bytes) -> None:
        """Under one id InRelease, Release and Release.gpg are of one state, and so is each index."""
        _, status = get(".mirrorfleet/status/debian")
        below = f".mirrorfleet/s/{json.loads(status)['snapshot']}/{FOLDER}"
        states = {}
        for name in ("InRelease", "Release", "Release.gpg"):
            body = self._get(get, f"{below}/{name}")
            states[name] = self.upstream.state_of(name, body)
        if len({state and state.number for state in states.values()}) != 1 or None in states.values():
            self._violation(f"{below}: a mix of {({name: state and state.number for name, state in states.items()})}")
            return
        state = next(state for state in states.values() if state)
        for name, digest in state.indices.items():
            if hashlib.sha256(self._get(get, f"{below}/{name}")).hexdigest() != digest:
                self._violation(f"{below}/{name}: not that of state {state.number}")

    def _by_plain_name(self, get: Getter, _body: bytes) -> None:
        """An index that is read between two InReleases is of one of their states or of one between; of that state if
        they are the same."""
        release = "InRelease"
        names = list(self.upstream.states()[0].indices)
        for name in names:
            before = self.upstream.state_of(release, self._get(get, f"{FOLDER}/{release}"))
            body = self._get(get, f"{FOLDER}/{name}")
            after = self.upstream.state_of(release, self._get(get, f"{FOLDER}/{release}"))
            if before is None or after is None:
                self._violation("InRelease: of no published state")
                continue
            possible = {state.indices[name] for state in self.upstream.states()[before.number : after.number + 1]}
            if hashlib.sha256(body).hexdigest() not in possible:
                self._violation(f"{name}: of none of the states {before.number} to {after.number}")

    def _by_hash_and_packages(self, get: Getter, body: bytes) -> None:
        """All that the InRelease names by digest, and all packages that those name, however old it has become."""
        text = re.sub(r"\A.*?\n\n", "", body.decode().split("-----BEGIN PGP SIGNATURE")[0], count=1, flags=re.DOTALL)
        for name, promise in parse_release(text).files.items():
            if not name.endswith((".gz", ".xz")):
                continue
            folder = name.rpartition("/")[0]
            for field_name, algorithm in (("SHA256", "sha256"), ("MD5Sum", "md5")):
                digest = dict(promise.digests)[algorithm]
                index = self._get(get, f"{FOLDER}/{folder}/by-hash/{field_name}/{digest}")
                if problem := promise.broken_by(index):
                    self._violation(f"by-hash of {name}: {problem}")
            if name.endswith(".gz"):
                self._packages(get, index)

    def _packages(self, get: Getter, index: bytes) -> None:
        for path, promise in packages_of(gzip.decompress(index)):
            if problem := promise.broken_by(self._get(get, f"debian/{path}")):
                self._violation(f"{path}: {problem}")

    def _get(self, get: Getter, path: str) -> bytes:
        status, body = get(path)
        self.trace.fetched += 1
        if status != 200:
            self._violation(f"{path}: {status}")
        return body

    def _violation(self, what: str) -> None:
        with self._lock:
            self.trace.violations.append(what)


class Getter:
    """GET over one kept connection. A connection that breaks is an error: the server stays up."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def __call__(self, path: str) -> tuple[int, bytes]:
        self._connection.request("GET", "/" + path)
        response = self._connection.getresponse()
        return response.status, response.read()
