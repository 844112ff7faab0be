"""The chart's own life beside living Mirrors: raised, turned back, taken away and brought again."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import threading
import time
from io import BytesIO
from pathlib import Path

from archive import run
from lab import CommandFailed, wait_until
from world import RELEASE, ROOT, SYSTEM_NAMESPACE

from .chart import CHART, upgrade
from .registry import scenario
from .upgrade import AptLoop, serves_anew

#: What a change of the serving image may cost a region of one replica, where nothing else keeps the machine busy: `make long`
#: runs this alone. Beside compilers a node is as slow as they make it, and only what hangs is found.
LONGEST_GAP_SECONDS = 10 if os.environ.get("MIRRORFLEET_VERSION_BEFORE") else 60
OTHER_TAG = "another"
#: The folder in which e2e/version-before.sh has put the version that people upgrade from, if it has.
BEFORE = os.environ.get("MIRRORFLEET_VERSION_BEFORE", "")


@scenario("the chart raised, with another image, turned back, uninstalled and installed again: apt goes on, nothing is fetched", needs=("pod-network", "load-image"), alone=True)
def release_life(world):
    raised = raised_chart(world)
    other = other_version(world, raised)
    with world.fleet("release") as fleet:
        try:
            told = from_the_version_before(world, fleet, other) if BEFORE else ""
            fleet.apply_all()
            story(world, fleet, raised)
            since = world.access_position()
            gap = serving_image_changes(world, fleet, other)
            back = turned_back(world, fleet)
            taken_away_and_brought_again(world, fleet)
            not_fetched_again(world, fleet, since)
            return f"not answered for {told}{gap:.1f} s while the serving image changed, {back:.1f} s while it was turned back"
        finally:
            world.lab.exec(["helm", "upgrade", "--install", RELEASE, CHART, "--namespace", SYSTEM_NAMESPACE, *world.values_of(CHART), "--wait"], timeout=330)
            wait_until(lambda: len(world.controller_pods()) == 2, 120, "two controllers again")


def other_version(world, raised: Path) -> Path:
    """Loads the image that there is to be changed to, and gives the chart that goes with it: our program under another
    tag; or the version before."""
    image, archive = world.image.rsplit(":", 1)[0] + f":{OTHER_TAG}", world.workdir / "other-image.tar"
    if not BEFORE:
        world.lab.load_image(tagged(world.image_archive, image, archive))
        return raised
    run([ROOT / "e2e" / "build-image.sh", archive, image], env={"MIRRORFLEET_BIN": f"{BEFORE}/mirrorfleet"})
    world.lab.load_image(archive)
    return Path(BEFORE) / "charts" / CHART.name


def from_the_version_before(world, fleet, before: Path) -> str:
    """Its chart and its program make the Mirror, and ours take it up: nothing is fetched again, and the serving pod is made
    anew once, as its image is another one."""
    upgrade(world, "--set", f"image.tag={OTHER_TAG}", chart=before)
    fleet.apply_all()
    since = world.access_position()
    gap = changed(fleet, lambda: upgrade(world), ours(world))
    assert gap <= LONGEST_GAP_SECONDS, f"not answered for {gap:.1f} s while the version before was raised"
    assert fleet.sync()["lastAttempt"]["reason"] == "Unchanged"
    not_fetched_again(world, fleet, since)
    return f"{gap:.1f} s while the version before was raised, "


def ours(world) -> str:
    """The tag of our image."""
    return f":{world.image.rsplit(':', 1)[1]}"


def not_fetched_again(world, fleet, since: int) -> None:
    bodies = [path for path in world.requests(f"/{fleet.name}/", since) if "InRelease" not in path]
    assert not bodies, f"fetched again: {bodies}"


def raised_chart(world) -> Path:
    """Our chart under a higher version."""
    raised = world.workdir / "raised" / CHART.name
    shutil.copytree(CHART, raised)
    about = raised / "Chart.yaml"
    lines = ["version: 99.0.0" if line.startswith("version: ") else line for line in about.read_text().splitlines()]
    about.write_text("\n".join(lines) + "\n")
    return raised


def tagged(archive: Path, image: str, target: Path) -> Path:
    """The same program under another tag."""
    with tarfile.open(archive) as source, tarfile.open(target, "w") as sink:
        for entry in source:
            content = source.extractfile(entry) if entry.isfile() else None
            if entry.name == "manifest.json":
                manifest = json.load(content)
                data = json.dumps([{**one, "RepoTags": [image]} for one in manifest]).encode()
                entry.size, content = len(data), BytesIO(data)
            sink.addfile(entry, content)
    return target


def story(world, fleet, raised: Path) -> None:
    """Chart and controllers are others; what serves is not touched."""
    serving, before = fleet.serving_pod(), {pod["metadata"]["uid"] for pod in world.controller_pods()}
    with AptLoop(fleet, default_retries=True) as loop:
        wait_until(lambda: loop.done >= 1, 120, "a first apt")
        upgrade(world, "--set-string", "podAnnotations.e2e\\.example\\.org/turn=2", chart=raised)
        assert before.isdisjoint(pod["metadata"]["uid"] for pod in world.controller_pods()), "a controller is the one of before"
        world.leader()
        fleet.sync()
        reached = loop.done
        wait_until(lambda: loop.done >= reached + 2, 120, "two more apts")
    assert released_chart(world) == f"{CHART.name}-99.0.0", released_chart(world)
    assert fleet.serving_pod()["metadata"]["uid"] == serving["metadata"]["uid"], "the chart alone made the serving pod anew"


def released_chart(world) -> str:
    return json.loads(world.lab.exec(["helm", "list", "--namespace", SYSTEM_NAMESPACE, "--output", "json"]).stdout)[0]["chart"]


def serving_image_changes(world, fleet, chart: Path) -> float:
    def change() -> None:
        upgrade(world, "--set", f"image.tag={OTHER_TAG}", chart=chart)

    gap = changed(fleet, change, f":{OTHER_TAG}")
    assert gap <= LONGEST_GAP_SECONDS, f"not answered for {gap:.1f} s"
    return gap


def turned_back(world, fleet) -> float:
    """A downgrade is no other thing than an upgrade: stores and objects of the newer one are read."""
    snapshot = fleet.status_of_pod()["snapshot"]

    def change() -> None:
        world.lab.exec(["helm", "rollback", RELEASE, "1", "--namespace", SYSTEM_NAMESPACE, "--wait", "--timeout", "240s"], timeout=270)

    gap = changed(fleet, change, ours(world))
    assert fleet.status_of_pod()["snapshot"] == snapshot, "another snapshot"
    return gap


def changed(fleet, change, tag: str) -> float:
    """For how long a client was not answered while the serving pod was made anew, in seconds."""
    before = fleet.serving_pod()["metadata"]["uid"]
    with Client(fleet) as client:
        change()
        wait_until(lambda: serves_anew(fleet, before), 240, "the serving pod of the other image")
        reached = client.answered
        wait_until(lambda: client.answered >= reached + 5, 120, "it to answer")
    pod = fleet.serving_pod()
    assert pod["spec"]["containers"][0]["image"].endswith(tag), pod["spec"]["containers"][0]["image"]
    fleet.wait_ready()
    fleet.apt_download()
    return client.gap


def taken_away_and_brought_again(world, fleet) -> None:
    lab = world.lab
    kept = (("mirror", "debian"), ("upstream", "debian"), ("persistentvolumeclaim", fleet.claims()[0]["metadata"]["name"]), ("pod", fleet.serving_pod()["metadata"]["name"]))
    uids = {kind: lab.get(kind, name, fleet.namespace)["metadata"]["uid"] for kind, name in kept}
    since = time.time()
    told = lab.exec(["helm", "uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--wait"]).stdout
    assert "CustomResourceDefinition" in told, f"Helm does not say what it keeps: {told}"
    wait_until(lambda: not world.controller_pods(), 120, "the controllers to be gone")
    for kind in ("mirrors", "upstreams"):
        assert lab.get("customresourcedefinition", f"{kind}.mirrorfleet.dev"), f"the kind of {kind} went"
    fleet.apt_download()
    assert lab.get("clusterrole", f"{RELEASE}.{SYSTEM_NAMESPACE}") is None, "the role is left"

    lab.exec(["helm", "install", RELEASE, CHART, "--namespace", SYSTEM_NAMESPACE, *world.values_of(CHART), "--wait", "--timeout", "240s"], timeout=270)
    world.without_operator.append((since, time.time()))
    assert fleet.sync()["lastAttempt"]["reason"] == "Unchanged"
    fleet.wait_ready()
    fleet.apt_download()
    assert {kind: lab.get(kind, name, fleet.namespace)["metadata"]["uid"] for kind, name in kept} == uids, "something was made anew"


class Client:
    """Asks the Service ten times a second; how long it went without an answer."""

    def __init__(self, fleet) -> None:
        self.fleet = fleet
        self.url = f"{fleet.mirror_url()}/dists/stable/InRelease"
        self.answered, self.gap = 0, 0.0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        last = time.monotonic()
        while not self.stop.wait(0.1):
            try:
                self.fleet.curl(self.url, "--max-time", "2")
            except CommandFailed:
                continue
            now = time.monotonic()
            self.answered, self.gap, last = self.answered + 1, max(self.gap, now - last), now

    def __enter__(self) -> Client:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
