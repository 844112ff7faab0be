"""What a request costs, in system calls: their number is the same on every machine, however busy."""

from __future__ import annotations

import collections
import re

from lab.waiting import wait_until

from .debian import Suite
from .place import Place, Server
from .registry import story
from .retention import Upstream

SUITE = Suite("stable", suite="stable", codename="stable")
REQUESTS = 500
#: What a request takes: its head, the file, the answer. What the disk is asked is once for all of them, and now and then.
EACH = {"recvfrom": 1, "preadv2": 1, "sendto": 1}
SELDOM = ("openat2", "pread64", "sendfile", "writev")


def ask_again_and_again(server: Server, path: str) -> None:
    connection = server.connection()
    for _ in range(REQUESTS):
        connection.request("GET", f"/{path}")
        answer = connection.getresponse()
        body = answer.read()
        assert (answer.status, len(body)) == (200, int(answer.headers["Content-Length"]))
    connection.close()


def traced(place: Place, server: Server, path: str) -> collections.Counter[str]:
    """The calls of all threads while one file is asked for over one connection."""
    calls, said = place.workdir / "calls", place.workdir / "strace.log"
    tracer = place.start("strace", ["strace", "-f", "-e", "trace=" + ",".join((*EACH, *SELDOM)), "-o", calls, "-p", server.pid])
    wait_until(lambda: "attached" in said.read_text(), 90, "strace to attach", interval=0.02)
    ask_again_and_again(server, path)
    tracer.terminate()
    tracer.wait(20)
    # One that was interrupted is told in two lines.
    return collections.Counter(re.findall(r"^\d+ +(\w+)\(", calls.read_text(), re.MULTILINE))


@story("a file that is asked for again is neither looked up nor opened again: three calls and a wait for each request")
def a_request_takes_few_system_calls(place: Place) -> None:
    upstream = Upstream(place, SUITE)
    place.sync(upstream.mirror())
    server = place.serve()
    path = next(file.relative_to(place.upstreams) for file in sorted((place.upstreams / "debian").rglob("*.deb")))
    ask_again_and_again(server, str(path))
    found = traced(place, server, str(path))
    for name, count in EACH.items():
        assert REQUESTS <= found[name] <= count * REQUESTS + REQUESTS // 10, f"{name}: {found[name]} in {REQUESTS} requests, {found}"
    for name in SELDOM:
        assert found[name] <= REQUESTS // 10, f"{name}: {found[name]} in {REQUESTS} requests, {found}"
