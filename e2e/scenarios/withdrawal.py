"""Regions that fetch each for itself: one that is too far behind is in no list until it has caught up, and people are told meanwhile."""

from __future__ import annotations

import re
import time

from lab import wait_until
from regions.apt_loop import AptLoop
from regions.faults import SmallVolume
from regions.places import EDGE, HUB, SYNC, address, can_be_listed, list_of, serving_pod, told
from world import PACKAGE

from .command_line import Person
from .lists import tell_of
from .metrics import leader_metrics
from .orders import is_ready
from .push import seconds_of
from .registry import scenario

#: Neither follows the other here.
KEEPS_UP, FALLS_BEHIND = HUB, EDGE
OBJECTIVE, WITHDRAW_AFTER = 5, 15
SMALL_MEGABYTES = 24
#: More than a run can make room for on a volume that somebody else has filled.
BIG_KILOBYTES = 3000
METRIC = "mirrorfleet_region_withdrawn_timestamp_seconds"


@scenario("regions that fetch each for itself: one that is behind for longer than it may be is in no list and serves on, it is told of, and it is back once it has caught up; never the last one goes, and so many stay as are wanted", needs=("pod-network", "own-nodes", "small-volumes"))
def falls_behind(world):
    with world.fleet("falls-behind") as fleet:
        volume = SmallVolume(fleet.lab, "node-b", "falls-behind", SMALL_MEGABYTES)
        regions = [
            {"name": KEEPS_UP, "nodeSelector": {"topology.kubernetes.io/region": KEEPS_UP}},
            {"name": FALLS_BEHIND, "nodeSelector": {"topology.kubernetes.io/region": FALLS_BEHIND}, "storage": volume.storage},
        ]  # fmt: skip
        limits = {"objective": f"{OBJECTIVE}s", "withdrawAfter": f"{WITHDRAW_AFTER}s"}
        fleet.apply_all(regions=regions, sync=SYNC, freshness=limits)
        can_be_listed(fleet, regions)
        tell_of(fleet, KEEPS_UP, FALLS_BEHIND)
        # From the region that keeps up, and by its list.
        with AptLoop(fleet, f"mirror+{list_of(fleet, KEEPS_UP)}") as loop:
            try:
                lags(fleet, volume)
                is_left_out(world, fleet)
                loop.gets("1.1")
                enough_stay(fleet)
            finally:
                volume.empty()
            comes_back(world, fleet)
            loop.gets("1.2")
        return f"{loop.judged()} with the list"


def publish(fleet, version: str, probed: str, **package: int) -> None:
    """The authority is seen to have it: an Upstream that was edited is asked at once."""
    fleet.archive.add_package("stable", PACKAGE, version, **package)
    fleet.archive.publish("stable")
    fleet.apply(fleet.upstream(probe={"interval": probed}))


def lags(fleet, volume: SmallVolume) -> None:
    """Of two regions that are asked for the newest, one has no room for it."""
    before = fleet.region(name=KEEPS_UP)["snapshot"]
    volume.fill()
    publish(fleet, "1.1", "2m", kilobytes=BIG_KILOBYTES)
    fleet.request_sync()

    def is_so() -> bool:
        other = fleet.region(name=FALLS_BEHIND)
        return fleet.region(name=KEEPS_UP)["snapshot"] != before == other["snapshot"] and other["lastAttempt"]["reason"] == "StorageFull"

    wait_until(is_so, 180, "one region to have the newest, and the other no room for it", detail=lambda: told(fleet))


def is_left_out(world, fleet) -> None:
    region = wait_until(lambda: withdrawn(fleet), 120, "the region to be left out", detail=lambda: told(fleet))
    behind = seconds_of(region["withdrawnAt"]) - seconds_of(region["supersededAt"])
    assert behind > WITHDRAW_AFTER, f"it was left out when it had been behind for {behind} s: {region}"
    assert "withdrawnAt" not in fleet.region(name=KEEPS_UP), told(fleet)
    tell_of(fleet, KEEPS_UP)
    # Whoever asks this very region gets what it has.
    assert is_ready(serving_pod(fleet, FALLS_BEHIND)), told(fleet)
    assert "_1.0_" in fleet.apt_download(url=f"http://{address(fleet, FALLS_BEHIND)}/debian").name
    [event] = wait_until(lambda: fleet.lab.events(fleet.namespace, about="debian", reason="Withdrawn"), 90, "an Event of it")
    assert f"region {FALLS_BEHIND} has been left out" in event["message"], event
    wanted = {KEEPS_UP: 0.0, FALLS_BEHIND: seconds_of(region["withdrawnAt"])}
    wait_until(lambda: counted(world, fleet) == wanted, 90, f"{METRIC} to tell of it", detail=lambda: str(counted(world, fleet)))
    person = Person(fleet)
    person.until_it_says("status debian -o wide", f"region {FALLS_BEHIND} has been left out of the lists of regions since")
    person.until_it_says("why debian", "Withdrawn")


def withdrawn(fleet) -> dict | None:
    region = fleet.region(name=FALLS_BEHIND)
    return region if region.get("state") == "Withdrawn" and "withdrawnAt" in region else None


def counted(world, fleet) -> dict[str, float]:
    """By region, what the leading controller says."""
    lines = [line for line in leader_metrics(world).splitlines() if line.startswith(f"{METRIC}{{") and f'namespace="{fleet.namespace}"' in line]
    return {re.search(r'region="([^"]*)"', line)[1]: float(line.rpartition(" ")[2]) for line in lines}


def enough_stay(fleet) -> None:
    """When the other one is behind for as long, too: the last one stays, and the second is back where two are wanted."""
    publish(fleet, "1.2", "3m")
    last = lambda: fleet.region(name=KEEPS_UP).get("supersededAt")  # noqa: E731
    since = seconds_of(wait_until(last, 120, "the newest to be seen that no region has", detail=lambda: told(fleet)))
    wait_until(lambda: time.time() > since + WITHDRAW_AFTER + 1, 60, "all to have been behind for long")
    # What is decided from now on, is decided knowing that.
    for least, regions in ((2, (KEEPS_UP, FALLS_BEHIND)), (1, (KEEPS_UP,))):
        fleet.lab.merge("mirror", "debian", fleet.namespace, {"spec": {"freshness": {"minHealthyRegions": least}}})
        tell_of(fleet, *regions)
    wait_until(lambda: fleet.lab.events(fleet.namespace, about="debian", reason="Readmitted"), 90, "an Event of the one that was back")


def comes_back(world, fleet) -> None:
    """Its volume has room again, and nothing is edited."""
    fleet.request_sync()
    tell_of(fleet, KEEPS_UP, FALLS_BEHIND)
    assert "_1.2_" in fleet.apt_download(url=f"http://{address(fleet, FALLS_BEHIND)}/debian").name
    wait_until(lambda: counted(world, fleet) == {KEEPS_UP: 0.0, FALLS_BEHIND: 0.0}, 90, f"{METRIC} to tell of it", detail=lambda: str(counted(world, fleet)))
    left_out = {event["message"].partition(" has been")[0] for event in fleet.lab.events(fleet.namespace, about="debian", reason="Withdrawn")}
    assert left_out == {f"region {FALLS_BEHIND}"}, left_out
