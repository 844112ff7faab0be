"""What all stories share: a working directory, nginx before the upstreams, our program, and real apts."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from archive import run
from checker import Checker, Result
from environment import mirrorfleet_binary
from lab.nginx import nginx
from lab.waiting import wait_until
from repository import Options

from .certificate import Certificate
from .keys import KeyRing, Signers

API_VERSION = "mirrorfleet.dev/v1alpha1"
#: What serves upstreams.
FILES = """
sendfile on; default_type application/octet-stream; keepalive_requests 100000;
server {{ listen 127.0.0.1:{port}; root {root}; autoindex off; }}
"""


@dataclass(frozen=True)
class Mirror:
    """A Mirror with its Upstream and keyring, as one manifest file."""

    name: str
    upstream: str
    keyring: str
    suites: tuple[str, ...]
    components: tuple[str, ...] = ("main",)
    architectures: tuple[str, ...] = ("amd64",)
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    #: The rest of `content.debian` and of the spec.
    debian: dict = field(default_factory=dict)
    spec: dict = field(default_factory=dict)

    def manifests(self) -> list[dict]:
        flat = all(suite.endswith("/") for suite in self.suites)
        slice_ = {} if flat else {"components": list(self.components), "architectures": list(self.architectures)}
        content = {"debian": {"suites": list(self.suites), **slice_, "include": dict.fromkeys(self.include, True), **self.debian}}
        if self.exclude:
            content["exclude"] = list(self.exclude)
        trust = {"keyringRef": {"kind": "Secret", "name": f"{self.name}-keys", "key": "keyring.asc"}}
        return [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{self.name}-keys"}, "stringData": {"keyring.asc": self.keyring}},
            {
                "apiVersion": API_VERSION, "kind": "Upstream", "metadata": {"name": self.name},
                "spec": {"type": "Debian", "authority": {"url": self.upstream}, "trust": trust},
            },
            {
                "apiVersion": API_VERSION, "kind": "Mirror", "metadata": {"name": self.name},
                "spec": {"upstreamRef": {"name": self.name}, "content": content, "regions": [{"name": "here"}], **self.spec},
            },
        ]  # fmt: skip

    @property
    def path(self) -> str:
        """What it is served under."""
        return self.spec.get("serving", {}).get("path") or self.name

    def options(self) -> Options:
        """The same for the independent checker."""
        return Options(self.suites, self.components, self.architectures, excluded=self.exclude, **dict.fromkeys(self.include, True))


@dataclass(frozen=True)
class Run:
    """What a call of our program came to."""

    code: int
    report: dict
    text: str

    @property
    def reason(self) -> str:
        return self.report.get("reason", "")


class Place:
    """One story's directory. Its upstreams are folders below `upstreams`, served by one nginx."""

    def __init__(self, workdir: Path) -> None:
        self.workdir = workdir
        self.upstreams = workdir / "upstreams"
        self.data = workdir / "data"
        for folder in (self.upstreams, self.data):
            folder.mkdir(parents=True)
        self.binary = mirrorfleet_binary()
        self._cleanup = contextlib.ExitStack()
        self.ring = KeyRing()
        self._cleanup.callback(self.ring.close)
        self.signers = Signers(self.ring, (self.ring.make("archive"),))
        self.keyring = self.ring.public("archive")
        self._port = self._start_nginx()
        self._servers: list[Server] = []
        self.log = (workdir / "mirrorfleet.log").open("a")
        self._cleanup.callback(self.log.close)

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_error: object) -> None:
        self._cleanup.close()

    # Programs

    def start(self, name: str, argv: list, *, out: Path | None = None) -> subprocess.Popen:
        """A program that ends with the story."""
        log = self._cleanup.enter_context((self.workdir / f"{name}.log").open("a"))
        stdout = self._cleanup.enter_context(out.open("w")) if out else log
        process = subprocess.Popen([str(part) for part in argv], stdin=subprocess.DEVNULL, stdout=stdout, stderr=log, env=plain_environment())
        self._cleanup.callback(end, process)
        return process

    def _start_nginx(self) -> int:
        prefix, port = self.workdir / "nginx", free_port()
        self.start("nginx", nginx(prefix, FILES.format(port=port, root=self.upstreams)))
        wait_for_port(port)
        return port

    def url(self, upstream: str) -> str:
        return f"http://127.0.0.1:{self._port}/{upstream}/"

    def requests(self) -> list[str]:
        """Paths that were asked for at the upstreams."""
        complete_access_log(self._port)
        lines = (self.workdir / "nginx" / "access.log").read_text().splitlines()
        paths = [line.split('"')[1].split(" ")[1] for line in lines if line.count('"') >= 2]
        return [path for path in paths if path != "/"]

    # Our program

    def mirror(self, name: str, upstream: str, suites: tuple[str, ...], **options) -> Mirror:
        return Mirror(name, self.url(upstream), options.pop("keyring", self.keyring), suites, **options)

    def manifest_file(self, *mirrors: Mirror) -> Path:
        """JSON is YAML, so what `kubectl apply` takes. Two can have one keyring."""
        file = self.workdir / f"{mirrors[0].name}.yaml"
        documents = dict.fromkeys(json.dumps(document) for mirror in mirrors for document in mirror.manifests())
        file.write_text("\n---\n".join(documents))
        return file

    def mirrorfleet(self, *arguments: object) -> subprocess.CompletedProcess:
        command = [str(part) for part in (self.binary, *arguments)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=plain_environment())
        print("$", " ".join(command), f"-> {done.returncode}\n{done.stdout}{done.stderr}", file=self.log, flush=True)
        return done

    def sync(self, mirror: Mirror, *, expect: int | None = 0) -> Run:
        done = self.mirrorfleet("sync", "-f", self.manifest_file(mirror), "--mirror", mirror.name, "--data", self.data, "-o", "json")
        report = json.loads(done.stdout) if done.stdout.strip().startswith("{") else {}
        if expect is not None:
            assert done.returncode == expect, f"sync of {mirror.name} ended with {done.returncode} instead of {expect}:\n{done.stdout}{done.stderr}"
        if done.returncode == 0:
            self._is_taken_up(mirror)
        return Run(done.returncode, report, done.stdout + done.stderr)

    def _is_taken_up(self, mirror: Mirror) -> None:
        """By who serves it, which looks every 100 ms at what is current: nobody who asks afterwards is told of what was before."""
        for server in self._servers:
            # Some were ended by then, and some are to serve something else.
            with contextlib.suppress(OSError):
                self.wait_until_served(server, mirror, seconds=3)

    def serve(self, certificate: Certificate | None = None, *, behind: str = "") -> Server:
        """`mirrorfleet serve` over all mirrors of this place, on both families of addresses; https with a certificate. `behind` is
        the network of proxies whose word counts, told as a cluster tells its pods."""
        if behind:
            lists = self.workdir / "lists"
            lists.mkdir()
            for mirror in self.data.iterdir():
                (lists / mirror.name).write_text(json.dumps({"regions": [], "trustedProxies": [behind]}))
            server = Server(*self._listening("serve-behind", "serve", "--data", self.data, "--lists", lists))
        elif certificate is None:
            server = Server(*self._listening("serve", "serve", "--data", self.data))
        else:
            encrypted = ("--tls-cert", certificate.chain, "--tls-key", certificate.key)
            server = Server(*self._listening("serve-https", "serve", "--data", self.data, *encrypted), certificate)
        self._servers.append(server)
        return server

    def local(self, *mirrors: Mirror) -> Server:
        """`mirrorfleet local`: the same, and it syncs by itself."""
        return Server(*self._listening("local", "local", "-f", self.manifest_file(*mirrors), "--data", self.data))

    def _listening(self, name: str, role: str, *arguments: object) -> tuple[int, int]:
        """The port, and the process."""
        out = self.workdir / f"{name}.out"
        process = self.start(name, [self.binary, role, *arguments, "--listen", "[::]:0"], out=out)

        def port() -> str:
            assert process.poll() is None, f"the server ended; see {self.workdir}/{name}.log"
            found = [line for line in out.read_text().splitlines() if line.startswith("listening on ")]
            return found[0].rpartition(":")[2] if found else ""

        return int(wait_until(port, 90, "the server to listen", interval=0.02)), process.pid

    def wait_until_served(self, server: Server, mirror: Mirror, seconds: float = 90) -> None:
        """A server looks every 100 ms at what is current; who reads plain names must not begin before."""
        current = (self.data / mirror.name / "current").read_text().strip()
        wait_until(lambda: server.snapshot(mirror.name) == current, seconds, "the server to serve what was published last", interval=0.02)

    def check(self, server: Server, mirror: Mirror) -> Result:
        """Zero misses by the independent checker, and something that it checked."""
        keys = self.workdir / f"{mirror.name}.gpg"
        keys.write_text(mirror.keyring)
        run(["gpg", "--homedir", self.ring.home, "--batch", "--yes", "--quiet", "--output", f"{keys}.bin", "--dearmor", keys])
        self.wait_until_served(server, mirror)
        result = Checker(server.url(mirror.path), Path(f"{keys}.bin"), mirror.options()).check()
        assert not result.misses, f"{mirror.name}: {result}\n" + "\n".join(result.misses[:20])
        assert result.payload, f"{mirror.name}: the checker found nothing that an index names"
        print(f"{mirror.name}: {result}", file=self.log, flush=True)
        return result


