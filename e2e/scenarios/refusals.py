"""An upstream that lies: refused with the right reason, the old snapshot served, other suites move on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lab import wait_until
from world import PACKAGE, follows

from .registry import scenario

TWO_SUITES = ("stable", "updates")


def refused(fleet, reason: str) -> dict:
    """Syncs, and checks that the run was refused with this reason while the first suite is served as it was."""
    served = fleet.apt_download(suite="stable").read_bytes()
    region = fleet.sync()
    attempt = region["lastAttempt"]
    assert attempt["reason"] == reason, attempt
    assert len(attempt["message"]) > 20, f"no sentence: {attempt}"
    assert fleet.apt_download(suite="stable").read_bytes() == served, "the old snapshot is not served any more"
    return region


def allowed(fleet, region: dict) -> None:
    """What the refusal prints, put where it says, makes a run due, and the status tells what was let through."""
    attempt = region["lastAttempt"]
    entry = attempt["message"].split("`")[1]
    # kubectl takes patches as YAML too, unless they begin with a brace.
    fleet.lab.kubectl("patch", "mirror", "debian", "--type=merge", "--patch", f"spec:\n  {entry}\n", namespace=fleet.namespace)
    wait_until(lambda: is_published(fleet.region()), 180, "the allowed state to be published")
    mark = next(mark for mark in fleet.get()["status"]["highWater"] if mark["unit"] == "stable")
    assert mark["allowed"] == [attempt["reason"]] and mark["digest"] in entry, mark


def is_published(region: dict) -> bool:
    """Whether the last run made something new and it is served."""
    return (region.get("lastAttempt") or {}).get("reason") == "Prepared" and follows(region)


def other_suite_moves(fleet, version: str) -> None:
    fleet.archive.add_package("updates", f"{PACKAGE}-updates", version)
    fleet.archive.publish("updates")


def other_suite_moved(fleet, version: str) -> None:
    assert f"_{version}_" in fleet.apt_download(f"{PACKAGE}-updates", suite="updates").name, "the other suite was held back"


@scenario("badly signed, unknown key, truncated: refused; the other suite moves on; the next good state heals")
def untrusted_content(world):
    with world.fleet("untrusted", suites=TWO_SUITES) as fleet:
        fleet.apply_all()
        fleet.archive.add_package("stable", PACKAGE, "1.5")
        fleet.archive.publish("stable")
        fleet.archive.tamper_release("stable")
        other_suite_moves(fleet, "1.1")
        refused(fleet, "SignatureBad")
        other_suite_moved(fleet, "1.1")
        assert fleet.condition("Verified")["status"] == "False", fleet.condition("Verified")
        assert fleet.condition("Ready")["status"] == "True", "it still serves verified content"

        fleet.archive.publish("stable", key=world.stranger)
        other_suite_moves(fleet, "1.2")
        refused(fleet, "KeyUnknown")
        other_suite_moved(fleet, "1.2")

        package = fleet.archive.add_package("stable", PACKAGE, "2.0", kilobytes=64)
        fleet.archive.publish("stable")
        whole = package.read_bytes()
        fleet.archive.truncate_package(package)
        other_suite_moves(fleet, "1.3")
        served = fleet.apt_download(suite="stable").name
        region = fleet.sync()
        assert region["lastAttempt"]["reason"] in ("DigestMismatch", "UpstreamIncomplete"), region["lastAttempt"]
        assert fleet.apt_download(suite="stable").name == served, "a truncated package was published"
        other_suite_moved(fleet, "1.3")

        package.write_bytes(whole)
        region = fleet.sync()
        assert region["lastAttempt"]["reason"] == "Prepared", region["lastAttempt"]
        assert "_2.0_" in fleet.apt_download(suite="stable").name
        fleet.lab.wait_condition("mirror", "debian", fleet.namespace, "Verified", timeout=120)


@scenario("rolled back, expired, of another suite, mutated: refused, each with its own reason", first=True)
def replayed_content(world):
    with world.fleet("replayed", suites=TWO_SUITES) as fleet:
        first = fleet.archive.state("stable")
        fleet.apply_all()
        fleet.archive.add_package("stable", PACKAGE, "2.0")
        fleet.archive.publish("stable")
        assert fleet.sync()["lastAttempt"]["reason"] == "Prepared"

        fleet.archive.go_back("stable", first)
        other_suite_moves(fleet, "1.1")
        region = refused(fleet, "RollbackDetected")
        other_suite_moved(fleet, "1.1")
        assert "_2.0_" in fleet.apt_download(suite="stable").name
        allowed(fleet, region)
        assert "_2.0_" not in fleet.apt_download(suite="stable").name

        fleet.archive.publish("stable", date=datetime.now(UTC), valid_for=timedelta(seconds=-30))
        region = refused(fleet, "IndexExpired")
        allowed(fleet, region)
        wait_until(lambda: "`Check-Valid-Until: no`" in fleet.condition("Fresh")["message"], 90, "Fresh to say how clients use it")
        fleet.archive.publish("stable")
        assert fleet.sync()["lastAttempt"]["reason"] == "Prepared", "a state that has not expired needs nobody's leave"

        fleet.archive.go_back("stable", fleet.archive.state("updates"))
        refused(fleet, "SuiteMismatch")

        package = fleet.archive.add_package("stable", PACKAGE, "3.0")
        fleet.archive.publish("stable")
        assert fleet.sync()["lastAttempt"]["reason"] == "Prepared"
        package.unlink()
        fleet.archive.add_package("stable", PACKAGE, "3.0", kilobytes=32)
        fleet.archive.publish("stable")
        region = refused(fleet, "ContentMutated")
        assert "_3.0_" in region["lastAttempt"]["message"], "the message does not name the file"
        fleet.lab.patch("mirror", "debian", {"spec": {"verification": {"mutation": "Allow"}}}, fleet.namespace)
        wait_until(lambda: is_published(fleet.region()), 180, "the allowed change to be published")


@scenario("an upstream that is away: stale, said so, served on")
def upstream_away(world):
    with world.fleet("away") as fleet:
        fleet.apply_all()
        hidden = fleet.archive.root.with_name("away-hidden")
        fleet.archive.root.rename(hidden)
        region = fleet.sync()
        assert region["lastAttempt"]["reason"] in ("UpstreamUnreachable", "UpstreamIncomplete"), region["lastAttempt"]
        fleet.apt_download()
        assert fleet.condition("Ready")["status"] == "True"
        assert fleet.condition("Stalled") == {}, "an upstream that is away is nothing that a manifest could mend"
        hidden.rename(fleet.archive.root)
        assert fleet.sync()["lastAttempt"]["reason"] == "Unchanged"
