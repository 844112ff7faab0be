"""How long our controller takes to bring a snapshot that the hub has prepared to 32 regions: from the end of the hub's run until
the last pod has followed its order.

Stub pods follow an order as soon as it is on them and copies end as soon as their Job is there, so that what is measured is the
controller's share and the API server's.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from lab.waiting import wait_until

from .answering import CONTENT, UNIT, UPSTREAM, answer
from .cluster import CORE, JOBS, OURS, SETS, Cluster, now

REGIONS = 32
#: Regions that follow the hub itself; the others follow these.
NEAR = 4
ROUNDS = 30
MIRROR = "debian"
SERVE, COPIES, REGION = "mirrorfleet.dev/serve", "mirrorfleet.dev/copies", "mirrorfleet.dev/region"
#: Seconds that 99 of 100 publications may take.
BAR = 3.0


def regions() -> list[dict]:
    near = [f"near-{number}" for number in range(NEAR)]
    far = [{"name": f"far-{number}", "follows": near[number % NEAR]} for number in range(REGIONS - NEAR - 1)]
    return [{"name": "hub"}, *({"name": name, "follows": "hub"} for name in near), *far]


def snapshot(number: int) -> dict:
    digest = lambda word: hashlib.sha256(f"{word} {number}".encode()).hexdigest()  # noqa: E731
    return {"id": digest("snapshot"), "created": int(time.time()), "index": {"sha256": digest("index"), "size": 4711}}


@dataclass
class Pod:
    """A server and its volume."""

    kept: list[dict] = field(default_factory=list)
    order: dict | None = None

    def follow(self, text: str) -> None:
        epoch, _, wanted = text.partition(" ")
        newer = int(epoch) > (self.order or {"epoch": 0})["epoch"]
        if newer and any(kept["id"] == wanted for kept in self.kept):
            self.order = {"epoch": int(epoch), "snapshot": wanted}

    def document(self) -> dict:
        served = self.order["snapshot"] if self.order else None
        revision = [UNIT] if served else []
        return {"mirror": MIRROR, "snapshot": served, "revision": revision, "order": self.order, "kept": self.kept, "indexVersion": 1}


class Kubelets:
    """What becomes of Jobs, and of annotations of pods."""

    def __init__(self, cluster: Cluster) -> None:
        self.api = cluster.api
        self.pods: dict[str, Pod] = {}
        self.names: dict[str, str] = {}
        self.newest = snapshot(0)
        self.hub_ended = 0.0
        self.runs = 0
        #: Each node has a kubelet of its own, so that what is asked of one does not wait for another's.
        self.nodes = ThreadPoolExecutor(REGIONS)
        #: Told each time that a pod has followed.
        self.followed = threading.Condition()
        self.failure: Exception | None = None

    def add(self, region: str, name: str, address: str) -> None:
        self.pods[region] = Pod()
        self.names[address] = region
        self.names[name] = region

    def told(self, address: str, _mirror: str) -> dict | None:
        pod = self.pods.get(self.names.get(address, ""))
        return pod.document() if pod and pod.kept else None

    def start(self) -> None:
        for look in (self._orders, self._jobs):
            threading.Thread(target=self._noting, args=(look,), daemon=True).start()

    def _noting(self, look, *arguments: object) -> None:
        try:
            look(*arguments)
        except Exception as error:  # noqa: BLE001 raised by who waits
            self.failure = error

    def _orders(self) -> None:
        for _kind, pod in self.api.watch(f"{CORE}/pods"):
            region = self.names.get(pod["metadata"]["name"])
            if region and (text := pod["metadata"]["annotations"].get(SERVE)):
                self.pods[region].follow(text)
                with self.followed:
                    self.followed.notify_all()

    def _jobs(self) -> None:
        for kind, job in self.api.watch(JOBS):
            name = job["metadata"]["name"]
            if kind == "DELETED":
                self.nodes.submit(self._noting, self._collect, name)
            elif kind == "ADDED":
                self.nodes.submit(self._noting, self._end, job)

    def _collect(self, job: str) -> None:
        """What it leaves, as nobody else does."""
        self.api.ask("DELETE", f"{CORE}/pods/{job}-pod?gracePeriodSeconds=0")

    def _end(self, job: dict) -> None:
        """It has a pod, which says at once what it has brought."""
        name, region = job["metadata"]["name"], job["metadata"]["labels"][REGION]
        copied = job["metadata"]["annotations"].get(COPIES)
        brought = self.newest if copied is None else next(kept for pod in self.pods.values() for kept in pod.kept if kept["id"] == copied)
        if all(kept["id"] != brought["id"] for kept in self.pods[region].kept):
            self.pods[region].kept.append(brought)
        moment = int(time.time())
        report = {
            "mirror": MIRROR, "result": "Prepared", "reason": "Prepared", "message": "as told", "prepared": brought, "revision": [UNIT],
            "startedAt": moment, "finishedAt": moment,
        }  # fmt: skip
        template = job["spec"]["template"]
        labels = {**template["metadata"]["labels"], "batch.kubernetes.io/job-name": name}
        pod = {"metadata": {"name": f"{name}-pod", "labels": labels}, "spec": {**template["spec"], "nodeName": "nowhere"}}
        self.api.ask("POST", f"{CORE}/pods", pod)
        ended = {"exitCode": 0, "reason": "Completed", "message": json.dumps(report), "startedAt": now(), "finishedAt": now()}
        container = template["spec"]["containers"][0]
        state = {"name": container["name"], "image": container["image"], "imageID": "", "ready": False, "restartCount": 0, "state": {"terminated": ended}}
        self.api.status(f"{CORE}/pods/{name}-pod", {"phase": "Succeeded", "containerStatuses": [state]})
        met = [{"type": kind, "status": "True", "lastTransitionTime": now()} for kind in ("SuccessCriteriaMet", "Complete")]
        if copied is None:
            self.hub_ended = time.monotonic()
        self.api.status(f"{JOBS}/{name}", {"conditions": met, "startTime": now(), "completionTime": now(), "succeeded": 1})
        with self.followed:
            self.runs += 1

    def serve(self, wanted: str, timeout: float) -> None:
        """Until all pods follow an order for this snapshot."""
        until = time.monotonic() + timeout
        with self.followed:
            while not all(pod.order and pod.order["snapshot"] == wanted for pod in self.pods.values()):
                left = until - time.monotonic()
                if self.failure:
                    raise self.failure
                if left <= 0 or not self.followed.wait(min(left, 1)):
                    lacking = [region for region, pod in self.pods.items() if not pod.order or pod.order["snapshot"] != wanted]
                    assert left > 0, f"{len(lacking)} of {REGIONS} regions do not serve {wanted[:12]}: {lacking}"


def measure(cluster: Cluster) -> str:
    kubelets = Kubelets(cluster)
    answer(kubelets.told)
    cluster.ours("Upstream", "debian", UPSTREAM)
    spec = {
        "upstreamRef": {"name": "debian"}, "content": CONTENT, "regions": regions(), "sync": {"schedule": "0 0 1 1 *"},
        # Every run may be a round of its own here, and all that was made stays.
        "snapshots": {"keep": 32},
    }  # fmt: skip
    cluster.ours("Mirror", MIRROR, spec)
    cluster.lead()
    wait_until(lambda: len(cluster.api.list(SETS)) == REGIONS, 120, "all objects to be made", 0.2, cluster.picture)
    for number, owner in enumerate(cluster.api.list(SETS)):
        name, address = owner["metadata"]["name"], f"127.2.0.{number + 1}"
        kubelets.add(owner["metadata"]["labels"][REGION], f"{name}-0", address)
        cluster.pod(owner, address)
    kubelets.start()
    kubelets.serve(kubelets.newest["id"], 180)
    print(f"{REGIONS} regions serve the first snapshot", flush=True)
    cluster.settle(lambda: True, cluster.picture)
    copied = sorted(publish(cluster, kubelets, number) for number in range(1, ROUNDS + 1))
    cluster.settle(lambda: True, cluster.picture)
    ordered = sorted(pins(cluster, kubelets))
    told = f"{REGIONS} regions: from the hub's run to the last pod {figures(copied)}; pins, which copy nothing, {figures(ordered)}"
    assert share(copied, 0.99) <= BAR, told
    return told


def publish(cluster: Cluster, kubelets: Kubelets, number: int) -> float:
    """The seconds from the end of the hub's run to the last region's order."""
    # No two snapshots of one second: the later is the newer.
    time.sleep(max(0.0, kubelets.newest["created"] + 1 - time.time()))
    runs = kubelets.runs
    kubelets.newest = snapshot(number)
    request = {"metadata": {"annotations": {"mirrorfleet.dev/sync-requested-at": f"round {number}"}}}
    cluster.api.merge(f"{OURS}/mirrors/{MIRROR}", request)
    kubelets.serve(kubelets.newest["id"], 120)
    took = time.monotonic() - kubelets.hub_ended
    wait_until(lambda: kubelets.runs >= runs + REGIONS, 30, "all runs of this round", 0.05)
    return took


def pins(cluster: Cluster, kubelets: Kubelets) -> list[float]:
    """Back to the snapshot before, and on to the newest."""
    seconds = []
    before, newest = (kept["id"] for kept in kubelets.pods["hub"].kept[-2:])
    for pinned, wanted in ((before, before), ("", newest)) * (ROUNDS // 2):
        began = time.monotonic()
        cluster.api.merge(f"{OURS}/mirrors/{MIRROR}", {"spec": {"snapshots": {"pinned": pinned}}})
        kubelets.serve(wanted, 60)
        seconds.append(time.monotonic() - began)
        time.sleep(1)
    return seconds


def share(seconds: list[float], part: float) -> float:
    return seconds[min(len(seconds) - 1, round(len(seconds) * part))]


def figures(seconds: list[float]) -> str:
    return f"{share(seconds, 0.5):.2f} s p50, {share(seconds, 0.9):.2f} s p90, {share(seconds, 0.99):.2f} s p99 of {len(seconds)}"
