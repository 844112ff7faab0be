"""Pushes: who runs an upstream says that it has something new, and it is served within seconds."""

from __future__ import annotations

import hashlib
import secrets
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from lab import wait_until
from world import CONTROLLER_USER, PACKAGE, RELEASE, SYSTEM_NAMESPACE

from .chart import upgrade
from .faults import received_bytes
from .registry import scenario
from .sshd import Pusher, sshd

#: From the answer to the push to the new state in every region, for a small change: `make long` measures it twenty times.
AT_MOST = 10
#: Once, and beside compilers. Nothing but the push would ever begin a run.
AT_MOST_BESIDE_OTHERS = 3 * AT_MOST
#: A run that a push asks for begins no sooner after the last one began.
REST = 60
#: So many pushes come one after another, while a run goes on that lasts for most of a minute.
BURST, SLOW, SLOW_KILOBYTES = 20, {"bandwidth": "30k"}, 1400
#: Of the words that ftpsync pushes with.
FTPSYNC = ("sync:archive:debian", "sync:stage1")


@scenario("a push with a token whose hash the Upstream has begins a run at once, from a shell and by ftpsync's words behind an sshd's forced command; others are refused; many during a run make one more, though the controller that took them is killed", needs=("pod-network", "own-nodes", "audit-log"), alone=True)
def push(world):
    upgrade(world, "--set", "push.enabled=true")
    world.roles_for_a_while += world.roles()
    try:
        with ExitStack() as cleanup:
            # The minute between two runs is each Mirror's own, so that all wait for it as long as one.
            often, by_hand, by_words = (cleanup.enter_context(world.fleet(name)) for name in ("push-often", "push", "push-by-ftpsync"))
            token = secrets.token_hex(32)
            known = [hashlib.sha256(one.encode()).hexdigest() for one in ("the one before", token)]
            often.archive.add_package("stable", "big-package", kilobytes=SLOW_KILOBYTES)
            often.archive.publish("stable")
            often.apply(often.keyring(), often.upstream(push={"tokenSha256": known}, politeness=SLOW), often.mirror())
            for fleet in (by_hand, by_words):
                fleet.apply(fleet.keyring(), fleet.upstream(push={"tokenSha256": known}), fleet.mirror())
            since, killed = many_during_a_run(world, often, token)
            for fleet in (by_hand, by_words):
                fleet.wait_ready()
            strangers_are_refused(by_hand, hook_of(by_hand), token)
            file = world.workdir / "push-token"
            file.write_text(f"{token}\n")
            pusher = cleanup.enter_context(sshd(world, hook_of(by_words), file))
            nothing_else_is_begun(pusher, world.workdir)
            took = [is_served(fleet, "2.0", say) for fleet, say in ((by_hand, says(token, hook_of(by_hand))), (by_words, pusher.command(*FTPSYNC)))]
            assert max(took) <= AT_MOST_BESIDE_OTHERS, took
            other = made_one_more(world, often, since, killed)
            return f"served {' and '.join(f'{seconds:.1f} s' for seconds in took)} after the push was taken; {BURST} pushes that {killed} took made one run, begun by {other}"
    finally:
        upgrade(world)


def hook_of(fleet) -> str:
    service = fleet.lab.get("service", f"{RELEASE}-push", SYSTEM_NAMESPACE)
    return f"http://{service['spec']['clusterIP']}/push/{fleet.namespace}/debian"


def says(token: str, *hooks: str) -> list[str]:
    return ["curl", "-sS", "--fail", "--max-time", "20", "-X", "POST", "-H", f"Authorization: Bearer {token}", *hooks]


def answer(fleet, *arguments: str) -> str:
    return fleet.lab.exec(["curl", "-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", *arguments]).stdout


def strangers_are_refused(fleet, hook: str, token: str) -> None:
    bearer = ("-H", f"Authorization: Bearer {token}")
    for code, arguments in (
        ("401", ("-X", "POST", hook)),
        ("401", ("-X", "POST", "-H", "Authorization: Bearer another", hook)),
        ("401", ("-X", "POST", *bearer, hook.replace("/debian", "/other"))),
        ("401", ("-X", "POST", *bearer, hook.replace(fleet.namespace, "default"))),
        ("404", ("-X", "POST", *bearer, hook.rpartition("/push/")[0] + "/")),
        ("405", (*bearer, hook)),
    ):
        assert answer(fleet, *arguments) == code, (code, arguments)
    upstream = fleet.lab.get("upstream", "debian", fleet.namespace)
    assert "mirrorfleet.dev/pushed-at" not in upstream["metadata"].get("annotations", {}), upstream["metadata"]


