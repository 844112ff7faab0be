"""Orders: an annotation of a serving pod, which the kubelet brings into the pod as a file."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from lab import BUSYBOX_IMAGE, wait_until
from world import PACKAGE

from .controller import scale_controller
from .registry import scenario

ORDERS, PODS = 200, 40
#: Seconds that 99 of 100 orders may take from the API server's answer to the file.
BAR = 2.0
ANNOTATION = "e2e.example.org/order"
#: At this bandwidth the package takes longer than all orders.
SLOW, SLOW_KILOBYTES = {"bandwidth": "60k"}, 24_000
READ = """
was=
while :; do
    now=; read -r now < /order/serve || :
    if [ "$now" != "$was" ]; then read -r up _ < /proc/uptime; echo "$up $now"; was=$now; fi
    usleep 20000
done
"""


@scenario(f"{ORDERS} orders reach the file in a pod, beside forty pods of its node and a sync that runs", alone=True, long=True)
def order_latency(world):
    with world.fleet("order-latency") as fleet:
        fleet.apply_all()
        crowd = [pod(f"crowd-{number}", "exec sleep 3600") for number in range(PODS - 1)]
        fleet.apply(*crowd, pod("reader", READ))
        running = lambda name: (fleet.lab.get("pod", name, fleet.namespace) or {}).get("status", {}).get("phase") == "Running"  # noqa: E731
        wait_until(lambda: all(running(it["metadata"]["name"]) for it in crowd) and running("reader"), 240, "forty pods")
        start_long_sync(fleet)
        with Arrivals(fleet) as arrivals:
            seconds = sorted(arrivals.seconds(order) for order in range(1, ORDERS + 1))
        assert fleet.running_sync_pod(), "the sync ended before the last order"
        figures = {name: seconds[round(ORDERS * share) - 1] for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("all", 1))}
        told = ", ".join(f"{name} {value:.2f} s" for name, value in figures.items())
        assert figures["p99"] <= BAR, told
        return told


def start_long_sync(fleet) -> dict:
    """One that outlasts all orders, and its pod."""
    fleet.apply(fleet.upstream(politeness=SLOW))
    fleet.archive.add_package("stable", PACKAGE, "2.0", kilobytes=SLOW_KILOBYTES)
    fleet.archive.publish("stable")
    fleet.request_sync()
    return fleet.running_sync_pod()


class Arrivals:
    """The log of the pod that reads its file all the time, line by line."""

    def __init__(self, fleet) -> None:
        self.fleet = fleet
        self.seen: dict[int, float] = {}

    def __enter__(self) -> Arrivals:
        command = ["kubectl", "--namespace", self.fleet.namespace, "logs", "--follow", "reader"]
        self.log = self.fleet.lab.popen(command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.log.kill()
        self.log.wait()

    def _listen(self) -> None:
        for line in self.log.stdout:
            at, _, order = line.strip().partition(" ")
            if order.isdigit():
                self.seen[int(order)] = float(at)

    def seconds(self, order: int) -> float:
        """Gives an order at some moment of the kubelet's rounds; how long it takes from the server's answer to the file."""
        time.sleep(random.random() / 4)
        self.fleet.lab.merge("pod", "reader", self.fleet.namespace, {"metadata": {"annotations": {ANNOTATION: str(order)}}})
        given = uptime()
        wait_until(lambda: order in self.seen, 120, f"order {order} to arrive", interval=0.02)
        # The file may be there before the answer is.
        return max(0.0, self.seen[order] - given)


def uptime() -> float:
    """The clock that the pod reads, too."""
    return float(Path("/proc/uptime").read_text().split()[0])


def pod(name: str, script: str) -> dict:
    """As serving pods are, with its annotation as a file."""
    file = {"path": "serve", "fieldRef": {"fieldPath": f"metadata.annotations['{ANNOTATION}']"}}
    container = {
        "name": "main", "image": BUSYBOX_IMAGE, "imagePullPolicy": "Never", "command": ["/bin/sh", "-c", script],
        "volumeMounts": [{"name": "order", "mountPath": "/order", "readOnly": True}],
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
    }  # fmt: skip
    spec = {
        "containers": [container], "volumes": [{"name": "order", "downwardAPI": {"items": [file]}}],
        "nodeSelector": {"topology.kubernetes.io/region": "region-a"}, "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": {ANNOTATION: "0"}}, "spec": spec}


#: Pins and ends of pins.
ROUNDS = 12
#: Seconds that the slowest of them may take on a machine that compiles meanwhile; `order_latency` has it for itself.
AT_MOST_BESIDE_OTHERS = 30


@scenario("pin, unpin and skip are served at once: by no Job, beside a sync that runs, where no pod can be scheduled, and by a pod that is made anew without a controller", needs=("pod-network", "audit-log", "own-nodes"), alone=True)
def orders(world):
    with world.fleet("orders") as fleet:
        fleet.apply_all()
        first = fleet.region()["snapshot"]
        fleet.archive.add_package("stable", PACKAGE, "1.5")
        fleet.archive.publish("stable")
        fleet.sync()
        second = wait_until(lambda: fleet.region()["snapshot"] != first and fleet.region()["snapshot"], 90, "the second one in the status")
        running = start_long_sync(fleet)
        since = world.lab.audit_position()
        with nothing_can_be_scheduled(fleet):
            seconds = pins_and_skips(fleet, first, second)
        assert running["metadata"]["name"] in {pod["metadata"]["name"] for pod in fleet.pods("sync")}, "the sync was ended"
        made = [event["objectRef"]["resource"] for event in world.controller_writes(since) if event["verb"] in ("create", "delete")]
        assert "jobs" not in made and "pods" not in made, made
        assert max(seconds) <= AT_MOST_BESIDE_OTHERS, seconds
        a_pod_that_is_made_anew(world, fleet, first)
        median = sorted(seconds)[len(seconds) // 2]
        return f"{len(seconds)} orders: {median:.1f} s as a rule, {max(seconds):.1f} s at most"


@contextmanager
def nothing_can_be_scheduled(fleet):
    """As on a node that is full. Nor can an image be pulled: the nodes reach no registry, ever."""
    node = fleet.serving_pod()["spec"]["nodeName"]
    fleet.lab.kubectl("cordon", node)
    try:
        yield
    finally:
        fleet.lab.kubectl("uncordon", node)


def pins_and_skips(fleet, first: str, second: str) -> list[float]:
    """How long each takes, in seconds."""
    seconds = [taken(fleet, {"pinned": pinned}, served) for pinned, served in ((first, first), ("", second)) * (ROUNDS // 2)]
    # What a roll back is: the newest is not served, and the next one will be.
    seconds.append(taken(fleet, {"skip": [second[:12]]}, first))
    assert "_1.0_" in fleet.apt_download().name
    wait_until(lambda: "RolledBack" in fleet.get()["status"]["state"], 90, "the state to say so")
    seconds.append(taken(fleet, {"skip": []}, second))
    return seconds


def taken(fleet, snapshots: dict, served: str) -> float:
    """Edits the Mirror; the seconds until its pod serves what it should then."""
    fleet.lab.merge("mirror", "debian", fleet.namespace, {"spec": {"snapshots": snapshots}})
    begun = time.monotonic()
    wait_until(lambda: fleet.status_of_pod()["snapshot"] == served, 120, f"{snapshots} to be served", interval=0.02)
    return time.monotonic() - begun


def a_pod_that_is_made_anew(world, fleet, pinned: str) -> None:
    taken(fleet, {"pinned": pinned}, pinned)
    wait_until(lambda: fleet.region()["snapshot"] == pinned, 90, "the status to say so")
    scale_controller(world, 0)
    try:
        before = fleet.serving_pod()["metadata"]
        fleet.lab.delete("pod", before["name"], fleet.namespace)
        ready = lambda: any(  # noqa: E731
            pod["metadata"]["uid"] != before["uid"] and is_ready(pod) for pod in fleet.pods("serving")
        )
        wait_until(ready, 120, "the pod that follows")
        fleet.wait_led_to()
        assert fleet.status_of_pod()["snapshot"] == pinned, "the order went with its pod"
        assert "_1.0_" in fleet.apt_download().name
    finally:
        scale_controller(world, 2)


def is_ready(pod: dict) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)
