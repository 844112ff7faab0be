"""The whole list of faults on four nodes, while an upstream publishes every two seconds and clients go on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from lab import wait_until
from regions import faults
from regions.faults import Scene, SmallVolume
from regions.hops import Hops
from regions.loops import Loops, at_regions, with_lists
from regions.places import EDGE, FAR, HUB, SYNC, can_be_listed, go_on, serve_the_same, serving_pod
from regions.publisher import Publisher
from regions.telling import Telling

from .registry import scenario
from .together import at_rest

#: One region is on two nodes, two have a volume that is soon full.
SMALL_MEGABYTES = 64
#: Between two of our Kubernetes' words about a node there are some 16 s; a region that is only slow has longer.
PATIENCE = 45
#: How long nobody answers for the cluster.
WITHOUT_API_SECONDS = 60


def regions(of_hub: SmallVolume, of_far: SmallVolume) -> list[dict]:
    node = lambda region: {"topology.kubernetes.io/region": region}  # noqa: E731
    return [
        {"name": HUB, "nodeSelector": node("region-a"), "storage": of_hub.storage},
        {"name": EDGE, "follows": HUB, "standby": True, "nodeSelector": node("region-b")},
        {"name": FAR, "follows": EDGE, "nodeSelector": node("region-c"), "storage": of_far.storage},
    ]  # fmt: skip


@scenario("the whole list of faults on four nodes, an upstream that publishes every two seconds; clients at regions and clients with their list notice nothing", needs=("pod-network", "audit-log", "own-nodes", "own-control-plane", "small-volumes", "load-image", "four-nodes"), alone=True, long=True)
def fault_list(world):
    with world.fleet("fault-list") as fleet:
        volumes = [SmallVolume(fleet.lab, node, f"small-{node}", SMALL_MEGABYTES) for node in ("node-a", "node-c")]
        declared = regions(*volumes)
        fleet.apply_all(regions=declared, rollout={"patience": f"{PATIENCE}s"}, sync=SYNC, serving={"transactions": "Always"})
        serve_the_same(fleet)
        can_be_listed(fleet, declared)
        edge = serving_pod(fleet, EDGE)["spec"]["nodeName"]
        fleet.lab.reach_services_through("node-d" if edge == "node-b" else "node-b")
        took: list[str] = []
        with Loops(fleet, clients()) as loops, Hops(fleet) as hops:
            scene = Scene(world, fleet, loops, Telling(fleet))
            with Publisher(fleet) as scene.publisher:
                go_on(fleet)
                for fault in chosen(all_of(edge, *volumes)):
                    took.append(timed(fault, scene))
                published = scene.publisher.published
            scene.publisher = None
            last = newest(fleet)
            scene.telling.all_is_well()
        said = [f"{published} publishes", loops.judged(), hops.judged(), *took]
        assert serve_the_same(fleet) == last
        at_rest(world, fleet)
        return "; ".join(said)


Fault = Callable[[Scene], object]


def all_of(edge: str, of_hub: SmallVolume, of_far: SmallVolume) -> list[Fault]:
    def hub_volume_is_full(scene: Scene) -> None:
        faults.volume_is_full(scene, HUB, of_hub, stands_by=EDGE)

    def volume_is_full(scene: Scene) -> None:
        faults.volume_is_full(scene, FAR, of_far)

    def edge_node_is_cut_off(scene: Scene) -> None:
        faults.edge_node_is_cut_off(scene, edge, (EDGE,), (HUB, FAR))

    def hub_pod_is_killed(scene: Scene) -> None:
        faults.pod_is_killed(scene, HUB)

    def control_plane_is_down(scene: Scene) -> None:
        faults.control_plane_is_down(scene, WITHOUT_API_SECONDS)

    def job_is_deleted(scene: Scene) -> None:
        faults.job_is_deleted(scene, EDGE)

    def stateful_set_is_edited_and_deleted(scene: Scene) -> None:
        faults.stateful_set_is_edited(scene, FAR)
        faults.stateful_set_is_deleted(scene, FAR)

    def claim_is_edited_and_deleted(scene: Scene) -> None:
        faults.claim_is_edited_and_deleted(scene, EDGE)

    return [
        faults.copies_are_killed, hub_pod_is_killed, edge_node_is_cut_off, faults.controller_dies_after_each_write,
        control_plane_is_down, volume_is_full, hub_volume_is_full, faults.upstream_is_refused, job_is_deleted, stateful_set_is_edited_and_deleted,
        claim_is_edited_and_deleted, faults.image_goes_round, faults.hub_node_is_lost,
    ]  # fmt: skip


def clients() -> tuple[Callable, ...]:
    """Those that MIRRORFLEET_CLIENTS names, for a machine that is too small for all; else both kinds."""
    kinds = {"regions": at_regions, "lists": with_lists}
    named = os.environ.get("MIRRORFLEET_CLIENTS", "").split() or list(kinds)
    unknown = set(named) - set(kinds)
    assert not unknown, f"no such clients: {unknown}; there are: {list(kinds)}"
    return tuple(kinds[name] for name in named)


def chosen(all_faults: list[Fault]) -> list[Fault]:
    """Those that MIRRORFLEET_FAULTS names, for who mends one; else all."""
    named = os.environ.get("MIRRORFLEET_FAULTS", "").split()
    unknown = set(named) - {fault.__name__ for fault in all_faults}
    assert not unknown, f"no such faults: {unknown}; there are: {[fault.__name__ for fault in all_faults]}"
    return [fault for fault in all_faults if not named or fault.__name__ in named]


def timed(fault: Fault, scene: Scene) -> str:
    began = time.monotonic()
    name = fault.__name__.replace("_", " ")
    print(f"  {time.strftime('%H:%M:%S', time.gmtime())} {name}", flush=True)
    fault(scene)
    return f"{name} {time.monotonic() - began:.0f} s"


def newest(fleet) -> str:
    """The snapshot of the last that the upstream has published, once all serve it."""
    fleet.request_sync()

    def handled() -> bool:
        mirror = fleet.get()
        asked = mirror["metadata"]["annotations"]["mirrorfleet.dev/sync-requested-at"]
        runs = any(replica.get("currentRun") for region in mirror["status"]["regions"] for replica in region["replicas"])
        return mirror["status"].get("lastHandledSyncRequest") == asked and not runs

    wait_until(handled, 120, "the last sync")
    last = serve_the_same(fleet)

    def is_known() -> bool:
        # What the authority has is looked at now and then, and a new state of it is written down.
        units = [unit["digest"] for unit in fleet.get()["status"]["units"] if unit["snapshot"] == last]
        upstream = fleet.lab.get("upstream", "debian", fleet.namespace)
        return units == [unit["digest"] for unit in upstream["status"]["revision"]]

    wait_until(is_known, 120, "the authority's newest to be known")
    return last
