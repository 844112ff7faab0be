"""Manifests that cannot work: refused by the schema, or Stalled with a sentence that tells what to change."""

from __future__ import annotations

import json

from lab import wait_until
from world import ROOT, regions_of

from .registry import scenario

SAMPLES = ROOT / "operator" / "fleet-api" / "tests" / "samples"


@scenario("the API server accepts and refuses what it should, in our words", needs=())
def schema(world):
    namespace = "e2e-schema"
    world.lab.create_namespace(namespace)
    try:
        accepted = sorted([*(SAMPLES / "accepted").glob("*.yaml"), *(ROOT / "examples").rglob("*.yaml")])
        refused = sorted((SAMPLES / "refused").glob("*.yaml"))
        assert accepted and refused, "no samples"
        for sample in accepted:
            world.lab.kubectl("apply", "--dry-run=server", "-f", sample, namespace=namespace)
        for sample in refused:
            wanted = sample.read_text().splitlines()[0].removeprefix("#").strip()
            result = world.lab.exec(["kubectl", "-n", namespace, "apply", "--dry-run=server", "-f", sample], check=False)
            assert result.returncode != 0, f"{sample.name} was accepted"
            assert wanted in result.stderr, f"{sample.name}: {wanted!r} is not in: {result.stderr}"
        return f"{len(accepted)} accepted, {len(refused)} refused"
    finally:
        world.lab.delete("namespace", namespace, wait=False)


@scenario("what may not change is refused; storage only grows", needs=())
def immutable_fields(world):
    with world.fleet("immutable") as fleet:
        own = lambda **storage: {"regions": [{"name": "region-a", "storage": storage}]}  # noqa: E731
        fleet.apply(fleet.keyring(), fleet.upstream(), fleet.mirror(**own(size="1Gi", storageClassName="own")))
        changes = {
            "a region's size": own(size="1Mi", storageClassName="own"),
            "a region's size, by leaving it out": own(storageClassName="own"),
            "a region's storageClassName": own(size="1Gi", storageClassName="other"),
            "upstreamRef": {"upstreamRef": {"name": "other"}},
            "accessMode": {"storage": {"accessMode": "ReadWriteMany"}},
            "storageClassName": {"storage": {"storageClassName": "other"}},
            "size": {"storage": {"size": "1Mi"}},
        }
        for field, change in changes.items():
            patch = json.dumps({"spec": change})
            result = fleet.lab.exec(
                ["kubectl", "-n", fleet.namespace, "patch", "mirror", "debian", "--type=merge", "--patch", patch], check=False
            )
            assert result.returncode != 0, f"{field} could be changed"
        fleet.lab.patch("mirror", "debian", {"spec": {"storage": {"size": "2Gi"}}}, fleet.namespace)
        fleet.lab.patch("mirror", "debian", {"spec": own(size="2Gi", storageClassName="own")}, fleet.namespace)


@scenario("missing Secret, wrong key name, missing Upstream: Stalled with a sentence; mended, it goes on")
def missing_references(world):
    with world.fleet("references") as fleet:
        fleet.apply(fleet.mirror())
        message = fleet.wait_stalled("UpstreamNotFound")
        assert "debian" in message, message
        fleet.apply(fleet.upstream())
        message = fleet.wait_stalled("KeyringNotFound")
        assert "keyring" in message and "Secret" in message, message
        wrong = fleet.keyring()
        wrong["data"] = {"other.gpg": wrong["data"]["keyring.gpg"]}
        fleet.apply(wrong)
        # Of a run of its own: the one before was told the same.
        assert fleet.sync()["lastAttempt"]["reason"] == "KeyringNotFound", fleet.region()
        message = fleet.wait_stalled("KeyringNotFound")
        assert "keyring.gpg" in message, message
        fleet.apply(fleet.keyring())
        fleet.request_sync()
        fleet.wait_ready()
        wait_until(lambda: not fleet.condition("Stalled"), 90, "Stalled to go, since it works")


@scenario("an impossible schedule and an unknown component: Stalled or refused with a sentence")
def impossible_spec(world):
    with world.fleet("impossible") as fleet:
        fleet.apply(fleet.keyring(), fleet.upstream(), fleet.mirror(sync={"schedule": "61 * * * *"}))
        message = fleet.wait_stalled("InvalidSpec")
        assert "schedule" in message, message
        content = {"debian": {"suites": ["stable"], "components": ["nonsense"], "architectures": ["amd64"]}}
        fleet.apply(fleet.mirror(content=content))
        fleet.lab.wait_for(
            "mirror", "debian", fleet.namespace,
            lambda thing: any(
                (region.get("lastAttempt") or {}).get("reason") == "NotOffered" for region in regions_of(thing)
            ),
            180, "NotOffered to be said",
        )  # fmt: skip
        assert "nonsense" in fleet.region()["lastAttempt"]["message"]
        fleet.apply(fleet.mirror())
        fleet.wait_ready()


@scenario("a stranger's object under our name: Stalled with NameConflict, never written")
def name_conflict(world):
    with world.fleet("conflict") as fleet:
        fleet.apply_all()
        name = fleet.lab.list("services", fleet.namespace, "app.kubernetes.io/managed-by=mirrorfleet")[0]["metadata"]["name"]
        fleet.lab.delete("mirror", "debian", fleet.namespace)
        fleet.lab.wait_gone("service", name, fleet.namespace)
        stranger = {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": {"owner": "somebody"}},
            "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 1234}]},
        }  # fmt: skip
        fleet.apply(stranger)
        before = fleet.lab.get("service", name, fleet.namespace)
        fleet.apply(fleet.mirror())
        message = fleet.wait_stalled("NameConflict")
        assert name in message, message
        assert fleet.lab.get("service", name, fleet.namespace) == before, "a stranger's Service was written"
        fleet.lab.delete("service", name, fleet.namespace)
        fleet.wait_ready()
