"""A node whose clock is wrong, as far as the controller can hear it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import wait_until
from world import regions_of

OTHER_TIME = Path(__file__).resolve().parent.parent / "lab" / "other_time.py"
PORT, TABLE = 9191, "mirrorfleet-other-time"


@contextmanager
def wrong_clock(world, fleet, seconds: int) -> Iterator[str]:
    """Of the node of a region's serving pod, which is not the leading controller's own: pods of one node may reach each other without
    a look at the node's rules. Gives the region."""
    host, leader = world.lab.host_ip, world.leader()
    away = [pod["spec"]["nodeName"] for pod in world.controller_pods() if pod["metadata"]["name"] == leader]
    pod = next(pod for pod in fleet.pods("serving") if pod["spec"]["nodeName"] not in away)
    node, address = world.lab.node(pod["spec"]["nodeName"]).inside, pod["status"]["podIP"]
    world.lab.run_server("other-time", [sys.executable, OTHER_TIME, host, PORT, address, seconds], ready_url=f"http://{host}:{PORT}/healthz")
    node.shell(
        f"""
        nft add table ip {TABLE}
        nft 'add chain ip {TABLE} arriving {{ type nat hook prerouting priority dstnat - 10; }}'
        nft add rule ip {TABLE} arriving ip saddr != {host} ip daddr {address} tcp dport 9090 dnat to {host}:{PORT}
        """
    )
    try:
        yield pod["metadata"]["labels"]["mirrorfleet.dev/region"]
    finally:
        node.shell(f"nft delete table ip {TABLE}")
        world.lab.stop_server("other-time")


def is_told(fleet, region: str) -> None:
    """In the status and by an Event."""

    def wrong() -> list[str]:
        return [one["name"] for one in regions_of(fleet.get()) if "clockWrongSince" in one]

    wait_until(lambda: wrong() == [region], 120, f"the clock of {region} to be told of", detail=wrong)
    [event] = wait_until(lambda: fleet.lab.events(fleet.namespace, about="debian", reason="ClockSkew"), 90, "an Event of it")
    assert f"the clock of the node of region {region}" in event["message"], event
