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
from dataclasses import dataclass
from pathlib import Path

from acceptance.apt import Apt
from acceptance.place import Place, Server
from environment import test_environment

from .clients import KINDS, Client
from .squid import Squid
from .storm import Storm, kill_storm
from .syncs import MUCH_CHANGES, Syncs
from .tracer import Tracer
from .under_load import Outcome, publishing
from .upstream import Upstream

WORK = Path(__file__).resolve().parent.parent / ".work" / "soak"
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


def soak(place: Place, size: Size, seed: int, only_by_hash: bool) -> Outcome:
    upstream = Upstream(place, seed)
    spec = {**MUCH_CHANGES} if only_by_hash else {**MUCH_CHANGES, "serving": {"transactions": "Always"}}
    mirror = place.mirror("debian", "debian", ("stable",), components=("main", "contrib"), spec=spec)
    place.sync(mirror)
    server, squid = place.serve(), Squid(place)
    try:
        clients = [client(place, server, squid, number, seed, only_by_hash) for number in range(size.clients)]
        syncs, tracer = Syncs(place, mirror, seed), Tracer(server.port, upstream)
        publishing(upstream, size, [*(c.loop for c in clients), syncs.loop, tracer.poll, tracer.follow])
        place.sync(mirror)
        place.check(server, mirror)
        assert place.mirrorfleet("verify", "--data", place.data).returncode == 0, f"verify finds damage; see {place.log.name}"
        return Outcome(clients, syncs, tracer.trace, len(upstream.states()) - 1, squid.hits())
    finally:
        squid.close()


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
    return "\n".join(
        [
            *outcome.table(("updates", "downloads", *COMPLAINTS)),
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
    if failures := outcome.failures(COMPLAINTS, "downloads"):
        print("\n".join(failures))
        return 1
    shutil.rmtree(WORK, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
