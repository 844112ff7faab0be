"""What a tracer sees, and how it looks: again and again at what says which state is served."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Trace:
    polls: int = 0
    seconds: float = 0.0
    states: int = 0
    fetched: int = 0
    violations: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def hertz(self) -> float:
        return self.polls / self.seconds if self.seconds else 0.0

    def violation(self, what: str) -> None:
        with self._lock:
            self.violations.append(what)

    def get(self, get: Getter, path: str) -> bytes:
        """What has to be there."""
        status, body = get(path)
        self.fetched += 1
        if status != 200:
            self.violation(f"{path}: {status}")
            return b""
        return body

    def poll(
        self, port: int, path: str, hertz: float, stop: threading.Event, number_of: Callable[[bytes], int | None], found: Callable[[Getter, bytes], None]
    ) -> None:
        """Each answer must be of a state that was published, and never of an earlier one than the answer before. `found` is told of
        each other answer."""
        get, name = Getter(port), path.rpartition("/")[2]
        last, number = b"", -1
        started = time.monotonic()
        while not stop.is_set():
            asked = time.monotonic()
            status, body = get(path)
            self.polls += 1
            if status != 200:
                self.violation(f"{name}: {status}")
            elif body != last:
                state = number_of(body)
                if state is None or state <= number:
                    self.violation(f"{name}: state {state} after {number}")
                number = state if state is not None else number
                last = body
                self.states += 1
                found(get, body)
            time.sleep(max(0.0, 1 / hertz - (time.monotonic() - asked)))
        self.seconds = time.monotonic() - started


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
