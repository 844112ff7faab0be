"""Orders: an annotation of a serving pod, which the kubelet brings into the pod as a file."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from pathlib import Path

from lab import BUSYBOX_IMAGE, wait_until
from world import PACKAGE

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
        fleet.apply(fleet.upstream(politeness=SLOW))
        fleet.archive.add_package("stable", PACKAGE, "2.0", kilobytes=SLOW_KILOBYTES)
        fleet.archive.publish("stable")
        fleet.request_sync()
        fleet.running_sync_pod()
        with Arrivals(fleet) as arrivals:
            seconds = sorted(arrivals.seconds(order) for order in range(1, ORDERS + 1))
        assert fleet.running_sync_pod(), "the sync ended before the last order"
        figures = {name: seconds[round(ORDERS * share) - 1] for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("all", 1))}
        told = ", ".join(f"{name} {value:.2f} s" for name, value in figures.items())
        assert figures["p99"] <= BAR, told
        return told


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
