"""The upstream of a measurement: one archive behind nginx and an rsync daemon on loopback, near or far away."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from distribution import Distribution
from nginx import nginx_command
from processes import AS_ROOT, Failed, free_port, native, running

RULES = """
    keepalive_timeout 300;
    root {served};
    server {{ listen 127.0.0.1:{http} backlog=1024; {rules} }}
    server {{ listen 127.0.0.1:{counted} backlog=1024; access_log {work}/requests.log; {rules} }}
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


def warm(distribution: Distribution) -> None:
    """Brings the archive into memory, or whoever takes the first turn pays for the upstream's disk."""
    for file in distribution.state(1).root.rglob("*"):
        if file.is_file():
            file.read_bytes()


@contextmanager
def nginx(near: Upstream, rules: str) -> Iterator[None]:
    rules = RULES.format(work=near.work, served=near.work / "served", http=near.http, counted=near.counted, rules=rules)
    command = nginx_command(near.work, "nginx", workers=2, rules=rules)
    with running(command, near.work / "nginx.log", ready_port=near.http):
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
