"""One region serves each snapshot before the others do, is audited over its public URL, and is halted by itself."""

from __future__ import annotations

import shutil

from lab import wait_until
from world import PACKAGE, UPSTREAM_PORT, regions_of

#: Long enough that who looks ten times a second sees it.
SOAK = "6s"


def goes_first(fleet, hub: str, first: str, hub_url: str, first_url: str) -> str:
    """Of two regions, of which the second follows the first and goes before it."""
    rollout(fleet, canary={"region": first, "soak": SOAK})
    passes(fleet, hub, first)
    fleet.lab.merge("mirror", "debian", fleet.namespace, {"spec": {"regions": regions(fleet, {hub: hub_url, first: elsewhere(fleet)})}})
    is_halted(fleet, hub, first)
    fleet.lab.merge("mirror", "debian", fleet.namespace, {"spec": {"regions": regions(fleet, {hub: hub_url, first: first_url}), "rollout": {"paused": True}}})
    is_paused(fleet)
    rollout(fleet, paused=False, canary=None)
    newest = wait_until(lambda: serve(fleet, hub, first), 120, "both to serve what waited", detail=lambda: str(fleet.get()["status"]))
    return f"a canary passed, another was halted ({newest[:12]} came last)"


def rollout(fleet, **fields) -> None:
    fleet.lab.merge("mirror", "debian", fleet.namespace, {"spec": {"rollout": fields}})


def regions(fleet, urls: dict[str, str]) -> list[dict]:
    """As they are declared, each with another URL."""
    return [{**region, "publicUrl": urls[region["name"]]} for region in fleet.get()["spec"]["regions"]]


def publication(fleet) -> dict:
    return fleet.get()["status"]["publication"]


def snapshots(fleet) -> dict[str, str | None]:
    return {region["name"]: region.get("snapshot") for region in regions_of(fleet.get())}


def serve(fleet, *names: str) -> str | None:
    """What these serve, if it is what is published and nothing waits."""
    told, all_of = publication(fleet), snapshots(fleet)
    waits = told.get("preparing") or told.get("canary")
    return told["snapshot"] if not waits and {all_of[name] for name in names} == {told["snapshot"]} else None


def publish(fleet, version: str) -> str:
    """What is prepared, once that is seen."""
    before = publication(fleet)["snapshot"]
    fleet.archive.add_package("stable", PACKAGE, version)
    fleet.archive.publish("stable")
    fleet.request_sync()

    def next_one() -> str | None:
        told = publication(fleet)
        halted = told.get("halted", {}).get("snapshot")
        preparing = told.get("preparing", {}).get("snapshot") or halted
        return preparing or (told["snapshot"] if told["snapshot"] != before else None)

    return wait_until(next_one, 180, f"{version} to be prepared", detail=lambda: str(fleet.get()["status"]))


def passes(fleet, hub: str, first: str) -> None:
    before = publication(fleet)["snapshot"]
    prepared = publish(fleet, "2.0")

    def goes_alone() -> bool:
        mirror = fleet.get()
        served = {region["name"]: region.get("snapshot") for region in regions_of(mirror)}
        assert served[hub] == before or mirror["status"]["publication"]["snapshot"] == prepared, f"{hub} serves it before it is published: {served}"
        return mirror["status"]["publication"].get("phase") == "Canary" and (served[hub], served[first]) == (before, prepared)

    wait_until(goes_alone, 180, "one to go first", interval=0.1, detail=lambda: str(fleet.get()["status"]))
    wait_until(lambda: serve(fleet, hub, first) == prepared, 180, "the others to follow", detail=lambda: str(fleet.get()["status"]))
    wait_until(lambda: event(fleet, "CanarySoaking"), 90, "an Event of it")
    wait_until(lambda: not fleet.pods("audit"), 90, "the Job that audited it to be gone")


def elsewhere(fleet) -> str:
    """An address between the region and its clients, where packages are other ones."""
    place = f"{fleet.name}-elsewhere"
    copy = fleet.world.upstreams / place / "debian"
    shutil.copytree(fleet.archive.root, copy)
    for package in copy.rglob("*.deb"):
        content = bytearray(package.read_bytes())
        content[len(content) // 2] ^= 1
        package.write_bytes(content)
    return f"http://{fleet.lab.host_ip}:{UPSTREAM_PORT}/{place}/"


def is_halted(fleet, hub: str, first: str) -> None:
    before = publication(fleet)["snapshot"]
    bad = publish(fleet, "2.1")
    halted = wait_until(lambda: publication(fleet).get("halted"), 180, "it to be halted", detail=lambda: str(fleet.get()["status"]))
    assert (halted["snapshot"], halted["region"], halted["reason"]) == (bad, first, "DigestMismatch"), halted
    wait_until(lambda: serve(fleet, hub, first) == before, 90, "the canary to go back", detail=lambda: str(fleet.get()["status"]))

    def says_so() -> bool:
        told = next((one for one in fleet.get()["status"]["conditions"] if one["type"] == "Reconciling"), {})
        return told.get("reason") == "CanaryFailed" and "DigestMismatch" in told["message"]

    wait_until(says_so, 90, "the condition to say so", detail=lambda: str(fleet.get()["status"]["conditions"]))
    wait_until(lambda: event(fleet, "CanaryFailed"), 90, "an Event of it")


def is_paused(fleet) -> None:
    before = publication(fleet)["snapshot"]
    waiting = publish(fleet, "2.2")

    def all_have_it() -> bool:
        status = fleet.get()["status"]
        preparing = status["publication"].get("preparing", {})
        waits = preparing.get("snapshot") == waiting and not preparing.get("waitingFor")
        assert status["publication"]["snapshot"] == before, status
        return waits and "RolloutPaused" in status["state"]

    wait_until(all_have_it, 180, "it to wait", detail=lambda: str(fleet.get()["status"]))


def event(fleet, reason: str) -> bool:
    events = fleet.lab.list("events", fleet.namespace)
    return any(one.get("reason") == reason for one in events)
