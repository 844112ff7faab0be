"""A region of two replicas on two nodes: filled by one run that fetches, and no client notices that one of them goes."""

from __future__ import annotations

from lab import wait_until
from regions.apt_loop import AptLoop
from regions.places import SYNC, address

from .orders import is_ready
from .registry import scenario
from .together import at_rest, once, prepare, published

REGION = "region"
OURS = "mirrorfleet.dev/mirror=debian"


@scenario("a region of two replicas on two nodes: a pod is killed, a node is drained, a volume is lost, and an apt notices nothing", needs=("pod-network", "audit-log", "own-nodes"), alone=True)
def replicas(world):
    with world.fleet("replicas") as fleet:
        fleet.apply_all(regions=[{"name": REGION}], sync=SYNC, storage={"size": "1Gi"})
        first = published(fleet)
        with AptLoop(fleet, f"http://{address(fleet, REGION)}/debian") as loop:
            one_more(world, fleet)
            newer = publish(world, fleet, "1.1")
            pod_is_killed(fleet, loop)
            newest = node_is_drained(world, fleet, loop)
            pins(fleet, newest, next(one for one in (newer, first) if one in kept(fleet)))
            volume_is_lost(world, fleet, loop)
        seen_and_at_rest(world, fleet)
        one_less(fleet)
        return loop.judged()


def serving_pods(fleet) -> dict[str, dict]:
    """The serving pods by the number of their replica."""
    return {pod["metadata"]["labels"]["mirrorfleet.dev/replica"]: pod for pod in fleet.pods("serving") if not pod["metadata"].get("deletionTimestamp")}


def led_to(fleet) -> set[str]:
    """The pods to which the Service leads that is the region's."""
    slices = fleet.lab.list("endpointslices", fleet.namespace, f"mirrorfleet.dev/region={REGION}")
    endpoints = [endpoint for one in slices for endpoint in one.get("endpoints") or []]
    return {one["targetRef"]["name"] for one in endpoints if one["conditions"].get("ready", True)}


def region(fleet) -> dict:
    return next(iter(fleet.get().get("status", {}).get("regions", [])), {})


def served(fleet) -> list[str | None]:
    return [replica.get("snapshot") for replica in region(fleet).get("replicas", [])]


def told(fleet) -> str:
    return f"{fleet.get().get('status', {}).get('publication')} {region(fleet)} led to {led_to(fleet)}"


def both_serve(fleet, snapshot: str, timeout: float = 180) -> None:
    """Two replicas, to both of which clients are led."""

    def well() -> bool:
        pods = serving_pods(fleet)
        ready = len(pods) == 2 and all(map(is_ready, pods.values()))
        return ready and served(fleet) == [snapshot] * 2 and led_to(fleet) == {pod["metadata"]["name"] for pod in pods.values()}

    wait_until(well, timeout, f"both replicas to serve {snapshot}", detail=lambda: told(fleet))


def kept(fleet) -> set[str]:
    return {snapshot["id"] for snapshot in fleet.get()["status"]["snapshots"]}


def declare(fleet, count: int) -> None:
    fleet.lab.merge("mirror", "debian", fleet.namespace, {"spec": {"regions": [{"name": REGION, "replicas": count}]}})


def one_more(world, fleet) -> None:
    """The first is not restarted, the second is filled from it and stands on another node."""
    before = serving_pods(fleet)["0"]["metadata"]["uid"]
    since = world.access_position()
    snapshot = published(fleet)
    declare(fleet, 2)
    both_serve(fleet, snapshot)
    pods = serving_pods(fleet)
    assert pods["0"]["metadata"]["uid"] == before, "the first replica was restarted"
    nodes = {pod["spec"]["nodeName"] for pod in pods.values()}
    assert len(nodes) == 2, f"both replicas are on {nodes}"
    asked = world.requests(f"/{fleet.name}/pool/", since)
    assert not asked, f"the upstream was asked for what is here: {asked}"


def publish(world, fleet, version: str) -> str:
    """The first fetches a version once, and both serve it."""
    prepared, since = prepare(world, fleet, version)
    wait_until(lambda: published(fleet) == prepared, 120, f"{version} to be published", detail=lambda: told(fleet))
    both_serve(fleet, prepared)
    once(world, fleet, since, version)
    return prepared


def pod_is_killed(fleet, loop) -> None:
    """Of the replica that fetches; that of the other one goes when its node is drained."""
    pod = serving_pods(fleet)["0"]["metadata"]
    fleet.lab.delete("pod", pod["name"], fleet.namespace, wait=False)
    came = lambda: serving_pods(fleet).get("0", {}).get("metadata", {}).get("uid") not in (None, pod["uid"])  # noqa: E731
    wait_until(came, 120, "another pod of the first replica")
    both_serve(fleet, published(fleet))
    loop.goes_on()


