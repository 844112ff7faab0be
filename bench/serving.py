"""Measures serving: mirrorfleet from its store, nginx and h2o from the exported tree, each on one core, wrk on the other."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import resource
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from contenders import Job, Mirrorfleet
from distribution import State, many_packages
from loads import Load, ask_for, idle_connections, settled_kib
from nginx import nginx_command
from processes import AS_ROOT, Failed, free_port, fresh, measured, running
from results import Figure
from syncing import Bench
from upstream import upstream
from works import OURS, SERVE

SERVER_CORE = "0"
ONE_MIB, LARGE = 1 << 20, 256 << 20
RANGE = 64 << 10
# Connections of the rows with many, of those that are busy beside idle ones, and of the idle ones.
MANY, BUSY, IDLE = 64, 200, 1000
MEASURED_TOGETHER = ("serve-busy", "serve-idle")

NGINX_RULES = """
    open_file_cache max={files} inactive=10m;
    open_file_cache_valid 10m;
    ssl_certificate {certificate}/cert.pem;
    ssl_certificate_key {certificate}/key.pem;
    server {{ listen 127.0.0.1:{port}; listen 127.0.0.1:{tls} ssl http2; root {tree}; }}
"""

H2O = """
{user}
num-threads: 1
pid-file: {work}/h2o.pid
error-log: {work}/h2o-error.log
listen: {{host: 127.0.0.1, port: {port}}}
listen: {{host: 127.0.0.1, port: {tls}, ssl: {{certificate-file: {certificate}/cert.pem, key-file: {certificate}/key.pem}}}}
hosts:
  default:
    paths:
      "/": {{file.dir: {tree}}}
"""


@dataclass(frozen=True)
class Server:
    """One contender while it runs: where it listens, and its process (without TLS)."""

    plain: int
    tls: int
    pid: int

    def port(self, asked: Load) -> int:
        return self.plain if asked.protocol == "http" else self.tls


@dataclass(frozen=True)
class Tree:
    """The same files, as a store and as an ordinary tree whose top folder has the Mirror's name."""

    data: Path
    exported: Path
    state: State
    work: Path


def serve_works(bench: Bench, wanted: set[str]) -> Iterator[dict[str, list[Figure]]]:
    names = [work.name for work in SERVE if work.name in wanted]
    if not names:
        return
    if (os.cpu_count() or 1) < 2:
        raise Failed("serving needs two cores: one for the server and one for wrk")
    work = fresh(bench.work, "serve")
    print("making a store and a tree to serve", flush=True)
    tree = prepare(bench, work)
    with all_servers(bench, tree) as servers:
        # First what a process that has done nothing yet is needed for.
        if together := [name for name in names if name in MEASURED_TOGETHER]:
            print(", ".join(together), flush=True)
            yield measure_idle(bench, load(together[0], tree), servers)
        for name in names:
            if name not in MEASURED_TOGETHER:
                print(name, flush=True)
                yield {name: measure(bench, load(name, tree), servers, tree)}


def prepare(bench: Bench, work: Path) -> Tree:
    distribution = many_packages(bench.scale.packages, (ONE_MIB, LARGE))
    ours = Mirrorfleet(bench.program)
    with upstream(distribution, work) as source:
        task = Job(source, fresh(work, "job"), source.http)
        ours.run(task)
        ours.check(task, distribution.state(1))
    exported = work / "tree" / "bench"
    exported.parent.mkdir()
    # Hard links: how a file was written decides in what pieces it lies in memory, and large pieces are sent by fewer steps.
    measured([str(bench.program), "export", "--data", str(task.copy), "bench", str(exported)], work, 120)
    return Tree(task.copy, exported.parent, distribution.state(1), work)


@contextmanager
def all_servers(bench: Bench, tree: Tree) -> Iterator[dict[str, Server]]:
    """All three at once: those that are not asked do nothing."""
    certificate = make_certificate(tree.work)
    ports = {name: (free_port(), free_port()) for name in (OURS, "nginx", "h2o")}
    serve = [str(bench.program), "serve", "--data", str(tree.data)]
    encrypted = ["--tls-cert", str(certificate / "cert.pem"), "--tls-key", str(certificate / "key.pem")]
    plain, tls = ports["nginx"]
    rules = NGINX_RULES.format(files=kept_open(), port=plain, tls=tls, tree=tree.exported, certificate=certificate)
    commands = {
        OURS: [*serve, "--listen", f"127.0.0.1:{ports[OURS][0]}"],
        # Without TLS and with it we are two processes.
        f"{OURS}-tls": [*serve, "--listen", f"127.0.0.1:{ports[OURS][1]}", *encrypted],
        "nginx": nginx_command(tree.work, "serve-nginx", workers=1, rules=rules),
        "h2o": ["h2o", "-m", "worker", "-c", str(h2o_config(tree, ports["h2o"], certificate))],
    }
    with ExitStack() as started:
        pids = {}
        for name, command in commands.items():
            ready = ports[OURS][1] if name.endswith("-tls") else ports[name][0]
            process = running(["taskset", "-c", SERVER_CORE, *command], tree.work / f"{name}.log", ready_port=ready)
            pids[name] = started.enter_context(process).pid
        yield {name: Server(*ports[name], pids[name]) for name in ports}


