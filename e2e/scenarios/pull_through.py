"""A mirror that fetches what it is asked for, in a cluster: two containers, and only one of them knows the upstream."""

from __future__ import annotations

from lab import wait_until
from regions.faults import SmallVolume
from world import PACKAGE

from .orders import is_ready
from .registry import scenario


@scenario("a lazy mirror: apt installs through the Service, the upstream is asked once, credentials are in one of two containers; then it is Full, and lazy again")
def lazy_mirror(world):
    with world.fleet("lazy") as fleet:
        since = world.access_position()
        fleet.apply_all(mode="PullThrough", storage={"size": "1Gi", "cache": {"maxBytes": "100Mi"}})
        fetched = lambda: [path for path in world.requests("/lazy/", since) if "/pool/" in path]  # noqa: E731
        assert not fetched(), "a run fetches no packages"
        pod = fleet.serving_pod()
        containers = {container["name"]: container for container in pod["spec"]["containers"]}
        assert sorted(containers) == ["fill", "serve"], sorted(containers)
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        held = {name: {volumes[mount["name"]]["name"]: mount.get("readOnly", False) for mount in container["volumeMounts"]} for name, container in containers.items()}
        assert "refs" in held["fill"] and "refs" not in held["serve"], held
        assert held["serve"]["data"] and not held["fill"]["data"], held

        fleet.apt_download()
        assert len(fetched()) == 1, fetched()
        fleet.apt_download()
        assert len(fetched()) == 1, fetched()
        metrics = lambda: fleet.curl(f"http://{pod['status']['podIP']}:9091/metrics")  # noqa: E731
        counted = 'mirrorfleet_fill_fetches_total{mirror="debian",namespace="e2e-lazy",region="region-a",result="ok"} 1'
        # A client has the last byte before it is on the disk.
        wait_until(lambda: counted in metrics(), 90, "the fetch to be counted", detail=metrics)

        # New packages are there with the next run, and are fetched by nobody.
        fleet.archive.add_package("stable", "newer")
        fleet.archive.publish("stable")
        before = fleet.region()["snapshot"]
        fleet.sync()
        wait_until(lambda: fleet.status_of_pod()["snapshot"] != before, 120, "the new snapshot to be served")
        assert len(fetched()) == 1, fetched()
        fleet.apt_download("newer")
        assert len(fetched()) == 2, fetched()

        # Full: what is lacking is copied, which is nothing; one container is left.
        def is_served_by(names: list[str]) -> bool:
            pods = fleet.pods("serving")
            ready = pods and all(status.get("ready") for status in pods[0]["status"].get("containerStatuses", [{}]))
            return bool(ready) and sorted(container["name"] for container in pods[0]["spec"]["containers"]) == names

        def is_led_to() -> bool:
            return bool(fleet.curl(f"{fleet.mirror_url()}/dists/stable/InRelease"))

        fleet.lab.patch("mirror", "debian", {"spec": {"mode": "Full", "storage": {"cache": None}}}, fleet.namespace)
        wait_until(lambda: is_served_by(["serve"]), 120, "a pod of one container")
        fleet.wait_ready()
        wait_until(is_led_to, 90, "the Service to lead to the new pod")
        fleet.apt_download(PACKAGE)
        assert len(fetched()) == 2, fetched()
        fleet.lab.patch("mirror", "debian", {"spec": {"mode": "PullThrough"}}, fleet.namespace)
        wait_until(lambda: is_served_by(["fill", "serve"]), 120, "a pod of two containers")
        fleet.wait_ready()
        wait_until(is_led_to, 90, "the Service to lead to the new pod")
        fleet.apt_download("newer")
        assert len(fetched()) == 2, fetched()
        return f"{len(fetched())} packages fetched"


@scenario("a lazy mirror in trouble: its volume is full, its pod is killed, its node is lost; clients get what the upstream has, and what was stored is there again", needs=("pod-network", "own-nodes", "small-volumes"), alone=True, long=True)
def lazy_in_trouble(world):
    region = {"name": "region-b", "nodeSelector": {"topology.kubernetes.io/region": "region-b"}}
    with world.fleet("lazy-trouble") as fleet:
        since = world.access_position()
        volume = SmallVolume(fleet.lab, "node-b", "small-lazy", 48)
        fleet.archive.add_package("stable", "newer", kilobytes=200)
        fleet.archive.publish("stable")
        fleet.apply_all(mode="PullThrough", regions=[region], storage={**volume.storage, "cache": {"maxBytes": "20Mi"}})
        fetched = lambda: [path for path in world.requests(f"/{fleet.name}/", since) if "/pool/" in path]  # noqa: E731
        fleet.apt_download()
        assert len(fetched()) == 1, fetched()
        nothing_is_kept(fleet, volume)
        all_of_it = len(fetched())
        assert all_of_it > 2, f"it was kept although there was no room: {fetched()}"

        pod = fleet.serving_pod()["metadata"]
        fleet.lab.delete("pod", pod["name"], fleet.namespace, force=True, wait=False)
        wait_until(lambda: is_ready(it := fleet.serving_pod()) and it["metadata"]["uid"] != pod["uid"], 180, "another pod")
        is_led_to(fleet)
        fleet.apt_download()
        fleet.apt_download("newer")

        world.lab.node_down("node-b")
        try:
            fleet.lab.wait_condition("mirror", "debian", fleet.namespace, "Ready", "False", timeout=240)
        finally:
            world.lab.node_up("node-b")
        fleet.wait_ready(timeout=240)
        is_led_to(fleet)
        fleet.apt_download()
        fleet.apt_download("newer")
        assert len(fetched()) == all_of_it, f"what was stored was fetched again: {fetched()}"
        return f"{all_of_it - 2} downloads passed while nothing could be kept"


def nothing_is_kept(fleet, volume: SmallVolume) -> None:
    """Others fill the volume: apt gets what it asks for, and the condition says that it is not kept."""
    told = lambda: fleet.condition("StorageReady")  # noqa: E731

    def is_told() -> bool:
        # It is known of a volume once something could not be kept.
        volume.fill()
        fleet.apt_download("newer")
        return told()["status"] == "False"

    try:
        # Pods are asked twice a minute, and a condition follows.
        wait_until(is_told, 240, "the full volume to be told", interval=5, detail=lambda: str(told()))
        assert told()["reason"] == "StorageFull" and "and not kept" in told()["message"], told()
        assert fleet.condition("Ready")["status"] == "True", fleet.condition("Ready")
    finally:
        volume.empty()

    def is_over() -> bool:
        fleet.apt_download("newer")
        return told()["status"] == "True"

    wait_until(is_over, 300, "the mirror to keep what it fetches again", interval=5, detail=lambda: str(told()))


def is_led_to(fleet) -> None:
    url = f"{fleet.mirror_url()}/dists/stable/InRelease"
    wait_until(lambda: fleet.lab.exec(["curl", "-sSf", "--max-time", "20", url], check=False).returncode == 0, 120, "the Service to lead to the pod")
