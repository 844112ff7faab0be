"""Debian, completely: what `acceptance/` shows without a cluster, through a Service."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path

from acceptance.keys import KeyRing, Signers
from acceptance.layout import EVERYTHING, TRIXIE, UPDATES, debian
from lab import wait_until
from world import UPSTREAM_PORT, AptClient

from .registry import scenario

CHECKER = Path(__file__).resolve().parent.parent / "checker.py"
NAME = "complete"


@dataclass(frozen=True)
class Source:
    """Where the archive is made, and who signs it."""

    upstreams: Path
    signers: Signers


@scenario("everything of Debian's layout, by the suite's alias too, is walked through the Service by the independent checker; a rule takes packages out")
def complete_slice(world):
    with contextlib.ExitStack() as cleanup:
        ring = KeyRing()
        cleanup.callback(ring.close)
        signers = Signers(ring, (ring.make("archive"),))
        folder = world.upstreams / NAME
        debian(Source(folder, signers))
        fleet = cleanup.enter_context(world.fleet(f"{NAME}-slice"))
        content = {
            "suites": [TRIXIE.name, UPDATES.name], "components": ["main", "contrib"], "architectures": ["amd64", "arm64"],
            "include": dict.fromkeys(EVERYTHING, True), "aliases": [{"name": "stable", "suite": TRIXIE.name}],
        }  # fmt: skip
        key = ring.export(world.workdir / f"{NAME}.gpg", "archive")
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keyring"}, "stringData": {"keyring.gpg": ring.public("archive")}}
        authority = {"url": f"http://{fleet.lab.host_ip}:{UPSTREAM_PORT}/{NAME}/debian/"}
        fleet.apply(secret, fleet.upstream(authority=authority), fleet.mirror(content={"debian": content}))
        fleet.wait_ready()
        walk = [sys.executable, CHECKER, fleet.mirror_url(), "--keyring", key, *(f"--{part}" for part in EVERYTHING)]
        for option, values in (("suite", content["suites"]), ("component", content["components"]), ("architecture", content["architectures"])):
            walk += [word for value in values for word in (f"--{option}", value)]
        told = fleet.lab.exec(walk, timeout=300).stdout.strip()

        apt = AptClient(world.workdir / "apt" / NAME, ring.public("archive"), f"{fleet.mirror_url()} stable main")
        assert apt.download(fleet.lab, "tool1").name == "tool1_1.0_amd64.deb"

        # Kept snapshots have it still, for clients that are in the middle of something; the lists are of the newest.
        folder_of = f"{fleet.mirror_url()}/pool/main/d/documents/"
        assert "documents_1.0_all.deb" in fleet.curl(folder_of)
        before = fleet.region()["snapshot"]
        rule = {"exclude": [{"name": "documents"}]}
        fleet.lab.patch("mirror", "debian", {"spec": {"content": {"debian": {"packages": rule}}}}, fleet.namespace)
        wait_until(lambda: fleet.region().get("snapshot") not in (None, before), 120, "the rule to be obeyed")
        listed = fleet.lab.exec(["curl", "-sS", "--max-time", "20", folder_of]).stdout
        assert "documents_1.0_all.deb" not in listed, listed
        return told
