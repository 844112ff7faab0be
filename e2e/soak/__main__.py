"""`python3 -m soak [--short] [--only-by-hash]`: the soak, the tracer and the kill-storm, and a table of what they counted.

Every complaint of an apt, every mix that the tracer sees and every damage after a kill is a failure.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import random
import shutil
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from acceptance.apt import Apt
from acceptance.place import Place, Server
from environment import test_environment

from .clients import KINDS, Client
from .squid import Squid
from .storm import Storm, kill_storm
from .syncs import MUCH_CHANGES, Syncs
from .tracer import Trace, Tracer
from .upstream import Upstream

WORK = Path(__file__).resolve().parent.parent / ".work" / "soak"
PERIOD = 2.0
#: Thirty apts want more than two cores give; the upstream, the syncs and the tracer must keep their pace beside them.
POLITELY = ("nice", "-n", "10")
COMPLAINTS = (*KINDS, "other complaints")


@dataclass(frozen=True)
class Size:
    clients: int
    publishes: int
    seconds: float
    kills: int


FULL = Size(clients=30, publishes=200, seconds=600, kills=50)
SHORT = Size(clients=8, publishes=20, seconds=45, kills=15)


@dataclass
class Outcome:
    clients: list[Client]
    syncs: Syncs
    trace: Trace
    publishes: int
    proxy_hits: int

    def failures(self) -> list[str]:
        found = [f"{c.name}: {c.counts[kind]} × {kind}; see {c.apt.log}" for c in self.clients for kind in COMPLAINTS if c.counts[kind]]
        found += [f"{c.name}: not one whole loop; see {c.apt.log}" for c in self.clients if not c.counts["downloads"]]
        found += [f"tracer: {violation}" for violation in self.trace.violations[:20]]
        if self.trace.states < 3 or not self.syncs.killed:
            found.append(f"the tracer saw {self.trace.states} states and {self.syncs.killed} syncs were killed: too little happened")
        return found


def soak(place: Place, size: Size, seed: int, only_by_hash: bool) -> Outcome:
    upstream = Upstream(place, seed)
    spec = {**MUCH_CHANGES} if only_by_hash else {**MUCH_CHANGES, "serving": {"transactions": "Always"}}
    mirror = place.mirror("debian", "debian", ("stable",), components=("main", "contrib"), spec=spec)
    place.sync(mirror)
    server, squid = place.serve(), Squid(place)
    try:
        clients = [client(place, server, squid, number, seed, only_by_hash) for number in range(size.clients)]
        syncs, tracer = Syncs(place, mirror, seed), Tracer(server.port, upstream)
        stop = threading.Event()
        loops = [*(c.loop for c in clients), syncs.loop, tracer.poll]
        threads = [threading.Thread(target=loop, args=(stop,)) for loop in loops] + [threading.Thread(target=tracer.follow)]
        for thread in threads:
            thread.start()
        try:
            publish_all(upstream, size)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        place.sync(mirror)
        place.check(server, mirror)
        assert place.mirrorfleet("verify", "--data", place.data).returncode == 0, f"verify finds damage; see {place.log.name}"
        return Outcome(clients, syncs, tracer.trace, len(upstream.states()) - 1, squid.hits())
    finally:
        squid.close()


def publish_all(upstream: Upstream, size: Size) -> None:
    """As many publishes as asked for, or as fit into the time."""
    end = time.monotonic() + size.seconds
    for _ in range(size.publishes):
        began = time.monotonic()
        if began > end:
            break
        upstream.advance()
        time.sleep(max(0.0, PERIOD - (time.monotonic() - began)))


def client(place: Place, server: Server, squid: Squid, number: int, seed: int, only_by_hash: bool) -> Client:
    """Half of all without by-hash, half of all through the proxy, so that each quarter is there."""
    by_hash, proxied = only_by_hash or number % 2 == 0, number // 2 % 2 == 0
    settings = {"Acquire__http__Proxy": squid.url if proxied else "DIRECT"}
    if not by_hash:
        settings["Acquire__By-Hash"] = "no"
    group = f"{'by hash' if by_hash else 'without by-hash'}, {'through the proxy' if proxied else 'direct'}"
    apt = Apt(place.workdir / f"client{number}", place.keyring, f"deb {server.url('debian')} stable main contrib", **settings)
    apt.prefix = POLITELY
    return Client(f"client{number}", group, apt, seed + number)


def table(outcome: Outcome, storm: Storm) -> str:
    columns = ("updates", "downloads", *COMPLAINTS)
    rows = [("clients", "n", *columns)]
    for group in sorted({c.group for c in outcome.clients}):
        members = [c for c in outcome.clients if c.group == group]
        counts = sum((c.counts for c in members), Counter())
        rows.append((group, str(len(members)), *(str(counts[column]) for column in columns)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) if not column else cell.rjust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in rows]
    syncs, trace = outcome.syncs, outcome.trace
    return "\n".join(
        [
            *lines,
            f"upstream   {outcome.publishes} publishes; syncs: {syncs.completed} completed, {syncs.killed} killed, {syncs.refused} ended by the upstream's change",
            f"proxy      {outcome.proxy_hits} answers from its cache",
            f"tracer     {trace.polls} polls at {trace.hertz:.0f} Hz, {trace.states} states seen, {trace.fetched} files fetched, {len(trace.violations)} violations",
            f"kill-storm {storm.killed} killed, {storm.ended_before} ended before; {storm.old} times the old state was served, {storm.new} times the new; "
            f"{storm.files_checked} files checked, each time verified",
        ]
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="the form that `make test` runs")
    parser.add_argument("--clients", type=int, help="how many apts, instead of 30")
    parser.add_argument("--publishes", type=int, help="how many publishes, instead of 200")
    parser.add_argument("--kills", type=int, help="how many kills in the storm, instead of 50")
    parser.add_argument("--only-by-hash", action="store_true", help="leave out clients without by-hash")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="to repeat a run's choices")
    given = parser.parse_args(arguments)
    os.environ.update(test_environment())
    # The tracer must not wait for the threads that publish.
    sys.setswitchinterval(0.0005)
    chosen = {name: value for name in ("clients", "publishes", "kills") if (value := getattr(given, name))}
    size = dataclasses.replace(SHORT if given.short else FULL, **chosen)
    print(f"seed {given.seed}, {size}", flush=True)
    shutil.rmtree(WORK, ignore_errors=True)
    with Place(WORK / "soak") as place:
        outcome = soak(place, size, given.seed, given.only_by_hash)
    with Place(WORK / "storm") as place:
        storm = kill_storm(place, size.kills, given.seed)
    print(table(outcome, storm))
    if failures := outcome.failures():
        print("\n".join(failures))
        return 1
    shutil.rmtree(WORK, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
