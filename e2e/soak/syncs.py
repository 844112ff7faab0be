"""Syncs without end, of which many are killed at random points."""

from __future__ import annotations

import random
import subprocess
import threading
from dataclasses import dataclass

from acceptance.place import Mirror, Place, plain_environment

#: Snapshots are kept as long as one may be needed; never more than 32 are. The upstream changes altogether between two
#: syncs that nobody kills, which the shrink guard is there to hold.
MUCH_CHANGES = {
    "snapshots": {"keep": 32, "minAge": "10m"},
    "verification": {"shrink": {"maxPercent": 100, "maxCount": 0}},
}


@dataclass
class Syncs:
    place: Place
    mirror: Mirror
    seed: int
    completed: int = 0
    killed: int = 0
    #: Ended by themselves, but not well: an upstream that publishes meanwhile may cause it, and it must not be all.
    refused: int = 0

    def loop(self, stop: threading.Event) -> None:
        dice = random.Random(self.seed)
        while not stop.is_set():
            self.once(dice.uniform(0, 0.5) if dice.random() < 0.5 else None)
            stop.wait(0.1)

    def once(self, kill_after: float | None) -> bool:
        """One sync; returns whether it was killed."""
        command = [
            self.place.binary, "sync", "-f", self.place.manifest_file(self.mirror), "--mirror", self.mirror.name,
            "--data", self.place.data, "-o", "json",
        ]  # fmt: skip
        process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=self.place.log, stderr=self.place.log, env=plain_environment()
        )
        try:
            process.wait(kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.killed += process.returncode == -9
        self.completed += process.returncode == 0
        self.refused += process.returncode not in (0, -9)
        return process.returncode == -9
