"""`python3 -m soak.pacmans [--short]`: the soak of pacman's repositories, with the tracer, and a table of what they counted.

Pacmans read, upgrade and download without end, half of them through squid and half of them asking for signed databases too,
while the upstream publishes and syncs are killed. Every complaint of a pacman and every mix that the tracer sees is a
failure; and one that read the databases before everything else downloads at the end all that they name.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import sys
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from acceptance.arch import ArchMirror, arch_mirror, checked, servers
from acceptance.arch_checker import sections, unpacked
from acceptance.arch_upstream import ArchUpstream
from acceptance.pacman import COMPLAINT, Pacman
from acceptance.place import Place, Server
from environment import test_environment

from .squid import Squid
from .syncs import MUCH_CHANGES, Syncs
from .trace import Getter, Trace
from .under_load import Outcome, publishing

WORK = Path(__file__).resolve().parent.parent / ".work" / "soak-pacmans"
REPOS = ("core", "extra")
PACKAGES = 12
HERTZ = 100
#: A package's file goes so many publishes after its successor came, as at real upstreams.
GRACE = 3
#: How many states back a client is that goes on.
HELD = 5
#: The first that fits names the complaint.
KINDS = {
    "404": re.compile(r"\b404\b"),
    "invalid or corrupted": re.compile(r"invalid or corrupted|is invalid|checksum"),
    "signature errors": re.compile(r"unknown trust|marginal trust|signature|required key"),
}
COMPLAINTS = (*KINDS, "other complaints")
KEEPING = {**MUCH_CHANGES, "snapshots": {"keep": 4, "minAge": "24h"}}


@dataclass(frozen=True)
class Size:
    clients: int
    publishes: int
    seconds: float


FULL = Size(clients=8, publishes=100, seconds=600)
SHORT = Size(clients=4, publishes=12, seconds=25)


class Upstream:
    """Two repositories in which packages are renewed, come and go; and which databases there ever were."""

    def __init__(self, place: Place, seed: int) -> None:
        self.random = random.Random(seed)
        self.arch = ArchUpstream(place.upstreams / "arch", ring=place.ring, signs_databases=True)
        self.publishes = 0
        self._versions = itertools.count(2)
        self._names = itertools.count(1)
        self._leaving: deque[list[Path]] = deque()
        self._lock = threading.Lock()
        #: Digests of `core.db`, in their order.
        self._states: list[str] = []
        for repo in itertools.islice(itertools.cycle(REPOS), PACKAGES):
            self._add(repo, f"tool{next(self._names)}")

    def advance(self) -> None:
        """Something is renewed, now and then something comes or goes."""
        gone: list[Path] = []
        repo, name = self.random.choice(list(self.arch.packages))
        gone += self._files(repo, name)
        self._add(repo, name, f"{next(self._versions)}-1")
        if self.random.random() < 0.3:
            self._add(self.random.choice(REPOS), f"tool{next(self._names)}")
        of_extra = [name for repo, name in self.arch.packages if repo == "extra"]
        if len(of_extra) > PACKAGES // 2:
            name = self.random.choice(of_extra)
            gone += self._files("extra", name)
            self.arch.remove("extra", name, files=False)
        self.publishes += 1
        self._leaving.append(gone)
        if len(self._leaving) > GRACE:
            for file in self._leaving.popleft():
                file.unlink(missing_ok=True)

    def _files(self, repo: str, name: str) -> list[Path]:
        package = self.arch.packages[repo, name]
        return [package.file, package.signature]

    def _add(self, repo: str, name: str, version: str = "1-1") -> None:
        self.arch.add(repo, name, version)
        if repo == "core":
            with self._lock:
                self._states.append(hashlib.sha256(self.arch.database("core").read_bytes()).hexdigest())

    def number_of(self, database: bytes) -> int | None:
        """The place of a state among those that were published. It is noted a moment after it can be seen."""
        digest = hashlib.sha256(database).hexdigest()
        for _ in range(1000):
            with self._lock:
                if digest in self._states:
                    return self._states.index(digest)
            time.sleep(0.02)
        return None


@dataclass
class Client:
    name: str
    group: str
    pacman: Pacman
    seed: int
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def log(self) -> Path:
        return self.pacman.log

    def loop(self, stop: threading.Event) -> None:
        dice = random.Random(self.seed)
        while not stop.is_set():
            if self._call("updates", "-Sy") and (names := self.names()):
                self._call("downloads", "-Sw", dice.choice(names))
                self._call("upgrades", "-Su" if dice.random() < 0.5 else "-Syuw")
                self._call("installs", "-S", dice.choice(names))
            if dice.random() < 0.3:
                shutil.rmtree(self.pacman.cache)
                self.pacman.cache.mkdir()

    def names(self) -> list[str]:
        """What its own databases have."""
        said = self.pacman.run("-Slq").stdout
        return sorted(said.split())

    def _call(self, what: str, *arguments: str) -> bool:
        done = self.pacman.run(*arguments)
        said = done.stdout + done.stderr
        self.counts[what] += 1
        is_clean = not done.returncode and not COMPLAINT.search(said)
        if not is_clean:
            self.counts[next((kind for kind, looks in KINDS.items() if looks.search(said)), "other complaints")] += 1
        return is_clean


class Tracer:
    """Reads `core.db` as fast as it can: each was published, none is older than the one before, and all that it names is there,
    by digest and with its signature, also when it is some states old."""

    FOLDER = "arch/core/os/x86_64"

    def __init__(self, port: int, upstream: Upstream) -> None:
        self.port, self.upstream = port, upstream
        self.trace = Trace()

    def poll(self, stop: threading.Event) -> None:
        held: deque[bytes] = deque(maxlen=HELD)

        def found(get: Getter, body: bytes) -> None:
            held.append(body)
            self._one_snapshot(get)
            for database in (body, held[0]):
                self._packages(get, database)

        self.trace.poll(self.port, f"{self.FOLDER}/core.db", HERTZ, stop, self.upstream.number_of, found)

    def _one_snapshot(self, get: Getter) -> None:
        """Under one id the database, its second name and its signature are of one state."""
        _, status = get(".mirrorfleet/status/arch")
        mirror, _, folder = self.FOLDER.partition("/")
        below = f".mirrorfleet/s/{mirror}/{json.loads(status)['snapshot']}/{folder}"
        database = self.trace.get(get, f"{below}/core.db")
        if self.trace.get(get, f"{below}/core.db.tar.gz") != database:
            self.trace.violation(f"{below}: core.db and core.db.tar.gz are two")
        work = self.upstream.arch.root.parent.parent / "traced.db"
        work.write_bytes(database)
        signature = work.with_name("traced.db.sig")
        signature.write_bytes(self.trace.get(get, f"{below}/core.db.sig"))
        if not self.upstream.arch.ring.fits(signature, work):
            self.trace.violation(f"{below}: core.db.sig is not that of core.db")

    def _packages(self, get: Getter, database: bytes) -> None:
        for path, text in unpacked(database).items():
            if not path.endswith("/desc"):
                continue
            said = sections(text)
            name = said["FILENAME"][0]
            body = self.trace.get(get, f"{self.FOLDER}/{name}")
            if hashlib.sha256(body).hexdigest() != said["SHA256SUM"][0]:
                self.trace.violation(f"{name}: not what the database promises")
            if not self.trace.get(get, f"{self.FOLDER}/{name}.sig"):
                self.trace.violation(f"{name}.sig: empty")


@dataclass
class Soaked(Outcome):
    #: What who read the databases first downloaded at the end, and how many packages they named.
    downloaded: int
    named: int

    def failures(self, complaints: tuple[str, ...] = COMPLAINTS, last: str = "installs") -> list[str]:
        found = super().failures(complaints, last)
        if not self.proxy_hits:
            found.append("no answer came from the proxy: too little happened")
        if self.downloaded != self.named:
            found.append(f"yesterday's client downloaded {self.downloaded} of {self.named} packages")
        return found


def soak(place: Place, size: Size, seed: int) -> Soaked:
    upstream = Upstream(place, seed)
    keys = {"keys.gpg": place.keyring}
    trust = {"keyringRef": {"kind": "ConfigMap", "name": "keys", "key": "keys.gpg"}, "databases": "Required"}
    mirror = arch_mirror(place, "arch", *REPOS, trust=trust, keys=keys, spec=KEEPING)
    place.sync(mirror)
    server, squid = place.serve(), Squid(place)
    place.wait_until_served(server, mirror)
    yesterday = Pacman(place.workdir / "yesterday", servers(server, mirror), ring=place.ring, level="Required")
    yesterday.clean("-Sy")
    try:
        clients = [client(place, server, squid, mirror, number, seed) for number in range(size.clients)]
        syncs, tracer = Syncs(place, mirror, seed), Tracer(server.port, upstream)
        publishing(upstream, size, [*(c.loop for c in clients), syncs.loop, tracer.poll])
        place.sync(mirror)
        checked(place, server, mirror)
        assert place.mirrorfleet("verify", "--data", place.data).returncode == 0, f"verify finds damage; see {place.log.name}"
        # What it warns of beside is not among the names.
        named = yesterday.run("-Slq").stdout.split()
        done = yesterday.run("-Sw", *named)
        downloaded = list(yesterday.cache.glob("*.pkg.tar.zst"))
        if done.returncode:
            print(done.stdout + done.stderr)
        return Soaked(clients, syncs, tracer.trace, upstream.publishes, squid.hits(), len(downloaded), len(named))
    finally:
        squid.close()


def client(place: Place, server: Server, squid: Squid, mirror: ArchMirror, number: int, seed: int) -> Client:
    """Half of all through the proxy, half of all with signed databases, so that each quarter is there."""
    proxied, signed = number % 2 == 0, number // 2 % 2 == 0
    level = "Required" if signed else "Required DatabaseNever"
    group = f"{'signed databases' if signed else 'signed packages'}, {'through the proxy' if proxied else 'direct'}"
    pacman = Pacman(place.workdir / f"pacman{number}", servers(server, mirror), ring=place.ring, proxy=squid.url if proxied else "", level=level)
    return Client(f"pacman{number}", group, pacman, seed + number)


def table(outcome: Soaked) -> str:
    return "\n".join(
        [
            *outcome.table(("updates", "downloads", "upgrades", "installs", *COMPLAINTS)),
            f"yesterday  {outcome.downloaded} of {outcome.named} packages downloaded by who read the databases before all publishes",
        ]
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="the form that `make test` runs")
    parser.add_argument("--clients", type=int, help=f"how many pacmans, instead of {FULL.clients}")
    parser.add_argument("--publishes", type=int, help=f"how many publishes, instead of {FULL.publishes}")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="to repeat a run's choices")
    given = parser.parse_args(arguments)
    os.environ.update(test_environment())
    chosen = {name: value for name in ("clients", "publishes") if (value := getattr(given, name))}
    size = dataclasses.replace(SHORT if given.short else FULL, **chosen)
    print(f"seed {given.seed}, {size}", flush=True)
    shutil.rmtree(WORK, ignore_errors=True)
    with Place(WORK) as place:
        outcome = soak(place, size, given.seed)
    print(table(outcome))
    if failures := outcome.failures():
        print("\n".join(failures))
        return 1
    shutil.rmtree(WORK, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
