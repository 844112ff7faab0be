"""Moving over from another tool to a cluster: what docs/migration.md says, with its pod and its commands."""

from __future__ import annotations

import json
import re

from environment import mirrorfleet_binary
from lab import wait_until
from lab.images import BUSYBOX_IMAGE
from world import ROOT

from .registry import scenario

PAGE = ROOT / "docs" / "migration.md"
POD = re.compile(r"^```yaml\n(apiVersion: v1\nkind: Pod\n.*?)^```\n\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@scenario("a store that `local` filled from a tree on the disk is copied onto the claim: nothing is fetched again", needs=("pod-network", "load-image"))
def moved_onto_a_claim(world):
    with world.fleet("moved") as fleet:
        store = world.workdir / "moved-store"
        disk = [{"name": "disk", "url": f"file://{fleet.archive.root}/"}, {"name": "upstream", "url": fleet.url(), "priority": 10}]
        manifests = world.workdir / "moved.yaml"
        manifests.write_text("\n---\n".join(map(json.dumps, (fleet.keyring(), fleet.upstream(endpoints=disk), fleet.mirror()))))
        since = world.access_position()
        fleet.lab.exec([mirrorfleet_binary(), "local", "-f", manifests, "--data", store, "--once"])
        assert not payload(world, since), "what is on the disk was fetched"

        fleet.apply(fleet.keyring(), fleet.upstream(), fleet.mirror(suspend=True))
        [claim] = wait_until(fleet.claims, 120, "the claim of the suspended Mirror")
        pod, commands = POD.search(PAGE.read_text()).groups()
        pod = pod.replace("CLAIM", claim["metadata"]["name"]).replace("docker.io/library/busybox:1", BUSYBOX_IMAGE)
        fleet.lab.apply(pod, fleet.namespace)
        fleet.lab.kubectl("wait", "pod/copier", "--for=condition=Ready", "--timeout=180s", namespace=fleet.namespace)
        commands = commands.replace("/srv/mirror", str(store)).replace("kubectl ", f"kubectl -n {fleet.namespace} ")
        fleet.lab.exec(["bash", "-euo", "pipefail", "-c", commands], timeout=300)
        fleet.wait_ready()
        assert not payload(world, since), "what is on the claim was fetched"
        fleet.apt_download()


def payload(world, since: int) -> list[str]:
    return [path for path in world.requests("/moved/", since) if "/pool/" in path]
