"""Loops of real apts, and the count of what they complained about."""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from acceptance.apt import COMPLAINT, Apt

#: The first that fits names the complaint.
KINDS = {
    "hash sum mismatches": re.compile(r"Hash Sum mismatch|unexpected size|Mirror sync in progress"),
    "404": re.compile(r"\b404\b"),
    "signature errors": re.compile(r"NO_PUBKEY|BADSIG|EXPKEYSIG|not signed|GPG error|signatures"),
}
FORGETS_EVERY = 4


@dataclass
class Client:
    name: str
    group: str
    apt: Apt
    seed: int
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def log(self) -> Path:
        return self.apt.log

    def loop(self, stop: threading.Event) -> None:
        dice = random.Random(self.seed)
        while not stop.is_set():
            if dice.randrange(FORGETS_EVERY) == 0:
                self.apt.forget_lists()
            self._call("updates", "update")
            if names := self.names():
                self._call("downloads", "install", "--download-only", dice.choice(names))
            self._call("", "clean")

    def names(self) -> list[str]:
        found = []
        for lists in self.apt.lists.glob("*_Packages"):
            found += re.findall(r"^Package: (\S+)$", lists.read_text(), re.MULTILINE)
        return sorted(found)

    def _call(self, what: str, *arguments: str) -> None:
        done = self.apt.run("apt-get", *arguments)
        said = done.stdout + done.stderr
        self.counts[what] += 1
        if done.returncode or COMPLAINT.search(said):
            self.counts[next((kind for kind, looks in KINDS.items() if looks.search(said)), "other complaints")] += 1