@dataclass(frozen=True)
class Server:
    port: int
    pid: int
    #: What https is served with; nothing where http is.
    certificate: Certificate | None = None

    def url(self, path: str = "", host: str = "localhost") -> str:
        return f"{'https' if self.certificate else 'http'}://{host}:{self.port}/{path}"

    def connection(self, host: str = "127.0.0.1") -> http.client.HTTPConnection:
        if self.certificate:
            return http.client.HTTPSConnection(host, self.port, timeout=60, context=self.certificate.for_clients())
        return http.client.HTTPConnection(host, self.port, timeout=60)

    def snapshot(self, mirror: str) -> str | None:
        """What is served at this moment."""
        asked = {"timeout": 60, "context": self.certificate.for_clients() if self.certificate else None}
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(self.url(f".mirrorfleet/status/{mirror}"), **asked) as answer:
            return json.load(answer)["snapshot"]
        return None


def plain_environment() -> dict[str, str]:
    """Without what a person's machine says of proxies."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def complete_access_log(port: int) -> None:
    """nginx writes a request's line after its answer, and is one process: once it answers a later one, all lines are there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/")
    connection.getresponse().read()
    connection.close()


#: What stories have been given, who may not have taken it yet.
_GIVEN: set[int] = set()
_GIVING = threading.Lock()


def free_port() -> int:
    """One that is nobody's, and another one each time."""
    while True:
        with socket.socket() as probe, _GIVING:
            probe.bind(("127.0.0.1", 0))
            # A child that is forked beside us has it a moment longer, and is not to be in the way.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port = probe.getsockname()[1]
            if port not in _GIVEN:
                _GIVEN.add(port)
                return port


def wait_for_port(port: int) -> None:
    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    wait_until(answers, 90, f"port {port} to answer", interval=0.02)
