"""HTTP as clients, proxies and downloaders rely on it."""

from __future__ import annotations

import email.utils
import hashlib
import http.client
import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from .certificate import Certificate
from .debian import DebianArchive, Suite
from .place import Place, Server
from .registry import story

SUITE = Suite("stable", suite="stable", codename="stable")
INDEX = "debian/dists/stable/main/binary-amd64/Packages"
PIPELINED = 32
LONG_AGO = 1_700_000_000


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(server: Server, path: str, method: str = "GET", host: str = "127.0.0.1", **headers: str) -> Answer:
    connection = server.connection(host)
    try:
        connection.request(method, "/" + path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def a_served_archive(place: Place) -> tuple[list[Server], str, Path]:
    """Servers of both kinds, and a package by its path there and its file at the upstream."""
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    archive.add_many(SUITE, [f"tool{number}" for number in range(8)])
    file = archive.packages["stable"][0].file
    os.utime(file, (LONG_AGO, LONG_AGO))
    archive.publish(SUITE)
    place.sync(place.mirror("debian", "debian", ("stable",)))
    return [place.serve(), place.serve(Certificate.make(place.workdir))], f"debian/{file.relative_to(archive.root)}", file


@story("Last-Modified is upstream's, conditional and range requests and HEAD are answered, nothing is packed twice, IPv6 and https too")
def requests_are_answered_as_clients_rely_on(place: Place) -> None:
    servers, path, file = a_served_archive(place)
    for server in servers:
        is_answered_as_clients_rely_on(place, server, path, file)


def is_answered_as_clients_rely_on(place: Place, server: Server, path: str, file: Path) -> None:
    content = file.read_bytes()
    whole = ask(server, path)
    assert (whole.status, whole.body) == (200, content)
    modified = whole.headers["Last-Modified"]
    assert email.utils.parsedate_to_datetime(modified).timestamp() == LONG_AGO, f"Last-Modified is {modified}"
    release = place.upstreams / "debian" / "dists" / "stable" / "InRelease"
    served = email.utils.parsedate_to_datetime(ask(server, "debian/dists/stable/InRelease").headers["Last-Modified"])
    assert served.timestamp() == int(release.stat().st_mtime), f"InRelease: Last-Modified is {served}"

    for validators in ({"If_Modified_Since": modified}, {"If_None_Match": whole.headers["ETag"]}):
        again = ask(server, path, **validators)
        assert (again.status, again.body) == (304, b""), f"{validators}: {again.status}"
    earlier = email.utils.formatdate(LONG_AGO - 60, usegmt=True)
    assert ask(server, path, If_Modified_Since=earlier).status == 200

    head = ask(server, path, "HEAD")
    assert (head.status, head.body, int(head.headers["Content-Length"])) == (200, b"", len(content))
    part = ask(server, path, Range="bytes=100-299")
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, content[100:300], f"bytes 100-299/{len(content)}")
    assert ask(server, path, Range="bytes=-10").body == content[-10:]
    assert ask(server, path, Range=f"bytes={len(content)}-").status == 416
    resumed = ask(server, path, Range="bytes=50-", If_Range=modified)
    assert (resumed.status, resumed.body) == (206, content[50:])
    assert ask(server, path, Range="bytes=50-", If_Range=earlier).body == content, "another state: the whole"

    for suffix in (".gz", ".xz"):
        packed = ask(server, INDEX + suffix, Accept_Encoding="gzip, br, zstd")
        upstream = place.upstreams / f"{INDEX}{suffix}"
        assert packed.headers["Content-Encoding"] is None and packed.body == upstream.read_bytes(), f"{suffix} came {packed.headers['Content-Encoding']}"
    assert ask(server, path, host="::1").body == content
    assert ask(server, "debian/pool/main/n/nothing/nothing_1_all.deb").status == 404


@story("a kept connection answers 32 pipelined requests in order, misses, HEAD, 206 and 304 among them, https and IPv6 too")
def pipelined_requests_are_answered_in_order(place: Place) -> None:
    servers, path, file = a_served_archive(place)
    content, tag = file.read_bytes(), ask(servers[0], path).headers["ETag"]
    kinds = [
        (f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, content),
        (f"GET /{path} HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-9\r\n\r\n", 206, content[:10]),
        (f"GET /{path}.gone HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, None),
        (f"HEAD /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, b""),
        (f"GET /{path} HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tag}\r\n\r\n", 304, b""),
        (f"GET /{INDEX}.xz HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, (place.upstreams / f"{INDEX}.xz").read_bytes()),
    ]
    asked = [kinds[number % len(kinds)] for number in range(PIPELINED)]
    for server, host in itertools.product(servers, ("127.0.0.1", "::1")):
        connection = server.connection(host)
        connection.connect()
        with connection.sock as sock:
            sock.sendall("".join(request for request, _, _ in asked).encode())
            stream = sock.makefile("rb")
            for number, (request, status, body) in enumerate(asked):
                got_status, got = one_answer(stream, is_head=request.startswith("HEAD"))
                assert got_status == status, f"answer {number} of {server.url()} is {got_status}: {request}"
                assert body is None or got == body, f"answer {number} of {server.url()} has another body ({digest(got)}): {request}"


def one_answer(stream, *, is_head: bool) -> tuple[int, bytes]:
    status = int(stream.readline().split()[1])
    headers = http.client.parse_headers(stream)
    return status, b"" if is_head or status == 304 else stream.read(int(headers["Content-Length"]))


def digest(body: bytes) -> str:
    return f"{len(body)} bytes, {hashlib.sha256(body).hexdigest()[:12]}"
