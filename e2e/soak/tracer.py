"""Reads InRelease as fast as it can, and whatever each new one names: no mix, no way back, nothing absent."""

from __future__ import annotations

import gzip
import hashlib
import json
import queue
import re
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from repository import packages_of, parse_release

from .upstream import Upstream

HERTZ = 200
FOLDER = "debian/dists/stable"
#: How many states back a client is that goes on.
HELD = 5


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
        held: deque[bytes] = deque(maxlen=HELD)
        while (body := self._found.get()) is not None:
            held.append(body)
            looks = (self._one_snapshot, self._by_plain_name, self._by_hash_and_packages)
            # A client that began some publishes ago and goes on now.
            for look, what in [*((look, body) for look in looks), (self._by_hash_and_packages, held[0])]:
                try:
                    look(get, what)
                except (OSError, LookupError, ValueError) as error:
                    self._violation(f"{look.__name__}: {type(error).__name__}: {error}")
                    get = Getter(self.port)

    def _one_snapshot(self, get: Getter, _body: bytes) -> None:
        """Under one id InRelease, Release and Release.gpg are of one state, and so is each index."""
        _, status = get(".mirrorfleet/status/debian")
        mirror, _, folder = FOLDER.partition("/")
        below = f".mirrorfleet/s/{mirror}/{json.loads(status)['snapshot']}/{folder}"
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
    """GET over one kept connection, by hand: Python's own client is too slow for the rate. A connection that breaks is
    an error, since the server stays up."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self._socket.makefile("rb")

    def __call__(self, path: str) -> tuple[int, bytes]:
        self._socket.sendall(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        status = int(self._stream.readline().split()[1])
        length = 0
        while line := self._stream.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return status, self._stream.read(length)
