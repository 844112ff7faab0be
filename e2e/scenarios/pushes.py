"""How long a small change takes from the answer to a push to the last of three regions: the median of twenty."""

from __future__ import annotations

import hashlib
import secrets
import statistics
import time

from lab import wait_until
from regions.places import ALL, EDGE, FAR, HUB, SYNC, serve_the_same, told
from world import PACKAGE, RELEASE, SYSTEM_NAMESPACE, regions_of

from .chart import upgrade
from .push import AT_MOST, REST, seconds_of
from .registry import scenario

REGIONS = [
    {"name": HUB, "nodeSelector": {"topology.kubernetes.io/region": "region-a"}},
    {"name": EDGE, "follows": HUB, "nodeSelector": {"topology.kubernetes.io/region": "region-b"}},
    {"name": FAR, "follows": HUB, "nodeSelector": {"topology.kubernetes.io/region": "region-b"}},
]
PUSHES = 20


@scenario(f"{PUSHES} pushes to a fleet of three regions, each served by all of them within {AT_MOST} s in the median", needs=("pod-network", "own-nodes"), alone=True, long=True)
def pushes(world):
    upgrade(world, "--set", "push.enabled=true")
    world.roles_for_a_while += world.roles()
    try:
        with world.fleet("pushes") as fleet:
            token = secrets.token_hex(32)
            fleet.apply(fleet.keyring(), fleet.upstream(push={"tokenSha256": [hashlib.sha256(token.encode()).hexdigest()]}), fleet.mirror(regions=REGIONS, sync=SYNC))
            fleet.wait_ready()
            serve_the_same(fleet)
            hook = f"http://{world.lab.get('service', f'{RELEASE}-push', SYSTEM_NAMESPACE)['spec']['clusterIP']}/push/{fleet.namespace}/debian"
            say = ["curl", "-sS", "--fail", "--max-time", "20", "-X", "POST", "-H", f"Authorization: Bearer {token}", hook]
            took = [acknowledged(fleet, f"3.{number}", say) for number in range(PUSHES)]
            median = statistics.median(took)
            assert median <= AT_MOST, took
            return f"{PUSHES} pushes: {median:.1f} s in the median, {min(took):.1f} to {max(took):.1f}"
    finally:
        upgrade(world)


def acknowledged(fleet, version: str, say: list) -> float:
    """Seconds from the answer to the push until each region says that it serves the new state."""
    rests(fleet)
    before = fleet.get()["status"]["publication"]["snapshot"]
    fleet.archive.add_package("stable", PACKAGE, version)
    fleet.archive.publish("stable")
    fleet.lab.exec(say)
    answered = time.monotonic()

    def served() -> bool:
        snapshots = {region.get("snapshot") for region in regions_of(fleet.get())}
        return len(snapshots) == 1 and before not in snapshots

    wait_until(served, 90, f"{version} in every region", interval=0.1, detail=lambda: told(fleet))
    took = time.monotonic() - answered
    assert serve_the_same(fleet) != before and len(regions_of(fleet.get())) == len(ALL)
    return took


def rests(fleet) -> None:
    """A push asks for a run at most so often: one that comes earlier would measure that."""
    started = fleet.region(name=HUB)["lastAttempt"]["startedAt"]
    since = max(0.0, time.time() - seconds_of(started))
    time.sleep(max(0.0, REST + 1 - since))
