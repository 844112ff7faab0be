"""Regions that follow another: fetched once, served by all together, and none is waited for for ever."""

from __future__ import annotations

import time
from contextlib import contextmanager

from lab import wait_until
from regions import faults
from regions.faults import Scene, SmallVolume
from regions.hops import Hops
from regions.loops import Loops, download
from regions.places import ALL, EDGE, FAR, HUB, SYNC, led_to, published, serve_the_same, serving_pod, sync_pods, told, withdrawn
from regions.publisher import Publisher
from regions.telling import Telling
from world import PACKAGE

from .chart import upgrade
from .controller import brief, scale_controller, settle
from .registry import scenario

#: The two that follow are on the other node.
REGIONS = [
    {"name": HUB, "nodeSelector": {"topology.kubernetes.io/region": "region-a"}},
    {"name": EDGE, "follows": HUB, "nodeSelector": {"topology.kubernetes.io/region": "region-b"}},
    {"name": FAR, "follows": EDGE, "nodeSelector": {"topology.kubernetes.io/region": "region-b"}},
]
#: Seconds for which a region that is slow is waited for; and while it is looked at that it is, however busy the machine.
PATIENCE, WHILE_LOOKED_AT = 20, 600
REST_SECONDS = 20


@scenario("regions follow another: one fetches, all publish together; copies and pods are killed, a region is left out and comes back", needs=("pod-network", "own-nodes"), alone=True)
def together(world):
    with world.fleet("together") as fleet:
        fleet.apply_all(regions=REGIONS, rollout={"patience": f"{PATIENCE}s"}, sync=SYNC, serving={"transactions": "Always"})
        first = serve_the_same(fleet)
        once(world, fleet, 0, "1.0")
        with Loops(fleet) as loops:
            scene = Scene(world, fleet, loops, Telling(fleet))
            with Hops(fleet) as hops:
                second, took = publish(world, fleet, "1.1")
                _, again = publish(world, fleet, "1.2")
                copy_is_killed_and_region_left_out(world, scene)
                for region in (FAR, HUB):
                    faults.pod_is_killed(scene, region)
                serve_the_same(fleet)
                third = controller_is_killed(world, fleet)
            pins_and_skips(fleet, first, second, third)
        return f"{took:.1f} and {again:.1f} s from prepared to served by all; {loops.judged()}; {hops.judged()}"


@scenario("regions that follow: an upstream that publishes all the time and is refused for a while, the hub's volume full, a node cut off, objects deleted by hand, another image; clients notice nothing", needs=("pod-network", "own-nodes", "small-volumes", "load-image"), alone=True)
def disturbed(world):
    with world.fleet("disturbed") as fleet:
        volume = SmallVolume(fleet.lab, "node-a", "small-hub", 64)
        hub, edge, far = REGIONS
        regions = [{**hub, "storage": volume.storage}, {**edge, "standby": True}, far]
        fleet.apply_all(regions=regions, rollout={"patience": f"{PATIENCE}s"}, sync=SYNC, serving={"transactions": "Always"})
        serve_the_same(fleet)
        try:
            with Loops(fleet) as loops, Hops(fleet) as hops:
                scene = Scene(world, fleet, loops, Telling(fleet))
                with Publisher(fleet) as scene.publisher:
                    faults.copies_are_killed(scene)
                    faults.volume_is_full(scene, HUB, volume, stands_by=EDGE)
                    faults.upstream_is_refused(scene)
                    faults.edge_node_is_cut_off(scene, "node-b", (EDGE, FAR), (HUB,))
                scene.publisher = None
                faults.stateful_set_is_deleted(scene, FAR)
                faults.claim_is_edited_and_deleted(scene, EDGE)
                order = faults.another_image_comes(scene)
                serve_the_same(fleet, timeout=180)
        finally:
            upgrade(world)
        return f"{loops.judged()}; {hops.judged()}; {order}"


def once(world, fleet, since: int, version: str) -> None:
    """However many regions there are, the upstream was asked for a package once."""
    asked = [path for path in world.requests(f"/{fleet.name}/pool/", since) if f"_{version}_" in path]
    assert len(asked) == 1, f"{version} was fetched {len(asked)} times: {asked}"


def prepare(world, fleet, version: str) -> tuple[str, int]:
    """The hub has something newer; its id."""
    since = world.access_position()
    before = published(fleet)
    fleet.archive.add_package("stable", PACKAGE, version)
    fleet.archive.publish("stable")
    fleet.request_sync()

    def next_one() -> str | None:
        status = fleet.get()["status"]
        preparing = status["publication"].get("preparing", {}).get("snapshot")
        return preparing or (published(fleet) if published(fleet) != before else None)

    return wait_until(next_one, 180, f"{version} to be prepared", detail=lambda: told(fleet)), since


