"""Regions that follow another: fetched once, served by all together, and none is waited for for ever."""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager

from lab import wait_until
from world import PACKAGE, SYSTEM_NAMESPACE, AptClient, regions_of

from .controller import brief, scale_controller, settle
from .orders import is_ready
from .registry import scenario

#: One that fetches, one on another node that follows it, and one that follows that.
HUB, EDGE, FAR = "region-a", "region-b", "region-c"
REGIONS = [
    {"name": HUB, "nodeSelector": {"topology.kubernetes.io/region": "region-a"}},
    {"name": EDGE, "follows": HUB, "nodeSelector": {"topology.kubernetes.io/region": "region-b"}},
    {"name": FAR, "follows": EDGE, "nodeSelector": {"topology.kubernetes.io/region": "region-b"}},
]
#: Seconds for which a region that is slow is waited for.
PATIENCE = 20
SYNC = {"schedule": "0 0 1 1 *", "retries": {"limit": 0, "backoff": "5s"}}
REST_SECONDS = 20
#: What apt says of a server that nobody answers for. Anything else is a fault of what was served.
CONNECTING = re.compile(r"Could not connect|Connection refused|Connection reset|Connection failed|Connection timed out|Unable to connect|No route to host|connect \(|Error reading from server")


@scenario("regions follow another: one fetches, all publish together; copies and pods are killed, a region is left out and comes back", needs=("pod-network", "audit-log", "own-nodes"), alone=True)
def together(world):
    with world.fleet("together") as fleet:
        fleet.apply_all(regions=REGIONS, rollout={"patience": f"{PATIENCE}s"}, sync=SYNC)
        first = serve_the_same(fleet)
        once(world, fleet, 0, "1.0")
        with Loops(fleet) as loops:
            second = publish(world, fleet, "1.1")
            publish(world, fleet, "1.2")
            copy_is_killed_and_region_left_out(world, fleet)
            pods_are_killed(fleet, loops)
            third = controller_is_killed(world, fleet)
            pins_and_skips(fleet, first, second, third)
        told = loops.judged()
        at_rest(world, fleet)
        return told


def serve_the_same(fleet, timeout: float = 120) -> str:
    """The snapshot that all regions serve, offered to clients of all."""

    def same() -> str | None:
        # Of one status: the next one may tell of all that they serve something else.
        mirror = fleet.get()
        regions = regions_of(mirror)
        served = {region.get("snapshot") for region in regions}
        offered = not any("withdrawnAt" in region for region in regions)
        well = len(regions) == len(REGIONS) and len(served) == 1 and offered
        phase = mirror.get("status", {}).get("publication", {}).get("phase")
        return served.pop() if well and phase == "Published" else None

    return wait_until(same, timeout, "all regions to serve the same", detail=lambda: told(fleet))


def told(fleet) -> str:
    mirror = fleet.get()
    return f"{mirror.get('status', {}).get('publication')} {regions_of(mirror)}"


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

    return wait_until(next_one, 90, f"{version} to be prepared", detail=lambda: told(fleet)), since


def published(fleet) -> str:
    return fleet.get()["status"]["publication"]["snapshot"]


def publish(world, fleet, version: str) -> str:
    """The hub fetches a version, and all serve it; the snapshot."""
    prepared, since = prepare(world, fleet, version)
    wait_until(lambda: published(fleet) == prepared, 90, f"{version} to be published", detail=lambda: told(fleet))
    assert serve_the_same(fleet) == prepared
    once(world, fleet, since, version)
    for name in (HUB, EDGE, FAR):
        assert f"_{version}_" in download(fleet, name), f"{name} serves something older"
    return prepared


@contextmanager
def no_pod_starts_in_the_other_node(fleet):
    """A copy is made there, and does not begin."""
    node = serving_pod(fleet, EDGE)["spec"]["nodeName"]
    fleet.lab.kubectl("cordon", node)
    try:
        yield
    finally:
        fleet.lab.kubectl("uncordon", node)


def copy_is_killed_and_region_left_out(world, fleet) -> None:
    """A copy that does not begin, and ends by somebody's hand: nobody is served without its region before routing has left it."""
    with no_pod_starts_in_the_other_node(fleet):
        prepared, since = prepare(world, fleet, "1.3")
        wait_until(lambda: sync_pods(fleet, EDGE), 60, "the copy of the region that follows")
        assert published(fleet) != prepared, "it was served before all had it"
        columns = fleet.lab.kubectl("get", "mirrors", "-o", "wide", namespace=fleet.namespace)
        assert "Preparing" in columns, columns
        copy = sync_pods(fleet, EDGE)[0]["metadata"]["name"]
        fleet.lab.delete("pod", copy, fleet.namespace, force=True, wait=False)
        wait_until(lambda: published(fleet) == prepared, 120, "the others to go on", detail=lambda: told(fleet))
        assert withdrawn(fleet) == {EDGE, FAR}, told(fleet)
        leads = all_regions(fleet)
        assert leads == {serving_pod(fleet, HUB)["metadata"]["name"]}, leads
        wait_until(lambda: fleet.region(name=HUB).get("snapshot") == prepared, 30, "the hub to serve it")
        assert "Joining" in wait_until(lambda: fleet.get()["status"]["state"], 10, "a state")
    assert serve_the_same(fleet) == prepared
    wait_until(lambda: len(all_regions(fleet)) == len(REGIONS), 30, "clients of all regions to be led to each")
    once(world, fleet, since, "1.3")


