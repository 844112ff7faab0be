"""What may break while regions publish together, each told by who saw it, and healed by itself."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass

from lab import wait_until
from scenarios.chart import upgrade
from scenarios.controller import LocalController, scale_controller
from scenarios.orders import is_ready
from scenarios.releases import OTHER_TAG, tagged
from world import follows, regions_of

from .loops import ANY, Loops
from .places import ALL, EDGE, FAR, HUB, go_on, of_region, serving_pod, sync_pods, told, withdrawn
from .publisher import Publisher
from .telling import Telling

#: In which order regions get another image.
UPGRADE = [FAR, EDGE, HUB]
#: So many runs in a row are refused before anybody who would take over for that had done so.
REFUSALS = 3
#: Programs of the control plane that end with the machine that it is on, in the order in which they end.
CONTROL_PLANE = ("kube-scheduler", "kube-controller-manager", "kube-apiserver")


@dataclass
class Scene:
    """Regions under load; `published` is who publishes without end, where somebody does."""

    world: object
    fleet: object
    loops: Loops
    telling: Telling
    publisher: Publisher | None = None

    @property
    def lab(self):
        return self.fleet.lab

    def node_of(self, region: str) -> str:
        return serving_pod(self.fleet, region)["spec"]["nodeName"]


def copies_are_killed(scene: Scene) -> None:
    """One after another, of each region; their retries bring what they lacked."""
    for region in (EDGE, FAR, HUB):
        pod = wait_until(lambda: next(iter(sync_pods(scene.fleet, region)), None), 120, f"a run of {region}", interval=0.1)  # noqa: B023
        scene.lab.delete("pod", pod["metadata"]["name"], scene.fleet.namespace, force=True, wait=False)
    go_on(scene.fleet)


def pod_is_killed(scene: Scene, region: str) -> None:
    with scene.loops.may_fail_to_connect(region, ANY), comes_anew(scene, region):
        pod = serving_pod(scene.fleet, region)["metadata"]["name"]
        scene.lab.delete("pod", pod, scene.fleet.namespace, force=True, wait=False)
    comes_back(scene, (region,))


@contextmanager
def comes_anew(scene: Scene, region: str, timeout: float = 120):
    before = serving_pod(scene.fleet, region)["metadata"]["uid"]
    yield

    def came() -> bool:
        pod = serving_pod(scene.fleet, region)
        return pod["metadata"]["uid"] != before and is_ready(pod)

    wait_until(came, timeout, f"another serving pod of {region}", detail=lambda: scene.lab.picture(scene.fleet.namespace))


def hub_node_is_lost(scene: Scene) -> None:
    """Kubelet, pods, disks: all of it. The others serve on, and the one that stands by fetches once that has lasted."""
    node = scene.node_of(HUB)
    with scene.loops.may_fail_to_connect(HUB, ANY):
        scene.lab.node_down(node)
        try:
            comes = f"region {EDGE} fetches once the serving pod of region {HUB} has been away for five minutes"
            scene.telling.of("PodNotReady", about=f"serving pod .*region {HUB}.*not", comes=comes, columns="False")
            for region in (EDGE, FAR):
                scene.loops.goes_on(region)
            # Its pod is away, and a run that was asked for does not start: both are seen after five minutes.
            fetches_instead(scene, EDGE, "PodNotReady", "SyncUnschedulable", timeout=420)
            go_on(scene.fleet, (EDGE, FAR))
        finally:
            scene.lab.node_up(node)
        go_on(scene.fleet, timeout=300)
    fetches_again(scene)
    scene.telling.all_is_well()


def fetcher(scene: Scene) -> dict:
    """Who fetches in the place of the hub, and why."""
    return scene.fleet.get()["status"].get("fetcher", {})


def fetches_instead(scene: Scene, region: str, *reasons: str, timeout: float = 90) -> None:
    def does() -> bool:
        who = fetcher(scene)
        return who.get("region") == region and who["reason"] in reasons

    wait_until(does, timeout, f"{region} to fetch, by {reasons}", detail=lambda: f"{fetcher(scene)} {told(scene.fleet)}")


def fetches_again(scene: Scene) -> None:
    """The hub, since it has caught up."""
    wait_until(lambda: not fetcher(scene), 180, f"{HUB} to fetch again", detail=lambda: f"{fetcher(scene)} {told(scene.fleet)}")


def upstream_is_refused(scene: Scene) -> None:
    """Again and again, for what anybody would find: nobody fetches in the hub's place, and all serve on."""

    def hub() -> dict:
        assert not fetcher(scene), f"{fetcher(scene)} fetches what the hub has refused"
        return next(region for region in regions_of(scene.fleet.get()) if region["name"] == HUB)

    def is_refused() -> bool:
        last = hub()
        return last["lastAttempt"]["reason"] == "KeyUnknown" and last.get("consecutiveFailures", 0) >= REFUSALS

    with scene.publisher.signed_by(scene.world.stranger):
        wait_until(is_refused, 120, f"{REFUSALS} runs to be refused", detail=lambda: str(hub()))
    go_on(scene.fleet)
    assert not fetcher(scene), fetcher(scene)


