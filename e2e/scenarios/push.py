"""Pushes: who runs an upstream says that it has something new, and it is served within seconds."""

from __future__ import annotations

import hashlib
import secrets
import time
from datetime import datetime

from environment import mirrorfleet_binary
from lab import wait_until
from world import PACKAGE, RELEASE, SYSTEM_NAMESPACE

from .chart import upgrade
from .registry import scenario

#: From the answer to the push to the new state in every region, for a small change: `make long` measures it twenty times.
AT_MOST = 10
#: Once, and beside compilers. Nothing but the push would ever begin a run.
AT_MOST_BESIDE_OTHERS = 3 * AT_MOST
#: A run that a push asks for begins no sooner after the last one began.
REST = 60


@scenario("a push with a token whose hash the Upstream has begins a run at once, from a shell and by ftpsync's words; others are refused", needs=("pod-network",), alone=True)
def push(world):
    upgrade(world, "--set", "push.enabled=true")
    world.roles_for_a_while += world.roles()
    try:
        # The minute between two runs is each Mirror's own, so that two wait for it as long as one.
        with world.fleet("push") as by_hand, world.fleet("push-by-ftpsync") as by_words:
            token = secrets.token_hex(32)
            known = [hashlib.sha256(one.encode()).hexdigest() for one in ("the one before", token)]
            for fleet in (by_hand, by_words):
                fleet.apply(fleet.keyring(), fleet.upstream(push={"tokenSha256": known}), fleet.mirror())
            for fleet in (by_hand, by_words):
                fleet.wait_ready()
            strangers_are_refused(by_hand, hook_of(by_hand), token)
            file = world.workdir / "push-token"
            file.write_text(f"{token}\n")
            by_shell = ["curl", "-sS", "--fail", "--max-time", "20", "-X", "POST", "-H", f"Authorization: Bearer {token}", hook_of(by_hand)]
            by_ftpsync = [mirrorfleet_binary(), "push", hook_of(by_words), "--token-file", file, "--ssh-command", "sync:archive:debian sync:stage1"]
            took = [is_served(fleet, "2.0", say) for fleet, say in ((by_hand, by_shell), (by_words, by_ftpsync))]
            assert max(took) <= AT_MOST_BESIDE_OTHERS, took
            refused = world.lab.exec([*by_ftpsync[:-1], "rm -rf /"], check=False)
            assert refused.returncode == 1 and "no word of a push" in refused.stderr, refused
            return f"served {' and '.join(f'{seconds:.1f} s' for seconds in took)} after the push was taken"
    finally:
        upgrade(world)


def hook_of(fleet) -> str:
    service = fleet.lab.get("service", f"{RELEASE}-push", SYSTEM_NAMESPACE)
    return f"http://{service['spec']['clusterIP']}/push/{fleet.namespace}/debian"


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
