"""A Mirror's life: it comes, follows its upstream, is deleted and comes back."""

from __future__ import annotations

from lab import wait_until
from world import PACKAGE, regions_of

from .registry import scenario


@scenario("apply, Ready, and a real apt installs through the Service")
def first_mirror(world):
    with world.fleet("first-mirror") as fleet:
        mirror = fleet.apply_all()
        package = fleet.apt_download()
        assert package.read_bytes() == next(fleet.archive.root.rglob(f"{PACKAGE}_*.deb")).read_bytes(), "apt got other bytes"
        columns = world.lab.kubectl("get", "mirrors", namespace=fleet.namespace)
        assert "1/1" in columns and "True" in columns, f"the columns do not say that it is fresh:\n{columns}"
        assert mirror["status"]["observedGeneration"] == mirror["metadata"]["generation"]
        told = wait_until(lambda: fleet.lab.events(fleet.namespace, about="debian", reason="Published"), 90, "the Event of the sync")
        assert len(told) == 1, f"one sync, one Event: {told}"
        workloads_are_restricted(fleet)


def workloads_are_restricted(fleet):
    """No service-account token and no right to the API in the pods that touch content; the namespace enforces the rest."""
    pods = fleet.pods("serving") + fleet.pods("sync")
    assert pods, "no pods of ours to look at"
    for pod in pods:
        spec, name = pod["spec"], pod["metadata"]["name"]
        assert spec.get("automountServiceAccountToken") is False, f"{name} may mount a token"
        assert not any("serviceAccountToken" in str(volume) for volume in spec["volumes"]), f"{name} has a token"
        container = spec["containers"][0]["securityContext"]
        assert container["readOnlyRootFilesystem"] is True, f"{name} can write to its root"
    serving = fleet.pods("serving")[0]["spec"]["containers"][0]
    assert all(mount.get("readOnly") for mount in serving["volumeMounts"] if mount["mountPath"] == "/data"), "serving can write"


@scenario("upstream publishes: served after a request, after the schedule, and when the probe sees it")
def follows_upstream(world):
    with world.fleet("follows") as fleet:
        fleet.apply_all()
        before = fleet.region()["snapshot"]
        fleet.archive.add_package("stable", PACKAGE, "2.0")
        fleet.archive.publish("stable")
        region = fleet.sync()
        assert region["lastAttempt"]["reason"] == "Prepared", region["lastAttempt"]
        assert wait_until(lambda: fleet.region().get("snapshot") not in (None, before), 90, "the new snapshot in the status")
        assert "_2.0_" in fleet.apt_download().name

        fleet.archive.add_package("stable", PACKAGE, "3.0")
        fleet.archive.publish("stable")
        second = fleet.region()["snapshot"]
        fleet.lab.patch("mirror", "debian", {"spec": {"sync": {"schedule": "* * * * *"}}}, fleet.namespace)
        wait_until(lambda: fleet.region().get("snapshot") not in (None, second), 240, "the schedule to bring the new snapshot")
        assert "_3.0_" in fleet.apt_download().name

        # A run of the schedule that has just begun would take what only the probe is to tell of.
        rests(fleet)
        sync = {"schedule": "0 0 1 1 *", "onUpstreamChange": True}
        fleet.lab.patch("mirror", "debian", {"spec": {"sync": sync}}, fleet.namespace)
        third = fleet.region()["snapshot"]
        fleet.archive.add_package("stable", PACKAGE, "4.0")
        fleet.archive.publish("stable")
        wait_until(lambda: fleet.region().get("snapshot") not in (None, third), 240, "the probe to bring the new snapshot")
        assert fleet.region()["lastAttempt"]["trigger"] == "UpstreamChange", fleet.region()["lastAttempt"]
        assert "_4.0_" in fleet.apt_download().name


def rests(fleet) -> None:
    """Until no run goes on, and the schedule begins none any more."""
    fleet.lab.patch("mirror", "debian", {"spec": {"sync": {"schedule": "0 0 1 1 *"}}}, fleet.namespace)

    def is_at_rest(mirror: dict) -> bool:
        seen = mirror["status"]["observedGeneration"] == mirror["metadata"]["generation"]
        return seen and not any(region.get("currentRun") for region in regions_of(mirror))

    fleet.lab.wait_for("mirror", "debian", fleet.namespace, is_at_rest, 120, "the runs of the schedule to be over")


@scenario("unchanged upstream: one request a suite, nothing fetched")
def unchanged_is_cheap(world):
    with world.fleet("unchanged") as fleet:
        mirror = fleet.mirror()
        # The probe asks too; one an hour leaves the sync's own requests alone.
        fleet.apply(fleet.keyring(), fleet.upstream(probe={"interval": "1h"}), mirror)
        fleet.wait_ready()
        fleet.lab.wait_condition("upstream", "debian", fleet.namespace, "Reachable")
        since = world.access_position()
        region = fleet.sync()
        assert region["lastAttempt"]["reason"] == "Unchanged", region["lastAttempt"]
        asked = world.requests("/unchanged/", since)
        assert asked == ["/unchanged/dists/stable/InRelease"], asked