def many_during_a_run(world, fleet, token: str) -> tuple[int, str]:
    """The leading controller takes them, and is killed as soon as it has answered the last one. Since where in the audit log, and who
    that was."""
    pod = fleet.running_sync_pod()
    wait_until(lambda: received_bytes(fleet, pod) > 0, 90, "the run to be in the middle")
    fleet.archive.add_package("stable", PACKAGE, "2.0")
    fleet.archive.publish("stable")
    leader = next(one for one in world.controller_pods() if one["metadata"]["name"] == world.leader())
    [port] = [port["containerPort"] for port in leader["spec"]["containers"][0]["ports"] if port["name"] == "push"]
    hook = f"http://{leader['status']['podIP']}:{port}/push/{fleet.namespace}/debian"
    since = world.lab.audit_position()
    taken = fleet.lab.exec(says(token, *[hook] * BURST)).stdout
    kill(world, leader)
    assert taken == "taken\n" * BURST, taken
    region = fleet.region()
    assert region.get("currentRun") and "lastAttempt" not in region, f"the run was over before: {region}"
    # By then no Service leads to who is gone.
    name = leader["metadata"]["name"]
    wait_until(lambda: world.leader() != name, 120, "another controller to lead")
    return since, name


def kill(world, pod: dict) -> None:
    """By SIGKILL, and it does not come back."""
    meta, [container] = pod["metadata"], pod["status"]["containerStatuses"]
    identity = container["containerID"].removeprefix("containerd://")
    world.lab.node(pod["spec"]["nodeName"]).inside.run(["ctr", "--namespace=k8s.io", "tasks", "kill", "--signal", "SIGKILL", identity])
    world.lab.delete("pod", meta["name"], SYSTEM_NAMESPACE, force=True, wait=False)


def made_one_more(world, fleet, since: int, killed: str) -> str:
    """After the run that went on, and nothing after that; who began it."""

    def is_served() -> bool:
        last = fleet.region().get("lastAttempt", {})
        return last.get("trigger") == "Push" and last.get("reason") == "Prepared" and not fleet.region().get("currentRun")

    wait_until(is_served, 240, "the run for the pushes", detail=lambda: str(fleet.region()))
    wait_until(lambda: "_2.0_" in fleet.apt_download().name, 90, "what was pushed to be served")
    due = fleet.get()["status"].get("nextSyncTime")
    assert due and datetime.fromisoformat(due).strftime("%d %B %H:%M") == "01 January 00:00", f"there is another run to come: {due}"
    begun = [event for event in world.lab.audit_events(user=CONTROLLER_USER, resource="jobs", namespace=fleet.namespace, since=since) if event["verb"] == "create"]
    by = [event["user"]["extra"]["authentication.kubernetes.io/pod-name"][0] for event in begun]
    assert len(by) == 1 and by[0] != killed, (by, killed)
    return by[0]


def nothing_else_is_begun(pusher: Pusher, folder: Path) -> None:
    """Whatever somebody with the key says: no shell reads it."""
    made = folder / "made-by-a-push"
    for words in (f"touch {made}", f"sync:stage1; touch {made}", f"sync:archive:$(touch {made})", f"sync:stage1\ntouch {made}", "--help"):
        done = pusher.say(words)
        assert done.returncode == 1 and "no word of a push" in done.stderr, (words, done)
    assert not made.exists(), "a push began another command"


def is_served(fleet, version: str, say: list) -> float:
    """Seconds from the answer until the new version is what is served."""
    begun = fleet.region()["lastAttempt"]["startedAt"]
    time.sleep(max(0.0, REST + 1 - (time.time() - seconds_of(begun))))
    fleet.archive.add_package("stable", PACKAGE, version)
    fleet.archive.publish("stable")
    before = fleet.region()["snapshot"]
    fleet.lab.exec(say)
    taken = time.monotonic()
    wait_until(lambda: fleet.region()["snapshot"] != before, 120, f"{version} to be served", interval=0.2, detail=lambda: str(fleet.region()))
    took = time.monotonic() - taken
    last = fleet.region()["lastAttempt"]
    assert last["trigger"] == "Push", last
    assert f"_{version}_" in fleet.apt_download().name
    return took


def seconds_of(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()
