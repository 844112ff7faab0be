"""A node whose clock is wrong, as far as the controller can hear it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import wait_until
from world import regions_of

OTHER_TIME = Path(__file__).resolve().parent.parent / "lab" / "other_time.py"
#: Of the process on the node, and of its table of rules.
PORT, NAME = 9191, "other-time"


@contextmanager
def wrong_clock(world, fleet, seconds: int) -> Iterator[str]:
    """Of the node of a region's serving pod, which is not the leading controller's own: pods of one node may reach each other without
    a look at the node's rules. Gives the region."""
    leader = world.leader()
    away = [pod["spec"]["nodeName"] for pod in world.controller_pods() if pod["metadata"]["name"] == leader]
    pod = next(pod for pod in fleet.pods("serving") if pod["spec"]["nodeName"] not in away)
    node, address = world.lab.node(pod["spec"]["nodeName"]).inside, pod["status"]["podIP"]
    node.start(NAME, [sys.executable, OTHER_TIME, PORT, address, seconds], world.lab.layout.log(NAME))
    asked = ["curl", "-sS", "--fail", "--max-time", "5", f"http://127.0.0.1:{PORT}/healthz"]
    wait_until(lambda: node.run(asked, check=False).returncode == 0, 90, f"{NAME} to hand on")
    node.shell(
        f"""
        nft add table ip {NAME}
        nft 'add chain ip {NAME} arriving {{ type nat hook prerouting priority dstnat - 10; }}'
        nft add rule ip {NAME} arriving ip daddr {address} tcp dport 9090 redirect to :{PORT}
        """
    )
    try:
        yield pod["metadata"]["labels"]["mirrorfleet.dev/region"]
    finally:
        node.shell(f"nft delete table ip {NAME}")
        node.stop(NAME)


def is_told(fleet, region: str) -> None:
    """In the status and by an Event."""

    def wrong() -> list[str]:
        return [one["name"] for one in regions_of(fleet.get()) if "clockWrongSince" in one]

    wait_until(lambda: wrong() == [region], 120, f"the clock of {region} to be told of", detail=wrong)
    [event] = wait_until(lambda: fleet.lab.events(fleet.namespace, about="debian", reason="ClockSkew"), 90, "an Event of it")
    assert f"the clock of the node of region {region}" in event["message"], event
