"""Endpoints that are no web servers."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab import wait_until
from world import PACKAGE

from .registry import scenario

PORT = 8730
DAEMON = "upstream-rsync"


def configure(world, module: str, root) -> Path:
    """The daemon reads it again for each client."""
    folder = world.workdir / "rsyncd"
    folder.mkdir(exist_ok=True)
    config, log = folder / "rsyncd.conf", folder / "log"
    text = f"port = {PORT}\nlog file = {log}\nuse chroot = no\nuid = 0\ngid = 0\n[{module}]\npath = {root}\nread only = yes\n"
    fresh = folder / "rsyncd.conf.new"
    fresh.write_text(text)
    return fresh.rename(config)


def start_daemon(world, module: str, root) -> str:
    """A real rsync daemon beside nginx; returns the URL of its module."""
    config = configure(world, module, root)
    world.lab.run_server(DAEMON, ["rsync", "--daemon", "--no-detach", f"--config={config}"])
    url = f"rsync://{world.lab.host_ip}:{PORT}/"
    wait_until(lambda: module in world.lab.exec(["rsync", url], check=False).stdout, 90, "the rsync daemon to answer")
    return f"{url}{module}/"


def told(fleet) -> dict:
    """What the Upstream says of its endpoint."""
    endpoints = fleet.lab.get("upstream", "debian", fleet.namespace)["status"].get("endpoints")
    return endpoints[0] if endpoints else {}


def has_all(fleet) -> bool:
    newest = fleet.lab.get("upstream", "debian", fleet.namespace)["status"].get("revisionDate")
    endpoint = told(fleet)
    return endpoint.get("state") == "Reachable" and endpoint.get("revisionDate") == newest and not endpoint.get("behind")


@scenario("an rsync endpoint: the image has what it needs; lies are refused; the next good state heals; a Job tells what it has")
def rsync_endpoint(world):
    with world.fleet("rsync") as fleet:
        since = world.access_position()
        module = start_daemon(world, "debian", fleet.archive.root)
        endpoints = [{"name": "rsync", "url": module, "priority": 10}]
        fleet.apply(fleet.keyring(), fleet.upstream(endpoints=endpoints), fleet.mirror())
        fleet.wait_ready()
        before = fleet.apt_download().read_bytes()
        wait_until(lambda: has_all(fleet), 60, "a Job to tell what the endpoint has", detail=lambda: told(fleet))
        older = shutil.copytree(fleet.archive.root, world.workdir / "rsyncd" / "older", symlinks=True)
        by_http = world.requests(f"/{fleet.name}/pool/", since)
        assert not by_http, f"packages came by HTTP although an rsync endpoint has them: {by_http}"

        package = fleet.archive.add_package("stable", PACKAGE, "2.0")
        fleet.archive.publish("stable")
        good = package.read_bytes()
        package.write_bytes(b"x" * len(good))
        attempt = fleet.sync()["lastAttempt"]
        assert attempt["reason"] == "DigestMismatch", attempt
        assert package.name in attempt["message"], attempt
        assert fleet.condition("Verified")["reason"] == "DigestMismatch", fleet.get()
        assert fleet.apt_download().read_bytes() == before, "what was served is not served any more"

        package.write_bytes(good)
        attempt = fleet.sync()["lastAttempt"]
        assert attempt["reason"] == "Prepared", attempt
        assert "_2.0_" in fleet.apt_download().name

        configure(world, "debian", older)
        fleet.apply(fleet.upstream(endpoints=endpoints, probe={"interval": "2m"}))
        lacks = lambda: [unit["unit"] for unit in told(fleet).get("behind", [])]  # noqa: E731
        wait_until(lambda: lacks() == ["stable"], 60, "a Job to tell what the endpoint lacks", detail=lambda: told(fleet))
        pods = fleet.pods("probe")
        assert pods and not any("persistentVolumeClaim" in volume for pod in pods for volume in pod["spec"]["volumes"]), pods

        world.lab.stop_server(DAEMON)
        fleet.archive.add_package("stable", PACKAGE, "3.0")
        fleet.archive.publish("stable")
        attempt = fleet.sync()["lastAttempt"]
        assert attempt["reason"] == "UpstreamUnreachable", attempt
        assert "_2.0_" in fleet.apt_download().name
