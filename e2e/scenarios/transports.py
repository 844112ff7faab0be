"""Endpoints that are no web servers."""

from __future__ import annotations

from lab import wait_until
from world import PACKAGE

from .registry import scenario

PORT = 8730
DAEMON = "upstream-rsync"


def start_daemon(world, module: str, root) -> str:
    """A real rsync daemon beside nginx; returns the URL of its module."""
    folder = world.workdir / "rsyncd"
    folder.mkdir()
    config, log = folder / "rsyncd.conf", folder / "log"
    config.write_text(
        f"port = {PORT}\nlog file = {log}\nuse chroot = no\nuid = 0\ngid = 0\n[{module}]\npath = {root}\nread only = yes\n"
    )
    world.lab.run_server(DAEMON, ["rsync", "--daemon", "--no-detach", f"--config={config}"])
    url = f"rsync://{world.lab.host_ip}:{PORT}/"
    wait_until(lambda: module in world.lab.exec(["rsync", url], check=False).stdout, 90, "the rsync daemon to answer")
    return f"{url}{module}/"


@scenario("an rsync endpoint: the image has what it needs; lies are refused; the next good state heals")
def rsync_endpoint(world):
    with world.fleet("rsync") as fleet:
        since = world.access_position()
        module = start_daemon(world, "debian", fleet.archive.root)
        endpoints = [{"name": "rsync", "url": module, "priority": 10}]
        fleet.apply(fleet.keyring(), fleet.upstream(endpoints=endpoints), fleet.mirror())
        fleet.wait_ready()
        before = fleet.apt_download().read_bytes()
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

        world.lab.stop_server(DAEMON)
        fleet.archive.add_package("stable", PACKAGE, "3.0")
        fleet.archive.publish("stable")
        attempt = fleet.sync()["lastAttempt"]
        assert attempt["reason"] == "UpstreamUnreachable", attempt
        assert "_2.0_" in fleet.apt_download().name
