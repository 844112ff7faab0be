"""What a person asks of the cluster and does in it by `mirrorfleet` and `kubectl mirrorfleet`."""

from __future__ import annotations

import json
import shlex
import subprocess

from lab import wait_until
from world import PACKAGE

from .controller import binary
from .registry import scenario

USAGE, REFUSED = 1, 3


def path_with_our_program(world, name: str) -> str:
    folder = world.workdir / f"path-{name}"
    folder.mkdir()
    for each in ("mirrorfleet", "kubectl-mirrorfleet", "kubectl_complete-mirrorfleet"):
        (folder / each).symlink_to(binary())
    return f"{folder}:{world.lab.environment['PATH']}"


class Person:
    """Somebody with a kubeconfig and our program, by its own name or as a plugin of kubectl."""

    def __init__(self, fleet) -> None:
        self.fleet = fleet
        self.path = path_with_our_program(fleet.world, fleet.name)

    def type(self, line: str, code: int = 0) -> str:
        """A command as it is typed; what it says on both outputs."""
        result = self.fleet.lab.exec(shlex.split(line), check=False, env={"PATH": self.path})
        said = result.stdout + result.stderr
        assert result.returncode == code, f"`{line}`: exit {result.returncode} instead of {code}:\n{said}"
        assert "\x1b" not in said, f"`{line}` paints what is no terminal:\n{said}"
        return said

    def run(self, line: str, code: int = 0) -> str:
        return self.type(f"mirrorfleet {line} -n {self.fleet.namespace}", code)

    def until_it_says(self, line: str, *words: str) -> None:
        """What a pod does already may not be in the status yet."""
        said = lambda: plain(self.run(line))  # noqa: E731
        wait_until(lambda: all(plain(word) in said() for word in words), 90, f"`{line}` to say {words}", detail=said)

    def until_looked_at(self) -> None:
        """What is edited is told once the controller has looked at it."""
        def seen() -> bool:
            mirror = self.fleet.get()
            return mirror["status"].get("observedGeneration") == mirror["metadata"]["generation"]

        wait_until(seen, 90, "the controller to look at the last edit")

    def advice(self) -> str:
        """The command that `why` says to copy."""
        self.until_looked_at()
        return json.loads(self.run("why debian -o json"))["command"]


def has(said: str, *words: str) -> str:
    """Wherever its lines end, and whether or not a sentence begins there."""
    for word in words:
        assert plain(word) in plain(said), f"it does not say {word!r}:\n{said}"
    return said


def plain(text: str) -> str:
    return " ".join(text.split()).casefold()


@scenario("status, why, suspend, resume, pin, unpin, sync-now, logs and events, by mirrorfleet and kubectl mirrorfleet")
def command_line(world):
    with world.fleet("command-line", package_kilobytes=600) as fleet:
        person = Person(fleet)
        has(person.run("status"), "there are no Mirrors in namespace")
        has(person.run("status debian", USAGE), 'mirrors.mirrorfleet.dev "debian" not found')
        # At this bandwidth a run takes twenty seconds, in which one can look at it.
        fleet.apply(fleet.keyring(), fleet.upstream(politeness={"bandwidth": "30k"}), fleet.mirror())
        watch_the_first_sync(person)
        fleet.wait_ready()
        all_is_well(person)
        suspend_and_resume(person)
        pin_and_unpin(person)
        a_refused_sync(person)
        as_a_plugin(person)


def watch_the_first_sync(person: Person) -> None:
    wait_until(lambda: "% of " in person.run("status"), 180, "the status to say how far the first sync is", interval=0.2)
    has(person.run("why debian"), "has nothing to serve yet", "FirstSyncRunning", "503 until the first snapshot", "status --watch debian")


def all_is_well(person: Person) -> None:
    person.until_it_says("status", "1 Mirror is well")
    has(person.run("status --check"), "1 Mirror is well")
    page = has(person.run("status"), "MIRROR", "LAG/OBJECTIVE", "region-a", "Serving", "0/6h")
    assert max(map(len, page.splitlines())) <= 100, page
    has(person.run("status -o wide"), ".svc/debian/")
    told = json.loads(person.run("status -o json"))
    assert told["well"] and told["exitCode"] == 0 and told["regions"][0]["lag"] == "Current", told
    has(person.run("status debian -o yaml"), "---", "mirror: debian")
    has(person.type("mirrorfleet status -A"), f"{person.fleet.namespace}/", "region-a")
    has(person.run("why debian"), "is well")
    wait_until(lambda: "Published" in person.run("events debian"), 90, "the Event of the sync")


