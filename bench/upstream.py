"""The upstream of a measurement: one archive behind nginx and an rsync daemon on loopback, near or far away."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from distribution import Distribution
from processes import Failed, free_port, native, running

# nginx and rsync give up root for a user who cannot read below root's home.
AS_ROOT = os.geteuid() == 0

NGINX = """
{user}
daemon off;
pid {work}/nginx.pid;
error_log {work}/nginx-error.log;
worker_processes 2;
events {{ worker_connections 1024; }}
http {{
    default_type application/octet-stream;
    client_body_temp_path {work}/t1; proxy_temp_path {work}/t2; fastcgi_temp_path {work}/t3;
    uwsgi_temp_path {work}/t4; scgi_temp_path {work}/t5;
    sendfile on;
    keepalive_requests 100000000;
    keepalive_timeout 300;
    access_log off;
    root {served};
    server {{ listen 127.0.0.1:{http} backlog=1024; {rules} }}
    server {{ listen 127.0.0.1:{counted} backlog=1024; access_log {work}/requests.log; {rules} }}
}}
"""

RSYNCD = """
pid file = {work}/rsyncd.pid
lock file = {work}/rsyncd.lock
log file = /dev/null
use chroot = no
{user}
[archive]
path = {served}/
read only = yes
"""


@dataclass
class Upstream:
    """Where a contender finds the archive."""

    distribution: Distribution
    work: Path
    http: int
    counted: int
    rsync: int

    def serve(self, state: int) -> None:
        """Switches to a state of the archive in one step."""
        link = self.work / "served"
        fresh = self.work / "served.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self.distribution.state(state).root)
        fresh.replace(link)

    def requests(self) -> int:
        """Requests on the counted port so far."""
        try:
            return (self.work / "requests.log").read_bytes().count(b"\n")
        except FileNotFoundError:
            return 0


@contextmanager
def upstream(distribution: Distribution, work: Path, delay_ms: float = 0, rules: str = "") -> Iterator[Upstream]:
    """Serves the archive's first state. `delay_ms` is a round trip's."""
    near = Upstream(distribution, work, free_port(), free_port(), free_port())
    near.serve(1)
    with ExitStack() as servers:
        servers.enter_context(nginx(near, rules))
        servers.enter_context(rsyncd(near))
        if not delay_ms:
            yield near
            return
        far = [servers.enter_context(relay(port, delay_ms, work)) for port in (near.http, near.counted, near.rsync)]
        yield Upstream(distribution, work, *far)


@contextmanager
def nginx(near: Upstream, rules: str) -> Iterator[None]:
    config = near.work / "nginx.conf"
    user = "user root;" if AS_ROOT else ""
    config.write_text(NGINX.format(
        user=user, work=near.work, served=near.work / "served", http=near.http, counted=near.counted, rules=rules,
    ))
    log = near.work / "nginx.log"
    with running(["nginx", "-e", str(log), "-p", str(near.work), "-c", str(config)], log, ready_port=near.http):
        yield


@contextmanager
def rsyncd(near: Upstream) -> Iterator[None]:
    config = near.work / "rsyncd.conf"
    user = "uid = root\ngid = root" if AS_ROOT else ""
    config.write_text(RSYNCD.format(user=user, work=near.work, served=near.work / "served"))
    command = ["rsync", "--daemon", "--no-detach", f"--config={config}", "--address=127.0.0.1", f"--port={near.rsync}"]
    with running(command, near.work / "rsyncd.log", ready_port=near.rsync):
        yield


@contextmanager
def relay(port: int, delay_ms: float, work: Path) -> Iterator[int]:
    """A port of its own from which everything takes half of `delay_ms` each way."""
    command = [str(native("relay")), str(port), str(round(delay_ms * 500))]
    with running(command, work / "relay.log", stdout=subprocess.PIPE) as process:
        line = process.stdout.readline()
        if not line.strip():
            raise Failed(f"the relay did not start: {(work / 'relay.log').read_text()}")
        yield int(line)
        process.stdout.close()
