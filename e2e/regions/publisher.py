"""An upstream that publishes every two seconds, and asks for a sync each time."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections import deque
from pathlib import Path

from lab import LabError
from world import PACKAGE, REQUEST

PERIOD_SECONDS = 2.0
#: States whose indices the upstream still has by hash.
KEPT = 10


class Publisher:
    """`with Publisher(fleet) as publisher:`"""

    def __init__(self, fleet) -> None:
        self.fleet = fleet
        self.published = 0
        #: Who signs, where that is not the archive itself.
        self.stranger = None
        self.failure: Exception | None = None
        self.ended = threading.Event()
        self.folders = [fleet.archive.state("stable")]
        #: What each of the newest states has added by hash.
        self.by_hash: deque[set[Path]] = deque(maxlen=KEPT)

    def __enter__(self) -> Publisher:
        self.thread = threading.Thread(target=self._go, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, kind, *_: object) -> None:
        self.ended.set()
        self.thread.join(60)
        if self.failure and not kind:
            raise self.failure

    @contextlib.contextmanager
    def signed_by(self, stranger):
        """What is published meanwhile is to be refused."""
        self.stranger = stranger
        try:
            yield
        finally:
            self.stranger = None

    def _go(self) -> None:
        try:
            while not self.ended.is_set():
                began = time.monotonic()
                self._publish()
                self.ended.wait(max(0.0, PERIOD_SECONDS - (time.monotonic() - began)))
        except Exception as error:  # noqa: BLE001 raised where the story ends
            self.failure = error

    def _publish(self) -> None:
        archive = self.fleet.archive
        self.published += 1
        archive.add_package("stable", PACKAGE, f"2.{self.published}")
        archive.publish("stable", key=self.stranger)
        self.folders.append(archive.state("stable"))
        self._forget()
        # While there is no API server, nobody can ask for anything.
        with contextlib.suppress(LabError):
            request = {"metadata": {"annotations": {REQUEST: self.fleet.world.next_request()}}}
            self.fleet.lab.merge("mirror", "debian", self.fleet.namespace, request)

    def _forget(self) -> None:
        """What is older goes, or each state would cost more than the one before."""
        newest = self.folders[-1]
        there = {path.relative_to(newest) for path in newest.rglob("by-hash/*/*")}
        self.by_hash.append(there - set().union(*self.by_hash))
        for old in there - set().union(*self.by_hash):
            (newest / old).unlink()
        if len(self.folders) > KEPT:
            shutil.rmtree(self.folders.pop(0))