def suspend_and_resume(person: Person) -> None:
    fleet = person.fleet
    watch = ["mirrorfleet", "status", "--watch", "-o", "json", "-n", fleet.namespace]
    with fleet.lab.popen(watch, env={"PATH": person.path}, stdout=subprocess.PIPE, text=True) as watching:
        try:
            assert not json.loads(watching.stdout.readline())["held"]
            has(person.run("suspend debian"), "is suspended", "mirrorfleet resume debian")
            seen = json.loads(watching.stdout.readline())
            while not seen["held"]:
                seen = json.loads(watching.stdout.readline())
            assert seen["held"][0]["reason"] == "Suspended", seen
        finally:
            watching.terminate()
    has(person.run("suspend debian"), "already: nothing was changed")
    shown = fleet.lab.kubectl("get", "mirror", "debian", "-o", "json", "--show-managed-fields", namespace=fleet.namespace)
    thing = json.loads(shown)
    assert thing["spec"]["suspend"] is True
    assert "mirrorfleet-cli" in {entry["manager"] for entry in thing["metadata"]["managedFields"]}
    has(person.run("status"), "Suspended: spec.suspend stops new syncs")
    has(person.run("sync-now debian --wait", USAGE), "is suspended")
    # What it says to copy is what helps.
    has(person.type(person.advice()), "is not suspended any more", "begins")
    assert fleet.get()["spec"]["suspend"] is False


def pin_and_unpin(person: Person) -> None:
    fleet = person.fleet
    first = fleet.region()["snapshot"]

    def kept() -> set[str]:
        return {snapshot["id"] for snapshot in fleet.get()["status"]["snapshots"]}

    before = kept()
    has(person.run("pin debian nonsense", USAGE), "spec.snapshots.pinned")
    has(person.run("pin debian"), first[:12], "is pinned", "mirrorfleet unpin debian")
    fleet.archive.add_package("stable", PACKAGE, "2.0")
    fleet.archive.publish("stable")
    # A run that was under way may have taken it already.
    has(person.run("sync-now debian --wait"), "region region-a: ")
    wait_until(lambda: kept() - before, 90, "what is new to be kept")
    assert fleet.status_of_pod()["snapshot"] == first, "a pinned Mirror served something else"
    person.until_it_says("status", "Pinned: spec.snapshots.pinned keeps snapshot")
    has(person.type(person.advice()), "not pinned any more")
    wait_until(lambda: fleet.status_of_pod()["snapshot"] != first, 180, "the unpinned Mirror to go on")
    # And back by skipping what is served.
    wait_until(lambda: fleet.region()["snapshot"] != first, 90, "the status to say so")
    has(person.run("skip debian"), "is not served any more", "mirrorfleet unskip debian")
    wait_until(lambda: fleet.status_of_pod()["snapshot"] == first, 90, "the snapshot before it")
    person.until_it_says("status", "RolledBack: spec.snapshots.skip keeps")
    has(person.run("unskip debian"), "no snapshot is skipped any more")
    wait_until(lambda: fleet.status_of_pod()["snapshot"] != first, 90, "the newest again")


def a_refused_sync(person: Person) -> None:
    fleet = person.fleet
    release = fleet.archive.root / "dists" / "stable" / "InRelease"
    text = release.read_text()
    release.write_text(text.replace("Suite: stable", "Suite: forged", 1))
    has(person.run("sync-now debian --wait", REFUSED), "SignatureBad")
    has(person.run("why debian --check", REFUSED), "refuses what its upstream sends (SignatureBad", "clients get a complete, verified state")
    has(person.run("status --check", REFUSED), "! SignatureBad")
    has(person.type(person.advice()), "keyring")
    assert person.run("logs debian").strip(), "the log of a failed run is gone"
    release.write_text(text)
    has(person.run("sync-now debian --wait"), "region region-a: ")
    assert person.run("logs debian --serving --tail 5").strip(), "the server's log is empty"


def as_a_plugin(person: Person) -> None:
    where = f"-n {person.fleet.namespace}"
    has(person.type(f"kubectl mirrorfleet status {where}"), "region-a")
    has(person.type("kubectl mirrorfleet --help"), "Usage: kubectl mirrorfleet [OPTIONS] <COMMAND>", "sync-now")
    has(person.type(f"kubectl mirrorfleet suspend debian {where}"), "kubectl mirrorfleet resume debian")
    person.until_looked_at()
    has(person.type(f"kubectl mirrorfleet why debian {where}"), "kubectl mirrorfleet resume debian")
    has(person.type(f"kubectl mirrorfleet resume debian {where}"), "is not suspended any more")
    has(person.type(f"kubectl mirrorfleet status --context nowhere {where}", USAGE), "nowhere")
    has(person.type(f"kubectl __complete mirrorfleet why {where} ''"), "debian")
