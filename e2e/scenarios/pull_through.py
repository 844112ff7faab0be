"""A mirror that fetches what it is asked for, in a cluster: two containers, and only one of them knows the upstream."""

from __future__ import annotations

from lab import wait_until
from world import PACKAGE

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