def kept_open() -> int:
    """How many files each server may keep open: what mirrorfleet takes of the limit of descriptors, which it raises as far as it may."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    return 32768 if limit == resource.RLIM_INFINITY else min(32768, limit * 3 // 8)


def make_certificate(work: Path) -> Path:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-keyout", str(work / "key.pem"), "-out", str(work / "cert.pem")],
        check=True, capture_output=True,
    )
    return work


def h2o_config(tree: Tree, ports: tuple[int, int], certificate: Path) -> Path:
    user = "user: root" if AS_ROOT else ""
    plain, tls = ports
    return written(tree.work / "h2o.conf", H2O.format(user=user, work=tree.work, tree=tree.exported, port=plain, tls=tls, certificate=certificate))


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def load(name: str, tree: Tree) -> Load:
    """What a work asks for. The end of its name says by how many connections, or how they are encrypted."""
    sizes = tree.state.payload

    def of_size(size: int) -> str:
        return f"/bench/{min(sizes, key=lambda path: abs(sizes[path] - size))}"

    small, large = of_size(5 << 10), of_size(LARGE)
    if name in MEASURED_TOGETHER:
        return Load(name, small, {}, 200, connections=BUSY)
    what, way = re.fullmatch(r"serve-(\w+?)(?:-(64|tls|h2))?", name).groups()
    more = {None: {}, "64": {"connections": MANY}, "tls": {"connections": MANY, "protocol": "https"}, "h2": {"connections": MANY, "protocol": "h2"}}[way]
    match what:
        case "small":
            return Load(name, small, {}, 200, **more)
        case "many":
            listing = written(tree.work / "paths", "".join(f"/bench/{path}\n" for path, size in sizes.items() if size < ONE_MIB))
            return Load(name, small, {}, 200, lua=("many.lua", str(listing)), **more)
        case "304":
            return Load(name, small, {"If-None-Match": ""}, 304, **more)
        case "ranges":
            size, headers = sizes[large.removeprefix("/bench/")], {"Range": f"bytes={RANGE}-{2 * RANGE - 1}"}
            return Load(name, large, headers, 206, in_bytes=True, lua=("ranges.lua", str(size), str(RANGE)), **more)
        case _:
            return Load(name, {"1m": of_size(ONE_MIB), "256m": large}[what], {}, 200, in_bytes=True, **more)


def measure(bench: Bench, asked: Load, servers: dict[str, Server], tree: Tree) -> list[Figure]:
    """One short run of each in turn, after a look at what each answers."""
    seconds, rounds = (1, 1) if bench.scale.quick else (4, 5)
    prepared = {name: headers_of(asked, server) for name, server in servers.items()}
    for name, server in servers.items():
        check(name, asked, server, prepared[name], tree)
    figures = {name: Figure(name) for name in servers}
    for _ in range(rounds):
        for name, server in servers.items():
            answered = ask_for(asked, server.port(asked), prepared[name], seconds)
            rate = answered.gib if asked.in_bytes else answered.requests
            figures[name].samples.append(rate)
            print(f"  {name:<18} {rate:12,.3f} {'GiB/s' if asked.in_bytes else 'requests/s'}", flush=True)
    return list(figures.values())


def measure_idle(bench: Bench, asked: Load, servers: dict[str, Server]) -> dict[str, list[Figure]]:
    """Busy connections beside idle ones: how late answers come, and what memory an idle one takes."""
    seconds, rounds = (1, 1) if bench.scale.quick else (4, 5)
    late, memory = ({name: Figure(name) for name in servers} for _ in range(2))
    for round_ in range(rounds):
        for name, server in servers.items():
            # What a server needs to answer at all is none of the idle ones'.
            ask_for(replace(asked, connections=1), server.plain, {}, 1)
            before = settled_kib(server.pid)
            with idle_connections(IDLE, server.plain, asked.path):
                # Later ones find the memory that these leave.
                if round_ == 0:
                    memory[name].samples.append((settled_kib(server.pid) - before) / IDLE)
                late[name].samples.append(ask_for(asked, server.plain, {}, seconds).p99)
            print(f"  {name:<18} {late[name].samples[-1]:8.2f} ms, {memory[name].samples[0]:6.2f} KiB", flush=True)
    return {"serve-busy": list(late.values()), "serve-idle": list(memory.values())}


def headers_of(asked: Load, server: Server) -> dict[str, str]:
    """Each server has its own tag for a file."""
    if "If-None-Match" not in asked.headers:
        return asked.headers
    answer, _ = ask(asked, server, {})
    return {"If-None-Match": answer.headers["ETag"]}


def ask(asked: Load, server: Server, headers: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
    if asked.protocol == "http":
        connection = http.client.HTTPConnection("127.0.0.1", server.plain, timeout=30)
    else:
        # The certificate is for this measurement alone.
        connection = http.client.HTTPSConnection("127.0.0.1", server.tls, timeout=30, context=ssl._create_unverified_context())
    connection.request("GET", asked.path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def check(name: str, asked: Load, server: Server, headers: dict[str, str], tree: Tree) -> None:
    """Who answers with something else is not faster."""
    answer, body = ask(asked, server, headers)
    content = tree.exported / asked.path.lstrip("/")
    expected = {200: lambda: content.read_bytes(), 206: lambda: content.read_bytes()[RANGE : 2 * RANGE], 304: lambda: b""}[asked.status]()
    if answer.status != asked.status or hashlib.sha256(body).digest() != hashlib.sha256(expected).digest():
        raise Failed(f"{name} answers {answer.status} with {len(body)} bytes to {asked.path} {headers}; expected {asked.status}, {len(expected)} bytes")