def pods_are_killed(fleet, loops) -> None:
    """Of a region that follows, and of the one that fetches: each comes back, and the others do not notice."""
    for name in (FAR, HUB):
        with loops.may_fail_to_connect(name):
            before = serving_pod(fleet, name)["metadata"]
            fleet.lab.delete("pod", before["name"], fleet.namespace, force=True, wait=False)
            came = lambda: serving_pod(fleet, name)["metadata"]["uid"] != before["uid"] and is_ready(serving_pod(fleet, name))  # noqa: E731, B023
            wait_until(came, 90, f"the pod of {name} that follows")
            loops.goes_on(name)
    serve_the_same(fleet)


def controller_is_killed(world, fleet) -> str:
    """While regions copy: what was decided goes on where it was."""
    with no_pod_starts_in_the_other_node(fleet):
        prepared, since = prepare(world, fleet, "1.4")
        scale_controller(world, 0)
    try:
        assert published(fleet) != prepared
    finally:
        scale_controller(world, 2)
    wait_until(lambda: published(fleet) == prepared, 120, "the publication to go on", detail=lambda: told(fleet))
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
            wait_until(lambda: published(fleet) == wanted, 30, f"{snapshots}", detail=lambda: told(fleet))  # noqa: B023
        else:
            wait_until(lambda: published(fleet) != newest, 30, f"{snapshots}", detail=lambda: told(fleet))  # noqa: B023
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


def serving_pod(fleet, region: str) -> dict:
    def one() -> dict | None:
        pods = fleet.pods("serving")
        return next((pod for pod in pods if pod["metadata"]["labels"]["mirrorfleet.dev/region"] == region), None)

    return wait_until(one, 60, f"the serving pod of {region}")


def sync_pods(fleet, region: str) -> list[dict]:
    pods = fleet.pods("sync")
    return [
        pod for pod in pods
        if pod["metadata"]["labels"]["mirrorfleet.dev/region"] == region and pod["status"].get("phase") in ("Pending", "Running")
    ]  # fmt: skip


def withdrawn(fleet) -> set[str]:
    return {region["name"] for region in regions_of(fleet.get()) if "withdrawnAt" in region}


def all_regions(fleet) -> set[str]:
    """The pods to which the Service leads that is of all regions."""
    slices = fleet.lab.list("endpointslices", fleet.namespace, "mirrorfleet.dev/mirror=debian,!mirrorfleet.dev/region")
    endpoints = [endpoint for one in slices for endpoint in one.get("endpoints") or []]
    return {one["targetRef"]["name"] for one in endpoints if one["conditions"].get("ready", True)}


def address(fleet, region: str) -> str:
    services = fleet.lab.list("services", fleet.namespace, f"mirrorfleet.dev/region={region}")
    return services[0]["spec"]["clusterIP"]


def client(fleet, region: str) -> AptClient:
    root = fleet.world.workdir / "apt" / f"{fleet.name}-{region}-{time.monotonic_ns()}"
    return AptClient(root, fleet.world.key.public(), f"http://{address(fleet, region)}/debian stable main")


def download(fleet, region: str) -> str:
    """The name of the package that an apt gets which is new there."""
    return client(fleet, region).download(fleet.lab, PACKAGE).name


class Loops:
    """A real apt for each region, again and again."""

    def __init__(self, fleet) -> None:
        self.fleet = fleet
        self.clients = {name: client(fleet, name) for name in (HUB, EDGE, FAR)}
        self.rounds = dict.fromkeys(self.clients, 0)
        self.failures: list[str] = []
        self.excused: set[str] = set()
        self.ended = threading.Event()

    def __enter__(self) -> Loops:
        self.threads = [threading.Thread(target=self._go, args=(name,), daemon=True) for name in self.clients]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(120)

    def _go(self, name: str) -> None:
        while not self.ended.wait(0.5):
            excused = name in self.excused
            try:
                self.clients[name].download(self.fleet.lab, PACKAGE)
                self.rounds[name] += 1
            except Exception as error:  # noqa: BLE001
                words = str(error)
                # A round that began before its pod was killed ends after it.
                if not ((excused or name in self.excused) and CONNECTING.search(words)):
                    self.failures.append(f"{name}: {words}")

    @contextmanager
    def may_fail_to_connect(self, name: str):
        self.excused.add(name)
        try:
            yield
        finally:
            self.excused.discard(name)

    def goes_on(self, name: str) -> None:
        """By itself: two more rounds, of which the second began after now."""
        before = self.rounds[name]
        wait_until(lambda: self.rounds[name] >= before + 2, 60, f"the apt of {name} to go on")

    def judged(self) -> str:
        assert not self.failures, "\n".join(self.failures[:5])
        assert all(self.rounds.values()), self.rounds
        return ", ".join(f"{count} rounds of {name}" for name, count in self.rounds.items())
