"""A link between two regions: a relay that counts what goes back over it, and lets no more through than it is told."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

CHUNK = 32 << 10


class Link:
    """Carries connections to a port of this machine, and counts the bytes that come from there."""

    def __init__(self, port: int, *, bytes_per_second: int = 0, address: str = "127.0.0.1") -> None:
        self.target = port
        self.rate = bytes_per_second
        self.bytes = 0
        self._lock = threading.Lock()
        self._bound: int | None = None
        self._moved = threading.Condition()
        self._listener = socket.create_server((address, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def hold_at(self, total: int | None) -> None:
        """Nothing more goes on once so many bytes have crossed, but for what is just being carried; until another bound is set."""
        with self._moved:
            self._bound = total
            self._moved.notify_all()

    def close(self) -> None:
        self.hold_at(None)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            # What waits in sockets when somebody dies has crossed the link for nothing: let it be little.
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHUNK)
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            threading.Thread(target=self._carry, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, True), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                target.sendall(data)
                if is_answer:
                    self._count(len(data))
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _count(self, count: int) -> None:
        with self._lock:
            self.bytes += count
            if self.rate:
                time.sleep(count / self.rate)
        with self._moved:
            self._moved.wait_for(lambda: self._bound is None or self.bytes < self._bound)