def publish(world, fleet, version: str) -> tuple[str, float]:
    """The hub fetches a version, and all serve it; the snapshot, and how long that took from when it was prepared."""
    prepared, since = prepare(world, fleet, version)
    began = time.monotonic()
    wait_until(lambda: published(fleet) == prepared, 120, f"{version} to be published", detail=lambda: told(fleet))
    assert serve_the_same(fleet) == prepared
    took = time.monotonic() - began
    once(world, fleet, since, version)
    for name in ALL:
        assert f"_{version}_" in download(fleet, name), f"{name} serves something older"
    return prepared, took


@contextmanager
def no_pod_starts_in_the_other_node(fleet):
    """A copy is made there, and does not begin."""
    node = serving_pod(fleet, EDGE)["spec"]["nodeName"]
    fleet.lab.kubectl("cordon", node)
    try:
        yield
    finally:
        fleet.lab.kubectl("uncordon", node)


def is_patient(fleet, seconds: int) -> None:
    fleet.lab.merge("mirror", "debian", fleet.namespace, {"spec": {"rollout": {"patience": f"{seconds}s"}}})


def copy_is_killed_and_region_left_out(world, scene: Scene) -> None:
    """A copy that does not begin, and ends by somebody's hand: nobody is served without its region before routing has left it."""
    fleet = scene.fleet
    is_patient(fleet, WHILE_LOOKED_AT)
    with no_pod_starts_in_the_other_node(fleet):
        prepared, since = prepare(world, fleet, "1.3")
        wait_until(lambda: sync_pods(fleet, EDGE), 120, "the copy of the region that follows")
        assert published(fleet) != prepared, "it was served before all had it"
        scene.telling.of("Copying", about=f"waited for, until .*region {EDGE}", comes=f"is served once regions {EDGE} and {FAR} can, and at .* by those that can", columns="Preparing")
        copy = sync_pods(fleet, EDGE)[0]["metadata"]["name"]
        fleet.lab.delete("pod", copy, fleet.namespace, force=True, wait=False)
        is_patient(fleet, PATIENCE)
        wait_until(lambda: published(fleet) == prepared, 120, "the others to go on", detail=lambda: told(fleet))
        assert withdrawn(fleet) == {EDGE, FAR}, told(fleet)
        leads = led_to(fleet)
        assert leads == {serving_pod(fleet, HUB)["metadata"]["name"]}, leads
        wait_until(lambda: fleet.region(name=HUB).get("snapshot") == prepared, 90, "the hub to serve it")
        scene.telling.of("Joining", about=f"region {EDGE} has been left out", comes=".", columns="Joining")
    assert serve_the_same(fleet) == prepared
    wait_until(lambda: len(led_to(fleet)) == len(REGIONS), 90, "clients of all regions to be led to each")
    once(world, fleet, since, "1.3")


def controller_is_killed(world, fleet) -> str:
    """While regions copy: what was decided goes on where it was."""
    is_patient(fleet, WHILE_LOOKED_AT)
    with no_pod_starts_in_the_other_node(fleet):
        prepared, since = prepare(world, fleet, "1.4")
        scale_controller(world, 0)
    try:
        assert published(fleet) != prepared
    finally:
        scale_controller(world, 2)
    wait_until(lambda: published(fleet) == prepared, 120, "the publication to go on", detail=lambda: told(fleet))
    is_patient(fleet, PATIENCE)
    assert serve_the_same(fleet) == prepared
    once(world, fleet, since, "1.4")
    return prepared


def pins_and_skips(fleet, first: str, second: str, newest: str) -> None:
    """The same in every region; and no run is needed where the snapshot is kept."""
    kept = {snapshot["id"] for snapshot in fleet.get()["status"]["snapshots"]}
    pinned = next(one for one in (second, first) if one in kept)
    for snapshots, wanted in (({"pinned": pinned[:16]}, pinned), ({"pinned": ""}, newest), ({"skip": [newest[:16]]}, None), ({"skip": []}, newest)):
        fleet.lab.merge("mirror", "debian", fleet.namespace, {"spec": {"snapshots": snapshots}})
        if wanted:
            wait_until(lambda: published(fleet) == wanted, 90, f"{snapshots}", detail=lambda: told(fleet))  # noqa: B023
        else:
            wait_until(lambda: published(fleet) != newest, 90, f"{snapshots}", detail=lambda: told(fleet))  # noqa: B023
        serve_the_same(fleet)


def at_rest(world, fleet) -> None:
    """Nothing is written while nothing happens, nor by a controller that is new."""
    settle(world)
    since = world.lab.audit_position()
    time.sleep(REST_SECONDS)
    scale_controller(world, 0)
    scale_controller(world, 2)
    world.leader()
    time.sleep(REST_SECONDS)
    writes = [brief(event) for event in world.controller_writes(since)]
    assert not writes, f"writes at rest: {writes}"
