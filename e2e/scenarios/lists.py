"""The list of regions: every pod gives it, also without a controller, and an apt that has it does not notice when a pod is killed."""

from __future__ import annotations

import threading
import time

from lab import wait_until
from world import PACKAGE, AptClient, regions_of

from . import canary
from .controller import scale_controller
from .registry import scenario

HUB, EDGE = "region-a", "region-b"
REGIONS = [
    {"name": HUB, "nodeSelector": {"topology.kubernetes.io/region": "region-a"}},
    {"name": EDGE, "follows": HUB, "nodeSelector": {"topology.kubernetes.io/region": "region-b"}},
]
SYNC = {"schedule": "0 0 1 1 *", "retries": {"limit": 0, "backoff": "5s"}}
#: Seconds for which a region that is slow is waited for.
PATIENCE = 15
#: The kubelet brings what a pod is told within a second or two.
TOLD = 20


@scenario("every pod gives a list of all regions, also without a controller; an apt that has it goes on while a pod is killed, and who is left out is in no list; one region serves first, is audited, and is halted where something is wrong on the way to it", needs=("pod-network", "own-nodes"))
def lists(world):
    with world.fleet("lists") as fleet:
        fleet.apply_all(regions=REGIONS, rollout={"patience": f"{PATIENCE}s"}, sync=SYNC)
        wait_until(lambda: offered(fleet) == {HUB, EDGE}, 120, "both regions to serve", detail=lambda: str(regions_of(fleet.get())))
        can_be_reached(fleet)
        tell_of(fleet, HUB, EDGE)
        with Loop(fleet) as loop:
            a_pod_is_killed(fleet, loop)
            a_region_is_left_out(fleet)
            tell_of(fleet, HUB, EDGE)
            nobody_controls(world, fleet, loop)
        urls = (f"http://{address(fleet, region)}/" for region in (HUB, EDGE))
        return f"{loop.judged()}; {canary.goes_first(fleet, HUB, EDGE, *urls)}"


def offered(fleet) -> set[str]:
    """The regions that serve and are not left out."""
    return {region["name"] for region in regions_of(fleet.get()) if region.get("snapshot") and "withdrawnAt" not in region}


def address(fleet, region: str) -> str:
    services = fleet.lab.list("services", fleet.namespace, f"mirrorfleet.dev/region={region}")
    return services[0]["spec"]["clusterIP"]


def can_be_reached(fleet) -> None:
    """Addresses that this machine reaches: it knows no name of the cluster's."""
    regions = [{**region, "publicUrl": f"http://{address(fleet, region['name'])}/"} for region in REGIONS]
    fleet.lab.merge("mirror", "debian", fleet.namespace, {"spec": {"regions": regions}})


def list_of(fleet, region: str) -> str:
    return f"http://{address(fleet, region)}/.mirrorfleet/mirrorlist/debian"


def tell_of(fleet, *regions: str) -> None:
    """The list that each region gives has these, in this order, and no two are tried as the same."""
    wanted = [f"http://{address(fleet, region)}/debian/\tpriority:{rank}" for rank, region in enumerate(regions, 1)]
    for region in (HUB, EDGE):
        url = list_of(fleet, region)
        wait_until(lambda: fleet.curl(url).splitlines() == wanted, TOLD, f"the list of {region} to tell of {regions}", detail=lambda: fleet.curl(url))  # noqa: B023


def serving_pod(fleet, region: str) -> dict | None:
    pods = fleet.pods("serving")
    return next((pod for pod in pods if pod["metadata"]["labels"]["mirrorfleet.dev/region"] == region), None)


def a_pod_is_killed(fleet, loop: Loop) -> None:
    """That of the first region of the list."""
    loop.goes_on()
    before = serving_pod(fleet, HUB)["metadata"]
    fleet.lab.delete("pod", before["name"], fleet.namespace, force=True, wait=False)
    loop.goes_on()

    def is_back() -> bool:
        pod = serving_pod(fleet, HUB)
        conditions = pod["status"].get("conditions", []) if pod else []
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions) and pod["metadata"]["uid"] != before["uid"]

    wait_until(is_back, 90, "the pod that follows")


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


def nobody_controls(world, fleet, loop: Loop) -> None:
    scale_controller(world, 0)
    try:
        loop.goes_on()
        tell_of(fleet, HUB, EDGE)
    finally:
        scale_controller(world, 2)


class Loop:
    """A real apt that has the list, again and again. It gets it from the region whose pod nobody kills."""

    def __init__(self, fleet) -> None:
        self.fleet = fleet
        root = fleet.world.workdir / "apt" / f"{fleet.name}-{time.monotonic_ns()}"
        self.client = AptClient(root, fleet.world.key.public(), f"mirror+{list_of(fleet, EDGE)} stable main")
        self.rounds = 0
        self.failures: list[str] = []
        self.ended = threading.Event()

    def __enter__(self) -> Loop:
        self.thread = threading.Thread(target=self._go, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join(120)

    def _go(self) -> None:
        while not self.ended.wait(0.5):
            try:
                self.client.download(self.fleet.lab, PACKAGE)
                self.rounds += 1
            except Exception as error:  # noqa: BLE001
                self.failures.append(str(error))

    def goes_on(self) -> None:
        """Two more rounds, of which the second began after now."""
        before = self.rounds
        wait_until(lambda: self.rounds >= before + 2, 120, "the apt to go on", detail=lambda: "\n".join(self.failures[:3]))

    def judged(self) -> str:
        assert not self.failures, "\n".join(self.failures[:5])
        return f"{self.rounds} rounds of an apt with the list"
