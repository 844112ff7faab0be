"""`python3 -m regions.hopper RECORD NAMESPACE MIRROR`: a client that asks another region each time, fifty times a second.

It goes where the Mirror's Service leads, and to the next region where nobody answers, as a client with a list of mirrors does.
It ends with its standard input and then prints what it saw as one JSON object. A violation is:

- an InRelease of no published state, or of an earlier one than the same pod's volume has served before;
- an index by hash, or a package, that the InRelease of *another* region has just promised and that is missing or is another one
  here, while clients are led here: what apt meets when it fails over between two files; and what an older InRelease has promised
  that somebody read while clients were led here, as they have been ever since;
- nobody answers.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path

from archive import ARCHITECTURE, COMPONENT
from lab.reads import Reads
from lab.waiting import LabError, wait_until

from .record import Reading, State

HERTZ = 50
HTTP_PORT = 8080
#: How often it is looked where the Service leads.
LOOKS_HERTZ = 10
#: A region that does not answer within so long, or whose answer breaks off, is left out for as long as below.
TIMEOUT_SECONDS, BAD_SECONDS = 2.0, 3.0
#: How many states back a client is that goes on.
HELD = 5
MOST_VIOLATIONS = 50


@dataclass(frozen=True)
class Endpoint:
    #: The name that a region's pod has for ever.
    pod: str
    address: str


class Routing:
    """Where the Service of all regions leads, looked at again and again; what was known stands while nobody can be asked."""

    def __init__(self, namespace: str, mirror: str) -> None:
        self.namespace, self.mirror = namespace, mirror
        self.selector = f"mirrorfleet.dev/mirror={mirror},!mirrorfleet.dev/region"
        self.offered: list[Endpoint] = []
        #: Since when each has been, without a break.
        self.since: dict[Endpoint, float] = {}
        folder = tempfile.mkdtemp(prefix="mf-hopper-")
        socket = Path(folder) / "proxy"
        self.proxy = subprocess.Popen(["kubectl", "proxy", f"--unix-socket={socket}"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(socket.exists, 20, "kubectl's proxy", interval=0.02)
        self.reads = Reads(socket)

    def look(self) -> None:
        try:
            slices = self.reads.list("endpointslices", self.namespace, self.selector)
        except LabError:
            return
        endpoints = [endpoint for one in slices for endpoint in one.get("endpoints") or [] if endpoint["conditions"].get("ready", True)]
        self.offered = sorted((Endpoint(one["targetRef"]["name"], one["addresses"][0]) for one in endpoints), key=lambda one: one.pod)
        now = time.monotonic()
        self.since = {endpoint: self.since.get(endpoint, now) for endpoint in self.offered}

    def follow(self, stop: threading.Event) -> None:
        while not stop.wait(1 / LOOKS_HERTZ):
            self.look()

    def told(self) -> str:
        """What the Mirror says of its regions."""
        try:
            status = (self.reads.get("mirror", self.mirror, self.namespace) or {}).get("status", {})
        except LabError as error:
            return str(error)
        return json.dumps({key: status.get(key) for key in ("publication", "snapshots", "regions")})

    def leads_to(self, endpoint: Endpoint) -> bool:
        self.look()
        return endpoint in self.offered


class Hopper:
    def __init__(self, record: Path, routing: Routing, mirror: str) -> None:
        self.record, self.routing, self.mirror = Reading(record), routing, mirror
        self.lines: dict[Endpoint, http.client.HTTPConnection] = {}
        self.bad: dict[Endpoint, float] = {}
        self.held: deque[State] = deque(maxlen=HELD)
        #: The newest that each pod has served, and when each state was first seen anywhere.
        self.served: dict[str, int] = {}
        self.first_seen: dict[int, float] = {}
        self.hops, self.missed = Counter[str](), Counter[str]()
        #: The longest that a region served something older than another did, while clients were led to both.
        self.longest_behind = 0.0
        self.violations: list[str] = []
        self.turn = 0

    def run(self, stop: threading.Event) -> dict:
        began = time.monotonic()
        while not stop.is_set():
            asked = time.monotonic()
            self.hop()
            stop.wait(max(0.0, 1 / HERTZ - (time.monotonic() - asked)))
        hops = sum(self.hops.values())
        return {
            "hops": dict(self.hops), "missed": dict(self.missed), "hertz": hops / (time.monotonic() - began),
            "states": len(self.first_seen), "longestBehindSeconds": self.longest_behind, "violations": self.violations,
        }  # fmt: skip

    def hop(self) -> None:
        """One request, at the next region that answers."""
        self.turn += 1
        offered = self.routing.offered
        turn = [offered[(self.turn + step) % len(offered)] for step in range(len(offered))]
        # All are asked for a root, then all for what the last one promised, and so on.
        asks = (self.root, self.index, self.root, self.package)[self.turn // max(1, len(offered)) % 4]
        now = time.monotonic()
        # Whoever did not answer a moment ago is asked only where nobody else does.
        for endpoint in sorted(turn, key=lambda endpoint: self.bad.get(endpoint, 0.0) > now):
            try:
                asks(endpoint)
                self.hops[endpoint.pod] += 1
                return
            except (OSError, http.client.HTTPException):
                self.bad[endpoint] = time.monotonic() + BAD_SECONDS
                self.missed[endpoint.pod] += 1
        self.violation("nobody answers" if offered else "the Service of all regions leads nowhere")

    def root(self, endpoint: Endpoint) -> None:
        status, body = self.get(endpoint, "dists/stable/InRelease")
        state = self.record.of_root(body) if status == 200 else None
        if state is None:
            if self.routing.leads_to(endpoint):
                self.violation(f"{endpoint.pod}: InRelease: {status}, of no published state: {body[:80]!r}")
            return
        before = self.served.get(endpoint.pod, -1)
        if state.number < before:
            self.violation(f"{endpoint.pod}: state {state.number} after {before}")
        self.served[endpoint.pod] = max(before, state.number)
        now = time.monotonic()
        self.first_seen.setdefault(state.number, now)
        newer = [at for number, at in self.first_seen.items() if number > state.number]
        if newer and now - min(newer) > self.longest_behind and self.routing.leads_to(endpoint):
            self.longest_behind = now - min(newer)
        if state not in self.held:
            self.held.append(state)

    def index(self, endpoint: Endpoint) -> None:
        for state in self.newest_and_oldest(endpoint):
            path = f"dists/stable/{COMPONENT}/binary-{ARCHITECTURE}/by-hash/SHA256/{state.index}"
            self.promised(endpoint, state, path, state.index)

    def package(self, endpoint: Endpoint) -> None:
        for state in self.newest_and_oldest(endpoint):
            path, digest = state.packages[self.turn // 4 % len(state.packages)]
            self.promised(endpoint, state, path, digest)

    def newest_and_oldest(self, endpoint: Endpoint) -> list[State]:
        """What was read last somewhere, and what a client has that began some publishes ago. A region that has come back since
        has no more than what is served: nobody copies what was published while it was away."""
        since = self.routing.since.get(endpoint, float("inf"))
        had = [state for state in self.held if self.first_seen[state.number] >= since]
        return [self.held[-1], *had[:1]] if self.held else []

    def promised(self, endpoint: Endpoint, state: State, path: str, digest: str) -> None:
        status, body = self.get(endpoint, path)
        found = hashlib.sha256(body).hexdigest()
        if (status, found) != (200, digest) and self.routing.leads_to(endpoint):
            now = time.monotonic()
            seen, led = now - self.first_seen[state.number], now - self.routing.since.get(endpoint, now)
            self.violation(
                f"{endpoint.pod}: {path}: {status}, {len(body)} bytes, promised was {digest} by state {state.number}, first seen {seen:.1f} s ago; "
                f"the newest is {max(self.first_seen)}; it has served {self.served.get(endpoint.pod)}; clients have been led here for {led:.1f} s"
            )

    def get(self, endpoint: Endpoint, path: str) -> tuple[int, bytes]:
        """Over the kept line, or a new one where that was closed meanwhile."""
        kept = self.lines.pop(endpoint, None)
        try:
            return self.get_over(kept or self.line(endpoint), endpoint, path)
        except (ConnectionError, http.client.HTTPException):
            if not kept:
                raise
            return self.get_over(self.line(endpoint), endpoint, path)

    @staticmethod
    def line(endpoint: Endpoint) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(endpoint.address, HTTP_PORT, timeout=TIMEOUT_SECONDS)

    def get_over(self, line: http.client.HTTPConnection, endpoint: Endpoint, path: str) -> tuple[int, bytes]:
        try:
            line.request("GET", f"/{self.mirror}/{path}")
            answer = line.getresponse()
            told = answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            line.close()
            raise
        self.lines[endpoint] = line
        return told

    def violation(self, what: str) -> None:
        if not self.violations:
            what += f"; {self.routing.told()}"
        if len(self.violations) < MOST_VIOLATIONS:
            self.violations.append(f"{time.strftime('%H:%M:%S', time.gmtime())} {what}")


def main(record: str, namespace: str, mirror: str) -> None:
    stop = threading.Event()
    routing = Routing(namespace, mirror)
    try:
        routing.look()
        hopper = Hopper(Path(record), routing, mirror)
        threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
        threading.Thread(target=routing.follow, args=(stop,), daemon=True).start()
        print(json.dumps(hopper.run(stop)), flush=True)
    finally:
        routing.proxy.kill()
        routing.proxy.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