@scenario("deleted Mirror keeps its volume; created again, it fetches nothing")
def deletion_keeps_data(world):
    with world.fleet("deletion") as fleet:
        fleet.apply_all()
        claim = fleet.claims()[0]
        snapshot = fleet.region()["snapshot"]
        fleet.lab.delete("mirror", "debian", fleet.namespace)
        wait_until(lambda: not fleet.pods("serving"), 120, "the serving pod to go")
        kept = fleet.claims()
        assert [c["metadata"]["uid"] for c in kept] == [claim["metadata"]["uid"]], "the claim went with the Mirror"
        since = world.access_position()
        fleet.apply(fleet.mirror())
        fleet.wait_ready()
        assert fleet.region()["snapshot"] == snapshot
        bodies = [path for path in world.requests("/deletion/", since) if "/pool/" in path or "Packages" in path]
        assert not bodies, f"fetched again: {bodies}"
        fleet.apt_download()


@scenario("reclaimPolicy Delete takes the volume along")
def deletion_on_request(world):
    with world.fleet("reclaim") as fleet:
        fleet.apply_all(storage={"size": "1Gi", "reclaimPolicy": "Delete"})
        fleet.lab.delete("mirror", "debian", fleet.namespace)
        wait_until(lambda: not fleet.claims(), 120, "the claim to go")


@scenario("pin freezes, unpin goes on")
def pin_and_unpin(world):
    with world.fleet("pin") as fleet:
        fleet.apply_all()
        first = fleet.region()["snapshot"]
        fleet.lab.patch("mirror", "debian", {"spec": {"snapshots": {"pinned": first}}}, fleet.namespace)
        fleet.archive.add_package("stable", PACKAGE, "2.0")
        fleet.archive.publish("stable")
        fleet.sync()
        assert fleet.status_of_pod()["snapshot"] == first, "a pinned Mirror served something else"
        assert "_1.0_" in fleet.apt_download().name
        fleet.lab.patch("mirror", "debian", {"spec": {"snapshots": {"pinned": ""}}}, fleet.namespace)
        wait_until(lambda: fleet.status_of_pod()["snapshot"] != first, 90, "the unpinned Mirror to go on")
        assert "_2.0_" in fleet.apt_download().name


@scenario("two regions, each with its own copy; suspend stops new syncs and nothing else; a region that goes leaves its volume")
def two_regions_and_suspend(world):
    regions = [
        {"name": name, "nodeSelector": {"topology.kubernetes.io/region": name}} for name in ("region-a", "region-b")
    ]
    with world.fleet("regions") as fleet:
        fleet.apply_all(regions=regions)
        wait_until(lambda: fleet.get()["status"].get("regionsReady") == "2/2", 120, "both regions")
        nodes = {pod["spec"]["nodeName"] for pod in fleet.pods("serving")}
        assert nodes == {"node-a", "node-b"}, nodes
        snapshots = {fleet.region(name=name)["snapshot"] for name in ("region-a", "region-b")}
        assert len(snapshots) == 1, "the same upstream state has the same id everywhere"
        wait_until(lambda: not fleet.lab.list("jobs", fleet.namespace), 120, "the first runs to be taken into the status")
        fleet.lab.patch("mirror", "debian", {"spec": {"suspend": True}}, fleet.namespace)
        fleet.archive.add_package("stable", PACKAGE, "2.0")
        fleet.archive.publish("stable")
        fleet.lab.patch("mirror", "debian", {"spec": {"sync": {"schedule": "* * * * *"}}}, fleet.namespace)
        fleet.lab.wait_for(
            "mirror", "debian", fleet.namespace,
            lambda thing: thing["status"]["observedGeneration"] == thing["metadata"]["generation"], 90, "the change to be seen",
        )  # fmt: skip
        assert "nextSyncTime" not in fleet.get()["status"], "a suspended Mirror has a next sync"
        assert not fleet.lab.list("jobs", fleet.namespace), "a suspended Mirror synced"
        assert "_1.0_" in fleet.apt_download().name
        fleet.lab.patch("mirror", "debian", {"spec": {"suspend": False}}, fleet.namespace)
        wait_until(lambda: fleet.region().get("snapshot") not in (None, *snapshots), 240, "the resumed Mirror to sync")

        fleet.lab.patch("mirror", "debian", {"spec": {"regions": regions[:1]}}, fleet.namespace)
        for kind in ("statefulset", "service", "poddisruptionbudget"):
            wait_until(lambda: len(fleet.lab.list(kind, fleet.namespace)) == 1, 120, f"the {kind} of the region that went to go")
        assert len(fleet.claims()) == 2, "the claim of the region went with it"
