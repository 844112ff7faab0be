"""One real apt, again and again, that asks for each thing once and may miss nothing."""

from __future__ import annotations

import threading
import time

from lab import wait_until
from world import PACKAGE, AptClient

#: Between two rounds.
PAUSE_SECONDS = 0.3


class AptLoop:
    """`with AptLoop(fleet, source) as loop:`; `source` is what follows `deb` in a sources.list, without the suite."""

    def __init__(self, fleet, source: str) -> None:
        self.fleet = fleet
        root = fleet.world.workdir / "apt" / f"{fleet.name}-{time.monotonic_ns()}"
        self.client = AptClient(root, fleet.world.key.public(), f"{source} stable main")
        self.rounds = 0
        #: The file that the last round got.
        self.newest = ""
        self.failures: list[str] = []
        self.ended = threading.Event()

    def __enter__(self) -> AptLoop:
        self.thread = threading.Thread(target=self._go, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join(120)

    def _go(self) -> None:
        while not self.ended.wait(PAUSE_SECONDS):
            try:
                self.newest = self.client.download(self.fleet.lab, PACKAGE).name
                self.rounds += 1
            except Exception as error:  # noqa: BLE001 judged below
                self.failures.append(f"{time.strftime('%H:%M:%S', time.gmtime())} {error}")

    def goes_on(self) -> None:
        """Two more rounds, of which the second began after now."""
        before = self.rounds
        wait_until(lambda: self.rounds >= before + 2, 120, "the apt to go on", detail=lambda: "\n".join(self.failures[-3:]))

    def gets(self, version: str) -> None:
        wait_until(lambda: f"_{version}_" in self.newest, 120, f"the apt to get {version}", detail=lambda: self.newest)

    def judged(self) -> str:
        assert not self.failures, f"{len(self.failures)} rounds failed beside {self.rounds}: " + "\n".join(self.failures[:5])
        assert self.rounds, "apt never came to an end"
        return f"{self.rounds} rounds of an apt"