def edge_node_is_cut_off(scene: Scene, node: str, regions: tuple[str, ...], others: tuple[str, ...]) -> None:
    """It runs on where nobody reaches it. The others publish without it, and it catches up."""
    with scene.loops.may_fail_to_connect(*regions, ANY):
        scene.lab.cut_off(node)
        try:
            region = regions[0]
            scene.telling.of(
                "PodNotReady", about=f"serving pod .*region ({'|'.join(regions)}).*not", comes=f"served without region {region}, which catches up", columns="False"
            )
            wait_until(lambda: set(regions) <= withdrawn(scene.fleet), 180, "the others to go on without it", detail=lambda: told(scene.fleet))
            if scene.publisher:
                go_on(scene.fleet, others)
            for other in others:
                scene.loops.goes_on(other)
        finally:
            scene.lab.reconnect(node)
        comes_back(scene, regions)


def comes_back(scene: Scene, regions: tuple[str, ...]) -> None:
    """Into routing, and with what the others serve."""
    if scene.publisher:
        go_on(scene.fleet, timeout=300)
        return
    wait_until(lambda: not withdrawn(scene.fleet), 300, f"{regions} to come back", detail=lambda: told(scene.fleet))


def controller_dies_after_each_write(scene: Scene) -> None:
    """While two publications come about."""
    scale_controller(scene.world, 0)
    try:
        controller = LocalController(scene.world)
        before = scene.fleet.get()["status"]["publication"]["epoch"]

        def did() -> bool:
            regions = regions_of(scene.fleet.get())
            return all(region.get("order", {}).get("epoch", 0) >= before + 2 and follows(region) for region in regions)

        deaths = controller.run_until(did, timeout=600)
        assert deaths >= 10, f"only {deaths} deaths: the hook did not work"
    finally:
        scale_controller(scene.world, 2)
    go_on(scene.fleet)


def control_plane_is_down(scene: Scene, seconds: float) -> None:
    """Nobody who is served notices; who is not served any more than before are those who look after it."""
    # Who has decided since when and to whom a Service leads, nodes learn only afterwards.
    with scene.loops.may_fail_to_connect(ANY):
        for component in CONTROL_PLANE:
            scene.lab.stop(component)
        try:
            time.sleep(seconds)
        finally:
            for component in reversed(CONTROL_PLANE):
                scene.lab.start(component)
        wait_until(lambda: len(scene.world.controller_pods()) == 2, 120, "two controllers")
        go_on(scene.fleet, timeout=300)
    scene.telling.all_is_well()


class SmallVolume:
    """One of a node's, that somebody else fills, too."""

    def __init__(self, lab, node: str, name: str, megabytes: int) -> None:
        lab.small_volume(node, name, megabytes, storage_class=name)
        self.storage = {"size": f"{megabytes - 4}Mi", "storageClassName": name}
        self.inside = lab.node(node).inside
        self.ballast = f"/var/lib/small-volumes/{name}/ballast"

    def fill(self) -> None:
        self.inside.shell(f"dd if=/dev/zero of={self.ballast}-$(date +%s%N) bs=16k 2>/dev/null || :")

    def empty(self) -> None:
        self.inside.shell(f"rm -f {self.ballast}-*")


def volume_is_full(scene: Scene, region: str, volume: SmallVolume, *, stands_by: str = "") -> None:
    """It is left out, serves on and says so; once there is room, it comes back. Of the hub, who stands by fetches meanwhile."""

    def is_told() -> bool:
        # What a run frees is filled again.
        volume.fill()
        regions = regions_of(scene.fleet.get())
        last = next(one.get("lastAttempt", {}) for one in regions if one["name"] == region)
        return last.get("reason") == "StorageFull"

    try:
        wait_until(is_told, 180, f"the volume of {region} to be full", interval=0.5, detail=lambda: told(scene.fleet))
        scene.telling.of("StorageFull", about=f"region {region}", comes=f"a copy to region {region} (is tried again|runs)|a sync of region {region} runs")
        if stands_by:
            fetches_instead(scene, stands_by, "StorageFull")
        wait_until(lambda: withdrawn(scene.fleet) == {region}, 120, f"{region} alone to be left out", detail=lambda: told(scene.fleet))
        go_on(scene.fleet, tuple(name for name in ALL if name != region))
    finally:
        volume.empty()
    go_on(scene.fleet, timeout=300)
    fetches_again(scene)
    scene.telling.all_is_well()


