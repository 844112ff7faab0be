"""What keeps a Mirror from being ready stands in its conditions, in the words of whoever is in the way."""

from __future__ import annotations

import json

from lab import condition_of, wait_until
from world import ALLOWED_PREFIX

from .registry import scenario


def told(fleet, name: str, reason: str, *words: str, timeout: float = 180) -> None:
    """Waits until Ready is False for this reason and says these words; the columns show the reason."""

    def says(thing: dict) -> bool:
        ready = condition_of(thing, "Ready") or {}
        cause = ready.get("status") == "False" and ready.get("reason") == reason
        return cause and all(word in ready["message"] for word in words)

    try:
        thing = fleet.lab.wait_for("mirror", name, fleet.namespace, says, timeout, f"{name} to say {reason}, {words}")
    except Exception as error:
        raise AssertionError(f"{name} says {fleet.condition('Ready', name)}") from error
    assert reason in thing["status"]["state"].split(","), thing["status"]["state"]


@scenario("image, node, class, quota, crash, turn: Ready=False names the root, and a manifest that cannot be read is told")
def causes(world):
    with world.fleet("causes", package_kilobytes=600) as fleet:
        nowhere = [{"name": "main", "nodeSelector": {"topology.kubernetes.io/region": "nowhere"}}]
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": {"persistentvolumeclaims": "0"}}}
        # At this bandwidth a run takes a while, so there is somebody to wait for.
        fleet.apply(fleet.keyring(), fleet.upstream(politeness={"bandwidth": "60k"}), quota)
        fleet.lab.wait_for("resourcequota", "small", fleet.namespace, lambda it: "hard" in it.get("status", {}), 90, "the quota to count")
        fleet.apply(fleet.mirror("first"))
        told(fleet, "first", "CreationRefused", "exceeded quota: small", "PersistentVolumeClaim")
        fleet.lab.patch("resourcequota", "small", [{"op": "replace", "path": "/spec/hard", "value": {"pods": "0"}}], fleet.namespace)
        told(fleet, "first", "CreationRefused", "exceeded quota: small", "serving pod")
        fleet.lab.delete("resourcequota", "small", fleet.namespace)

        fleet.apply(fleet.mirror("second"))

        def somebody_waits() -> bool:
            conditions = [fleet.condition("Ready", name) for name in ("first", "second")]
            waiting = [found["message"] for found in conditions if found.get("reason") == "WaitingForTurn"]
            return any("is being synced from Upstream debian" in message for message in waiting)

        # Ten seconds at least, wherever the runs begin.
        wait_until(somebody_waits, 90, "one to say that it waits for the other", interval=0.3)

        fleet.apply(
            fleet.mirror("unpulled", pods={"imagePullPolicy": "Always"}),
            fleet.mirror("homeless", regions=nowhere),
            fleet.mirror("classless", storage={"size": "1Gi", "storageClassName": "not-there"}),
            fleet.mirror("crashing", serving={"tls": {"secretName": "not-there"}}),
            fleet.mirror("unreadable", storage={"size": "999999999999999Pi"}),
        )

        def both_ready() -> bool:
            return all(fleet.condition("Ready", name).get("status") == "True" for name in ("first", "second"))

        told(fleet, "unpulled", "ImageNotPulled", world.image)
        told(fleet, "homeless", "PodUnschedulable", "node")
        told(fleet, "classless", "VolumePending", '"not-there" not found')
        told(fleet, "crashing", "PodCrashing", "tls.crt")
        told(fleet, "unreadable", "InvalidSpec", "999999999999999Pi")
        assert fleet.condition("Stalled", "unreadable")["status"] == "True"
        unreadable = fleet.upstream(politeness={"bandwidth": "999999999999999Pi"})
        fleet.apply({**unreadable, "metadata": {"name": "unreadable"}})
        fleet.lab.wait_condition("upstream", "unreadable", fleet.namespace, "Ready", "False", reason="InvalidSpec", timeout=120)
        wait_until(both_ready, 300, "those that nothing is in the way of to be ready")

        url = fleet.region("first")["url"]
        assert url == f"http://{service_name(fleet, 'first')}.{fleet.namespace}.svc/first/", url
        columns = fleet.lab.kubectl("get", "mirror", "first", namespace=fleet.namespace)
        assert url in columns and "Serving" in columns, columns


def service_name(fleet, mirror: str) -> str:
    return fleet.lab.list("services", fleet.namespace, f"mirrorfleet.dev/mirror={mirror}")[0]["metadata"]["name"]


@scenario("labels, classes, user and level of pods as the manifest asks; what the installation does not allow is refused")
def pods(world):
    low = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "mirrorfleet-e2e"}, "value": 1}
    wishes = {
        "labels": {f"{ALLOWED_PREFIX}team": "mirrors"}, "annotations": {f"{ALLOWED_PREFIX}scan": "no"},
        "priorityClassName": "mirrorfleet-e2e",
        "securityContext": {"runAsUser": 12345, "runAsGroup": 12345, "fsGroup": 12345, "seLinuxOptions": {"level": "s0:c1,c2"}},
    }  # fmt: skip
    with world.fleet("pods") as fleet:
        fleet.lab.apply(low)
        try:
            fleet.apply(fleet.keyring(), fleet.upstream(), fleet.mirror(pods={"priorityClassName": "system-node-critical"}))
            assert "podsAllowed.priorityClasses" in fleet.wait_stalled("InvalidSpec")
            fleet.apply(fleet.mirror(pods=wishes))
            fleet.wait_ready()
            for pod in [fleet.serving_pod()]:
                meta, spec = pod["metadata"], pod["spec"]
                assert meta["labels"][f"{ALLOWED_PREFIX}team"] == "mirrors" and meta["annotations"][f"{ALLOWED_PREFIX}scan"] == "no", meta
                assert spec["priorityClassName"] == "mirrorfleet-e2e" and spec["securityContext"]["runAsUser"] == 12345, spec
                assert spec["securityContext"]["seLinuxOptions"] == {"level": "s0:c1,c2"}, spec["securityContext"]
                assert spec["containers"][0]["resources"]["limits"]["memory"] == "512Mi", spec["containers"][0]["resources"]
            fleet.apt_download()
            # A run that fails leaves its log until one succeeds.
            fleet.archive.add_package("stable", "other-package", "1.0")
            fleet.archive.publish("stable")
            kept = break_and_sync(fleet)
            assert "ERROR" in kept.upper() or "refused" in kept, kept
            fleet.archive.publish("stable")
            last = fleet.sync()["lastAttempt"]
            assert last["reason"] == "Prepared" and last["filesFetched"] > 0 and last["bytesFetched"] > 0, last
            wait_until(lambda: not fleet.lab.list("jobs", fleet.namespace), 120, "the Job of the failed run to go")
        finally:
            fleet.lab.delete("priorityclass", "mirrorfleet-e2e", wait=False)


def break_and_sync(fleet) -> str:
    """A run that is refused; returns what `kubectl logs` tells of the Job that the status names."""
    release = fleet.archive.root / "dists" / "stable" / "InRelease"
    text = release.read_text()
    release.write_text(text.replace("Suite: stable", "Suite: forged", 1))
    last = fleet.sync()["lastAttempt"]
    assert last["reason"] == "SignatureBad", json.dumps(last)
    release.write_text(text)
    return fleet.lab.kubectl("logs", f"job/{last['job']}", namespace=fleet.namespace)
