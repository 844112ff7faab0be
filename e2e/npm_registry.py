"""A registry as npm's own is: both forms of each document with an ETag each, `Vary`, five minutes, gzip; and what it does on bad days."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import sys
import tarfile
import threading
import time
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ABBREVIATED = "application/vnd.npm.install-v1+json"
#: What the abbreviated form has of a version.
INSTALLER = ("name", "version", "deprecated", "dependencies", "optionalDependencies", "bin", "dist", "engines", "peerDependencies", "hasInstallScript")


def tarball(files: dict[str, str]) -> bytes:
    """As `npm pack` makes it, the same bytes each time."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size, member.mode = len(text.encode()), 0o644
            archive.addfile(member, io.BytesIO(text.encode()))
    return gzip.compress(packed.getvalue(), mtime=0)


def integrity(content: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


@dataclass
class Package:
    name: str
    versions: dict[str, dict] = field(default_factory=dict)
    time: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def document(self, *, full: bool) -> dict:
        if full:
            return {"_id": self.name, "_rev": f"{len(self.versions)}-a", "name": self.name, "dist-tags": self.tags, "versions": self.versions, "time": self.time, "readme": "# é"}
        versions = {version: {key: told[key] for key in INSTALLER if key in told} for version, told in self.versions.items()}
        return {"name": self.name, "dist-tags": self.tags, "versions": versions, "modified": self.time["modified"]}


class Registry:
    """Serves until it is stopped, and can be started again at the same port."""

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self.packages: dict[str, Package] = {}
        self.tarballs: dict[str, bytes] = {}
        self.asked: list[str] = []
        #: Of each, by their names as HTTP/1.1 writes them.
        self.headers: list[dict[str, str]] = []
        #: How each was answered.
        self.answered: Counter[int] = Counter()
        self.bodies: list[bytes] = []
        self._lock = threading.Lock()
        #: Status to answer everything with, and what Retry-After says.
        self.failing: int | None = None
        self.retry_after: str | None = None
        #: Seconds before each answer.
        self.delay = 0.0
        #: Paths of which only so many bytes are sent.
        self.cut: dict[str, int] = {}
        #: Paths of which so many bytes are sent, and the rest once the gate is open.
        self.gates: dict[str, tuple[int, threading.Event]] = {}
        #: Bodies that are sent instead of the right ones, by path.
        self.lies: dict[str, bytes] = {}
        #: Answers that were written beforehand, by path: plain and with gzip, or the same twice where there is only a plain one.
        self.ready: dict[str, tuple[bytes, bytes]] = {}
        #: The only `Authorization` that is let in; everybody where there is none.
        self.login: str | None = None
        #: Questions that wait for their answers, and how many did at once at most.
        self.waiting = self.most_waiting = 0
        #: Statuses that are answered instead, by path.
        self.refused: dict[str, int] = {}
        self.has_abbreviated = True
        self.host, self.port = host, port
        self._server: ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        registry = self

        class Handler(_Handler):
            served = registry

        self._server = _Server((self.host, self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server.end_connections()
            self._server = None

    def publish(self, name: str, version: str, *, at: str = "2020-01-01T00:00:00.000Z", latest: bool = True, content: dict[str, str] | None = None, **more: object) -> bytes:
        """A new version, of which the tarball is given back."""
        manifest = {"name": name, "version": version, "main": "index.js", **more}
        packed = tarball({"package.json": json.dumps(manifest), "index.js": f"module.exports = {json.dumps(f'{name}@{version}')};\n", **(content or {})})
        bare = name.rpartition("/")[2]
        path = f"/{name}/-/{bare}-{version}.tgz"
        self.tarballs[path] = packed
        dist = {
            "integrity": integrity(packed), "shasum": hashlib.sha1(packed).hexdigest(), "tarball": f"{self.url}{path}", "fileCount": 2,
            "signatures": [{"keyid": "SHA256:k", "sig": "MEUC"}],
            "attestations": {"url": f"{self.url}/-/npm/v1/attestations/{name}@{version}", "provenance": {"predicateType": "https://slsa.dev/provenance/v1"}},
        }  # fmt: skip
        package = self.packages.setdefault(name, Package(name))
        package.versions[version] = {**manifest, "_id": f"{name}@{version}", "_npmUser": {"name": "someone"}, "dist": dist}
        package.time.setdefault("created", at)
        package.time.update({version: at, "modified": at})
        if latest:
            package.tags["latest"] = version
        return packed

    def count(self, part: str) -> int:
        """How often something with this in its path was asked for."""
        with self._lock:
            return sum(part in path for path in self.asked)

    def asked_paths(self) -> Counter[str]:
        with self._lock:
            return Counter(self.asked)

    def note(self, path: str, headers: dict[str, str]) -> None:
        with self._lock:
            self.asked.append(path)
            self.headers.append(headers)
            self.waiting += 1
            self.most_waiting = max(self.most_waiting, self.waiting)

    def note_answer(self, status: int) -> None:
        """Before it is sent: whoever has it may ask again."""
        with self._lock:
            self.answered[status] += 1
            self.waiting -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, *arguments: object) -> None:
        self.connections: set = set()
        super().__init__(*arguments)

    def process_request(self, request, client_address) -> None:  # noqa: ANN001
        self.connections.add(request)
        super().process_request(request, client_address)

    def end_connections(self) -> None:
        for connection in list(self.connections):
            try:
                connection.close()
            except OSError:
                pass

    def handle_error(self, request, client_address) -> None:  # noqa: ANN001
        """A client that leaves is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # As every server of any speed: else the end of each answer waits for the client's acknowledgement, 40 ms later.
    disable_nagle_algorithm = True
    served: Registry

    def log_message(self, *_arguments: object) -> None:
        """Counted instead."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.served.bodies.append(body)
        self._answer(json.loads(body or b"{}"))

    def _answer(self, posted: dict | None = None) -> None:
        registry = self.served
        path, _, query = self.path.partition("?")
        registry.note(self.path, {name.title(): value for name, value in self.headers.items()})
        if registry.delay:
            time.sleep(registry.delay)
        if registry.login and self.headers.get("Authorization") != registry.login:
            return self._send(401, b'{"error":"who are you?"}', {"Content-Type": "application/json"})
        if registry.failing:
            headers = {"Retry-After": registry.retry_after} if registry.retry_after else {}
            return self._send(registry.failing, b'{"error":"not today"}', headers)
        path = urllib.parse.unquote(path)
        if path in registry.refused:
            return self._send(registry.refused[path], b'{"error":"not for you"}', {"Content-Type": "application/json"})
        if path in registry.lies:
            return self._send(200, registry.lies[path], {"Content-Type": "application/json"})
        if path in registry.ready:
            plain, packed = registry.ready[path]
            takes_gzip = "gzip" in self.headers.get("Accept-Encoding", "")
            return self._send(200, packed if takes_gzip else plain, {"Content-Type": "application/json", **({"Content-Encoding": "gzip"} if takes_gzip and packed is not plain else {})})
        if path in registry.tarballs:
            return self._send(200, registry.tarballs[path], {"Content-Type": "application/octet-stream", "Cache-Control": "public, immutable, max-age=31557600"})
        known = {
            "/-/npm/v1/keys": {"keys": [{"keyid": "SHA256:k", "keytype": "ecdsa-sha2-nistp256", "scheme": "ecdsa-sha2-nistp256", "key": "MFkw", "expires": None}]},
            "/-/v1/search": {"objects": [{"package": {"name": "found", "version": "1.0.0", "description": "x", "date": "2020-01-01T00:00:00.000Z", "keywords": [], "links": {}, "maintainers": [{"username": "a"}], "publisher": {"username": "a"}, "query": query}}], "total": 1, "time": "x"},
            "/-/npm/v1/security/advisories/bulk": {name: [{"id": 1, "severity": "high", "title": "x", "url": "x", "vulnerable_versions": "*"}] for name in posted or {} if name == "rotten"},
        }
        if path in known:
            return self._send(200, json.dumps(known[path]).encode(), {"Content-Type": "application/json"})
        if path.startswith("/-/npm/v1/attestations/"):
            return self._send(200, json.dumps({"attestations": [{"of": path.rpartition("/")[2]}]}).encode(), {"Content-Type": "application/json"})
        package = registry.packages.get(path.lstrip("/"))
        if package is None:
            return self._send(404, b'{"error":"Not found"}', {"Content-Type": "application/json"})
        return self._document(package)

    def _document(self, package: Package) -> None:
        short = self.served.has_abbreviated and ABBREVIATED in self.headers.get("Accept", "")
        body = json.dumps(package.document(full=not short), ensure_ascii=False).encode()
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        headers = {
            "Content-Type": ABBREVIATED if short else "application/json", "ETag": etag, "Vary": "accept-encoding, accept",
            "Cache-Control": "public, max-age=300",
        }  # fmt: skip
        if self.headers.get("If-None-Match") == etag:
            return self._send(304, b"", headers)
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        return self._send(200, body, headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.served.note_answer(status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        path = urllib.parse.unquote(self.path)
        cut = self.served.cut.get(path)
        first, gate = self.served.gates.get(path, (0, None))
        if self.command != "HEAD":
            if gate is not None:
                self.wfile.write(body[:first])
                self.wfile.flush()
                gate.wait(60)
            self.wfile.write((body if cut is None else body[:cut])[first:])
        if cut is not None:
            self.close_connection = True


def main() -> None:
    """A registry of its own process: its address, and a file with what it has, a list of arguments of `publish`."""
    host, port, published = sys.argv[1:]
    registry = Registry(int(port), host)
    for package in json.loads(open(published, encoding="utf-8").read()):
        registry.publish(**package)
    threading.Event().wait()


if __name__ == "__main__":
    main()