def job_is_deleted(scene: Scene, region: str) -> None:
    def job() -> str | None:
        jobs = scene.lab.list("jobs", scene.fleet.namespace, f"mirrorfleet.dev/region={region}")
        return next((job["metadata"]["name"] for job in jobs if job.get("status", {}).get("active")), None)

    scene.lab.delete("job", wait_until(job, 90, f"a Job of {region}", interval=0.1), scene.fleet.namespace, wait=False)
    go_on(scene.fleet)


def stateful_set_is_edited(scene: Scene, region: str) -> None:
    """Scaled to nothing by hand: its pod comes back."""
    name = of_region(scene.fleet, "statefulset", region)["metadata"]["name"]
    with scene.loops.may_fail_to_connect(region, ANY), comes_anew(scene, region):
        scene.lab.kubectl("scale", "statefulset", name, "--replicas=0", namespace=scene.fleet.namespace)
    comes_back(scene, (region,))


def stateful_set_is_deleted(scene: Scene, region: str) -> None:
    """It and its pod come back."""
    name = of_region(scene.fleet, "statefulset", region)["metadata"]["name"]
    with scene.loops.may_fail_to_connect(region, ANY), comes_anew(scene, region):
        scene.lab.delete("statefulset", name, scene.fleet.namespace, wait=False)
    comes_back(scene, (region,))


def claim_is_edited_and_deleted(scene: Scene, region: str) -> None:
    """Its label comes back. What was deleted with it, the region copies again; its pod is asked to go, so that clients of all
    regions are led elsewhere first."""
    fleet, lab = scene.fleet, scene.lab
    claim = of_region(fleet, "persistentvolumeclaim", region)["metadata"]
    lab.kubectl("label", "persistentvolumeclaim", claim["name"], "mirrorfleet.dev/replica-", namespace=fleet.namespace)
    label = lambda: lab.get("persistentvolumeclaim", claim["name"], fleet.namespace)["metadata"]["labels"].get("mirrorfleet.dev/replica")  # noqa: E731
    wait_until(lambda: label() == "0", 120, "the claim's label")
    with scene.loops.may_fail_to_connect(region), comes_anew(scene, region, timeout=180):
        lab.kubectl("delete", "persistentvolumeclaim", claim["name"], "--wait=false", namespace=fleet.namespace)
        scene.telling.of("VolumePending", about="persistentvolumeclaim", comes=".", timeout=60)
    after = of_region(fleet, "persistentvolumeclaim", region)["metadata"]
    assert after["uid"] != claim["uid"], "the claim was not made anew"
    comes_back(scene, (region,))
    scene.telling.all_is_well()


def image_goes_round(scene: Scene) -> str:
    """Another one, and back: in the same order."""
    try:
        told = another_image_comes(scene)
    except BaseException:
        upgrade(scene.world)
        raise
    with scene.loops.may_fail_to_connect(*ALL):
        again = restarted(scene, scene.world.image)
    assert again == UPGRADE, f"restarted in the order {again} on the way back"
    comes_back(scene, ALL)
    return told


def another_image_comes(scene: Scene) -> str:
    """By the chart, as a person does: to the furthest first and to the hub last, one after another, and who goes where all regions
    are led to notices nothing. It stays."""
    world = scene.world
    image, archive = world.image.rsplit(":", 1)[0] + f":{OTHER_TAG}", world.workdir / f"{scene.fleet.name}-image.tar"
    world.lab.load_image(tagged(world.image_archive, image, archive))
    with scene.loops.may_fail_to_connect(*ALL):
        order = restarted(scene, image, "--set", f"image.tag={OTHER_TAG}")
    assert order == UPGRADE, f"restarted in the order {order}"
    return "images came to " + ", then ".join(order)


def restarted(scene: Scene, image: str, *values: str) -> list[str]:
    """Raises the chart; in which order the regions' pods are made anew."""
    gone = {name: serving_pod(scene.fleet, name)["metadata"]["uid"] for name in ALL}
    order: list[str] = []

    def all_are_of_it() -> bool:
        for name in ALL:
            pod = serving_pod(scene.fleet, name)
            if name not in order and pod["metadata"]["uid"] != gone[name]:
                order.append(name)
        pods = [serving_pod(scene.fleet, name) for name in order]
        return len(order) == len(ALL) and all(is_ready(pod) and pod["spec"]["containers"][0]["image"] == image for pod in pods)

    upgrade(scene.world, *values)
    wait_until(all_are_of_it, 300, f"all serving pods to be of {image}", interval=0.1, detail=lambda: scene.telling.columns())
    return order
