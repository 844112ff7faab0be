"""The list of regions: every pod gives it, also without a controller, and an apt that has it does not notice when a pod is killed."""

from __future__ import annotations

from lab import wait_until
from regions.apt_loop import AptLoop
from regions.places import EDGE, HUB, SYNC, address, can_be_listed, list_of, serving_pod
from world import PACKAGE, regions_of

from . import canary
from .controller import scale_controller
from .orders import is_ready
from .registry import scenario

REGIONS = [
    {"name": HUB, "nodeSelector": {"topology.kubernetes.io/region": "region-a"}},
    {"name": EDGE, "follows": HUB, "nodeSelector": {"topology.kubernetes.io/region": "region-b"}},
]
#: Seconds for which a region that is slow is waited for.
PATIENCE = 15
#: The kubelet brings what a pod is told within a second or two, on a machine that has nothing else to do.
TOLD = 90


@scenario("every pod gives a list of all regions, also without a controller; an apt that has it goes on while a pod is killed, and who is left out is in no list; one region serves first, is audited, and is halted where something is wrong on the way to it", needs=("pod-network", "own-nodes"))
def lists(world):
    with world.fleet("lists") as fleet:
        fleet.apply_all(regions=REGIONS, rollout={"patience": f"{PATIENCE}s"}, sync=SYNC)
        wait_until(lambda: offered(fleet) == {HUB, EDGE}, 120, "both regions to serve", detail=lambda: str(regions_of(fleet.get())))
        can_be_listed(fleet, REGIONS)
        tell_of(fleet, HUB, EDGE)
        # From the region whose pod nobody kills.
        with AptLoop(fleet, f"mirror+{list_of(fleet, EDGE)}") as loop:
            a_pod_is_killed(fleet, loop)
            a_region_is_left_out(fleet)
            tell_of(fleet, HUB, EDGE)
            nobody_controls(world, fleet, loop)
        urls = (f"http://{address(fleet, region)}/" for region in (HUB, EDGE))
        return f"{loop.judged()} with the list; {canary.goes_first(fleet, HUB, EDGE, *urls)}"


def offered(fleet) -> set[str]:
    """The regions that serve and are not left out."""
    return {region["name"] for region in regions_of(fleet.get()) if region.get("snapshot") and "withdrawnAt" not in region}


def tell_of(fleet, *regions: str) -> None:
    """The list that each region gives has these, in this order, and no two are tried as the same."""
    wanted = [f"http://{address(fleet, region)}/debian/\tpriority:{rank}" for rank, region in enumerate(regions, 1)]
    for region in (HUB, EDGE):
        url = list_of(fleet, region)
        wait_until(lambda: fleet.curl(url).splitlines() == wanted, TOLD, f"the list of {region} to tell of {regions}", detail=lambda: fleet.curl(url))  # noqa: B023


def a_pod_is_killed(fleet, loop: AptLoop) -> None:
    """That of the first region of the list."""
    loop.goes_on()
    before = serving_pod(fleet, HUB)["metadata"]
    fleet.lab.delete("pod", before["name"], fleet.namespace, force=True, wait=False)
    loop.goes_on()

    def is_back() -> bool:
        pod = serving_pod(fleet, HUB)
        return pod["metadata"]["uid"] != before["uid"] and is_ready(pod)

    wait_until(is_back, 120, "the pod that follows")


def a_region_is_left_out(fleet) -> None:
    """Its copy cannot begin; the others go on without it once no list leads there."""
    node = serving_pod(fleet, EDGE)["spec"]["nodeName"]
    fleet.lab.kubectl("cordon", node)
    try:
        before = fleet.get()["status"]["publication"]["snapshot"]
        fleet.archive.add_package("stable", PACKAGE, "1.1")
        fleet.archive.publish("stable")
        fleet.request_sync()
        wait_until(lambda: fleet.get()["status"]["publication"]["snapshot"] != before, 120, "the hub to go on", detail=lambda: str(fleet.get()["status"]))
        assert offered(fleet) == {HUB}, regions_of(fleet.get())
        tell_of(fleet, HUB)
    finally:
        fleet.lab.kubectl("uncordon", node)
    wait_until(lambda: offered(fleet) == {HUB, EDGE}, 120, "the region to come back", detail=lambda: str(regions_of(fleet.get())))


def nobody_controls(world, fleet, loop: AptLoop) -> None:
    scale_controller(world, 0)
    try:
        loop.goes_on()
        tell_of(fleet, HUB, EDGE)
    finally:
        scale_controller(world, 2)