def node_is_drained(world, fleet, loop) -> str:
    """That of the replica which does not fetch. The others go on publishing, and the last replica may not be taken."""
    pods = serving_pods(fleet)
    node = pods["1"]["spec"]["nodeName"]
    fleet.lab.kubectl("drain", node, f"--pod-selector={OURS}", "--ignore-daemonsets", "--timeout=240s", timeout=270)
    try:
        wait_until(lambda: led_to(fleet) == {pods["0"]["metadata"]["name"]}, 120, "clients to be led to the other", detail=lambda: told(fleet))
        loop.goes_on()
        says_so = lambda: f"region {REGION}/1" in fleet.condition("Serving")["message"]  # noqa: E731
        wait_until(says_so, 90, "the condition to tell of the replica that is away", detail=lambda: str(fleet.condition("Serving")))
        columns = lambda: fleet.lab.kubectl("get", "mirror", "debian", namespace=fleet.namespace)  # noqa: E731
        wait_until(lambda: "0/1" in columns(), 90, "the columns to tell of it", detail=columns)
        assert fleet.condition("Ready")["status"] == "True", fleet.condition("Ready")
        prepared, since = prepare(world, fleet, "1.2")
        wait_until(lambda: published(fleet) == prepared, 120, "1.2 to be published without it", detail=lambda: told(fleet))
        once(world, fleet, since, "1.2")
        loop.gets("1.2")
        other = pods["0"]["spec"]["nodeName"]
        refused = fleet.lab.kubectl("drain", other, f"--pod-selector={OURS}", "--ignore-daemonsets", "--timeout=8s", check=False, timeout=60)
        fleet.lab.kubectl("uncordon", other)
        assert serving_pods(fleet)["0"]["metadata"]["uid"] == pods["0"]["metadata"]["uid"], f"the last replica was drained: {refused}"
    finally:
        fleet.lab.kubectl("uncordon", node)
    both_serve(fleet, prepared)
    return prepared


def pins(fleet, newest: str, older: str) -> None:
    for pinned, wanted in ((older[:16], older), ("", newest)):
        fleet.lab.merge("mirror", "debian", fleet.namespace, {"spec": {"snapshots": {"pinned": pinned}}})
        both_serve(fleet, wanted)


def volume_is_lost(world, fleet, loop) -> None:
    """That of the replica which fetches: the other one fetches in its place, until another volume is there and filled from it."""
    claims = {claim["metadata"]["labels"]["mirrorfleet.dev/replica"]: claim for claim in fleet.claims()}
    lost, volume = claims["0"], claims["0"]["spec"]["volumeName"]
    fleet.lab.kubectl("delete", "pv", volume, "--wait=false")
    fleet.lab.kubectl("patch", "pv", volume, "--type=merge", "-p", '{"metadata":{"finalizers":null}}', check=False)
    fetcher = lambda: fleet.get()["status"].get("fetcher", {})  # noqa: E731
    wait_until(lambda: fetcher().get("replica") == 1, 120, "the other replica to take over", detail=lambda: told(fleet))
    assert fetcher()["reason"] == "VolumeUnreachable", fetcher()
    newest, since = prepare(world, fleet, "1.3")
    wait_until(lambda: published(fleet) == newest, 120, "1.3 to be published", detail=lambda: told(fleet))
    once(world, fleet, since, "1.3")
    since = world.access_position()
    fleet.lab.merge("mirror", "debian", fleet.namespace, {"spec": {"storage": {"onVolumeLost": "Replace"}}})

    def replaced() -> bool:
        now = {claim["metadata"]["labels"]["mirrorfleet.dev/replica"]: claim["metadata"]["uid"] for claim in fleet.claims()}
        return now.get("0") not in (None, lost["metadata"]["uid"])

    wait_until(replaced, 120, "another volume", detail=lambda: told(fleet))
    both_serve(fleet, newest, timeout=180)
    asked = world.requests(f"/{fleet.name}/pool/", since)
    assert not asked, f"the upstream was asked for what is here: {asked}"
    loop.goes_on()
    wait_until(lambda: not fetcher(), 120, "the first to fetch again", detail=lambda: told(fleet))
    publish(world, fleet, "1.4")


def one_less(fleet) -> None:
    """Its pod goes, and its claim stays and is told of, as the manifest says nothing else."""
    declare(fleet, 1)
    wait_until(lambda: set(serving_pods(fleet)) == {"0"}, 120, "the second replica to go")
    claims = sorted(claim["metadata"]["name"] for claim in fleet.claims())
    assert len(claims) == 2, claims
    wait_until(lambda: fleet.get()["status"].get("retainedClaims") == claims[1:], 90, "the claim to be told of", detail=lambda: told(fleet))
    wait_until(lambda: led_to(fleet) == {serving_pods(fleet)["0"]["metadata"]["name"]}, 90, "clients to be led to the first", detail=lambda: told(fleet))


def seen_and_at_rest(world, fleet) -> None:
    """Nothing is written while nothing happens, nor by a controller that is new."""

    def is_seen() -> bool:
        # The next probe tells of what was fetched meanwhile.
        seen = {unit["digest"] for unit in fleet.lab.get("upstream", "debian", fleet.namespace)["status"].get("revision", [])}
        units = fleet.get()["status"].get("units", [])
        return seen == {unit["digest"] for unit in units if unit["snapshot"] == published(fleet)}

    wait_until(is_seen, 180, "the newest state to be seen at the authority", detail=lambda: told(fleet))
    at_rest(world, fleet)
