"""A new version of the controller finds the objects of the one before, and changes them without taking anything down."""

from __future__ import annotations

import threading
import time

from lab import CommandFailed, wait_until
from world import ALLOWED_PREFIX

from .controller import scale_controller
from .registry import scenario

REPLICA = "mirrorfleet.dev/replica"
APPLIED = "mirrorfleet.dev/applied"


@scenario("objects of the version before are adopted: no pod is restarted, no apt fails", alone=True)
def objects_are_adopted(world):
    with world.fleet("adopted") as fleet:
        fleet.apply_all()
        scale_controller(world, 0)
        try:
            make_of_the_version_before(fleet)
            pod, claim = fleet.serving_pod(), fleet.claims()[0]
            assert REPLICA not in pod["metadata"]["labels"], "the pod is of this version"
            with AptLoop(fleet) as loop:
                wait_until(lambda: loop.done >= 1, 120, "a first apt")
                scale_controller(world, 2)
                wait_until(lambda: adopted(fleet), 240, "the new StatefulSet to adopt the pod", detail=lambda: fleet.lab.picture(fleet.namespace))
                fleet.wait_ready()
                reached = loop.done
                wait_until(lambda: loop.done >= reached + 2, 120, "two more apts")
        finally:
            scale_controller(world, 2)
        after = fleet.serving_pod()
        assert after["metadata"]["uid"] == pod["metadata"]["uid"], "the pod was made anew"
        assert after["status"]["containerStatuses"][0]["restartCount"] == 0, "its container was restarted"
        kept = fleet.claims()
        assert [c["metadata"]["uid"] for c in kept] == [claim["metadata"]["uid"]], "another claim"
        assert kept[0]["metadata"]["labels"][REPLICA] == "0", "the claim has no replica"

        fleet.lab.patch("mirror", "debian", {"spec": {"pods": {"annotations": {f"{ALLOWED_PREFIX}turn": "2"}}}}, fleet.namespace)
        wait_until(lambda: serves_anew(fleet, after["metadata"]["uid"]), 240, "the pod to be made anew from the changed template")
        fleet.wait_ready()
        fleet.apt_download()
        return f"{loop.done} apts"


def can_be_used(fleet) -> bool:
    try:
        fleet.apt_download()
    except (AssertionError, CommandFailed):
        return False
    return True


def stateful_set(fleet) -> dict:
    return next(iter(fleet.lab.list("statefulsets", fleet.namespace)), {})


def make_of_the_version_before(fleet) -> None:
    """As the version before made it: nothing of a replica in selector, template and labels, and `RollingUpdate`."""
    live, made = stateful_set(fleet), fleet.serving_pod()["metadata"]["uid"]
    name = live["metadata"]["name"]
    fleet.lab.kubectl("delete", "statefulset", name, "--cascade=orphan", namespace=fleet.namespace)
    for kind, of in (("pod", f"{name}-0"), ("persistentvolumeclaim", name)):
        fleet.lab.kubectl("label", kind, of, f"{REPLICA}-", namespace=fleet.namespace)
    meta, spec = live["metadata"], live["spec"]
    for kind in ("service", "poddisruptionbudget"):
        for thing in fleet.lab.list(kind, fleet.namespace):
            named = (kind, thing["metadata"]["name"])
            fleet.lab.kubectl("label", *named, f"{REPLICA}-", namespace=fleet.namespace)
            fleet.lab.kubectl("annotate", "--overwrite", *named, f"{APPLIED}=before", namespace=fleet.namespace)
    del spec["selector"]["matchLabels"][REPLICA]
    del spec["template"]["metadata"]["labels"][REPLICA]
    spec["updateStrategy"] = {"type": "RollingUpdate"}
    labels = {key: value for key, value in meta["labels"].items() if key != REPLICA}
    kept = {"name": name, "labels": labels, "annotations": {APPLIED: "before"}, "ownerReferences": meta["ownerReferences"]}
    fleet.apply({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": kept, "spec": spec})
    # Its template is another one, so its own controller makes the pod anew: that is the pod of the version before.
    wait_until(lambda: serves_anew(fleet, made), 240, "the pod of the version before", detail=lambda: fleet.lab.picture(fleet.namespace))
    # Ready is known to the node's proxy a moment later.
    wait_until(lambda: can_be_used(fleet), 120, "apt to use it")


def adopted(fleet) -> bool:
    live, pods = stateful_set(fleet), fleet.pods("serving")
    selects = live.get("spec", {}).get("selector", {}).get("matchLabels", {})
    things = [thing for kind in ("service", "poddisruptionbudget") for thing in fleet.lab.list(kind, fleet.namespace)]
    owners = [owner["uid"] for pod in pods for owner in pod["metadata"].get("ownerReferences", [])]
    return selects.get(REPLICA) == "0" and owners == [live["metadata"]["uid"]] and all(thing["metadata"]["annotations"][APPLIED] != "before" for thing in things)


def serves_anew(fleet, uid: str) -> bool:
    pods = [pod for pod in fleet.pods("serving") if pod["metadata"]["uid"] != uid]
    conditions = [known for pod in pods for known in pod["status"].get("conditions", [])]
    return any(known["type"] == "Ready" and known["status"] == "True" for known in conditions)


class AptLoop:
    """apt, over and over, each time with empty lists; leaving it raises what the first that failed said."""

    def __init__(self, fleet, *, default_retries: bool = False) -> None:
        self.fleet = fleet
        self.default_retries = default_retries
        self.done = 0
        self.failure: Exception | None = None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self.stop.is_set() and not self.failure:
            try:
                self.fleet.apt_download(default_retries=self.default_retries)
                self.done += 1
            except Exception as error:  # noqa: BLE001
                self.failure = error
            time.sleep(0.1)

    def __enter__(self) -> AptLoop:
        self.thread.start()
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.stop.set()
        self.thread.join()
        if self.failure:
            raise self.failure
