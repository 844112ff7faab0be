"""What a fleet of many Mirrors costs: a converged one's controller is killed and started anew, and what it writes from then on
is counted: nothing."""

from __future__ import annotations

import time

from lab.waiting import wait_until

from .answering import CONTENT, DATED, SUITE, UNIT, UPSTREAM, answer
from .cluster import OURS, SETS, Cluster

SNAPSHOT = "ab" * 32
#: More than a round of questions to all pods.
REST_SECONDS = 45


def measure(cluster: Cluster, mirrors: int) -> str:
    asked: set[str] = set()

    def told(_address: str, mirror: str) -> dict:
        asked.add(mirror)
        success = {"at": int(DATED.timestamp()), "snapshot": SNAPSHOT}
        return {"mirror": mirror, "snapshot": SNAPSHOT, "revision": [UNIT], "lastSuccess": success}

    def ready() -> int:
        def is_ready(mirror: dict) -> bool:
            conditions = mirror.get("status", {}).get("conditions", [])
            return {"Ready", "Fresh"} <= {one["type"] for one in conditions if one["status"] == "True"}

        return sum(map(is_ready, cluster.api.list(f"{OURS}/mirrors")))

    answer(told)
    cluster.ours("Upstream", "debian", UPSTREAM)
    spec = {"upstreamRef": {"name": "debian"}, "suspend": True, "content": CONTENT, "regions": [{"name": "here"}]}
    list(cluster.workers.map(lambda number: cluster.ours("Mirror", f"mirror-{number}", spec), range(mirrors)))
    options = ("--max-rollouts", mirrors)
    cluster.lead(*options)
    began = time.monotonic()
    wait_until(lambda: len(cluster.api.list(SETS)) == mirrors, 600, "all objects to be made", 0.5, cluster.picture)
    print(f"objects of {mirrors} Mirrors of suite {SUITE} made in {time.monotonic() - began:.1f} s", flush=True)
    sets = cluster.api.list(SETS)
    list(cluster.workers.map(lambda at: cluster.pod(sets[at], f"127.1.{at // 250}.{at % 250 + 1}"), range(len(sets))))
    cluster.settle(lambda: ready() == mirrors, lambda: f"{ready()} ready\n{cluster.picture()}")
    print(f"at rest; the controller's peak: {cluster.peak_mebibytes()} MiB", flush=True)

    cluster.kill_leader()
    asked.clear()
    since, began = cluster.position(), time.monotonic()
    cluster.lead(*options)
    wait_until(lambda: len(asked) == mirrors, 120, "all pods to be asked", 0.5, cluster.picture)
    took = time.monotonic() - began
    time.sleep(REST_SECONDS)
    writes = cluster.writes(since)
    assert not writes, f"{len(writes)} writes after a restart: {writes[:10]}"
    return f"restart: all pods asked after {took:.1f} s, 0 writes in {REST_SECONDS} s"
