"""Things break in the middle: the old snapshot stands, and it heals without a person."""

from __future__ import annotations

import json

from lab import wait_until
from world import PACKAGE

from .registry import scenario

#: At this bandwidth the big package below takes some 20 s, so there is a middle.
SLOW = {"bandwidth": "300k"}
BIG_KILOBYTES = 6000


def start_slow_sync(fleet) -> dict:
    """A published upstream state that takes a while to fetch, and the pod that fetches it."""
    fleet.archive.add_package("stable", PACKAGE, "2.0")
    fleet.archive.add_package("stable", "big-package", "1.0", kilobytes=BIG_KILOBYTES)
    fleet.archive.publish("stable")
    fleet.apply(fleet.upstream(politeness=SLOW))
    fleet.request_sync()
    pod = fleet.running_sync_pod()
    wait_until(lambda: received_bytes(fleet, pod) > 100_000, 90, "the run to be in the middle")
    return pod


def received_bytes(fleet, pod: dict) -> float:
    """How far the run has come, as its own metrics say."""
    address = pod["status"].get("podIP")
    if not address:
        return 0
    name = "mirrorfleet_sync_received_bytes_total"
    lines = fleet.curl(f"http://{address}:9090/metrics").splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


@scenario("sync pod killed in the middle: the old snapshot stands, then heals, and resumes")
def sync_pod_killed(world):
    with world.fleet("sync-killed") as fleet:
        fleet.apply_all(sync={"schedule": "0 0 1 1 *", "retries": {"limit": 3, "backoff": "5s"}})
        first = fleet.region()["snapshot"]
        pod = start_slow_sync(fleet)
        fleet.lab.delete("pod", pod["metadata"]["name"], fleet.namespace, force=True, wait=False)
        assert fleet.status_of_pod()["snapshot"] == first
        assert "_1.0_" in fleet.apt_download().name, "half of a run is served"
        wait_until(lambda: fleet.status_of_pod()["snapshot"] != first, 240, "the retried sync to publish")
        assert "_2.0_" in fleet.apt_download().name


@scenario("serving pod evicted in the middle of a sync: serving wins")
def serving_pod_evicted(world):
    with world.fleet("evicted") as fleet:
        fleet.apply_all(sync={"schedule": "0 0 1 1 *", "retries": {"limit": 3, "backoff": "5s"}})
        first = fleet.region()["snapshot"]
        start_slow_sync(fleet)
        serving = fleet.serving_pod()
        eviction = {
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": serving["metadata"]["name"], "namespace": fleet.namespace},
        }  # fmt: skip
        path = f"/api/v1/namespaces/{fleet.namespace}/pods/{serving['metadata']['name']}/eviction"
        # Refused while the cluster has not counted yet how many may go.
        evicted = lambda: fleet.lab.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction)) or True  # noqa: E731
        wait_until(evicted, 90, "the eviction to be allowed")

        def replaced() -> bool:
            pods = fleet.pods("serving")
            return any(
                pod["metadata"]["uid"] != serving["metadata"]["uid"]
                and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
                for pod in pods
            )

        wait_until(replaced, 120, "the serving pod to be back")
        fleet.wait_led_to()
        assert "_1.0_" in fleet.apt_download().name or fleet.status_of_pod()["snapshot"] != first
        wait_until(lambda: fleet.status_of_pod()["snapshot"] != first, 240, "the sync to be finished after all")


@scenario("the node of a region is lost and comes back", needs=("pod-network", "own-nodes"), alone=True)
def node_lost(world):
    region = [{"name": "region-b", "nodeSelector": {"topology.kubernetes.io/region": "region-b"}}]
    with world.fleet("node-lost") as fleet:
        fleet.apply_all(regions=region)
        snapshot = fleet.region(name="region-b")["snapshot"]
        world.lab.node_down("node-b")
        try:
            fleet.lab.wait_condition("mirror", "debian", fleet.namespace, "Ready", "False", timeout=180)
            assert fleet.claims(), "data was given up"
        finally:
            world.lab.node_up("node-b")
        fleet.wait_ready()
        assert fleet.region(name="region-b")["snapshot"] == snapshot
        fleet.apt_download()


@scenario("a volume that fills up loses nothing and says so", needs=("pod-network", "small-volumes"))
def full_volume(world):
    with world.fleet("full") as fleet:
        fleet.lab.small_volume("node-a", "small-full", 24, storage_class="small-full")
        fleet.apply_all(storage={"size": "20Mi", "storageClassName": "small-full"})
        first = fleet.region()["snapshot"]
        fleet.archive.add_package("stable", "big-package", "1.0", kilobytes=40_000)
        fleet.archive.publish("stable")
        region = fleet.sync()
        assert region["lastAttempt"]["reason"] == "StorageFull", region["lastAttempt"]
        assert fleet.status_of_pod()["snapshot"] == first
        fleet.apt_download()
        assert fleet.condition("StorageReady")["status"] == "False", fleet.condition("StorageReady")
