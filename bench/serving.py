"""Measures serving: mirrorfleet from its store, nginx and h2o from the exported tree, each on one core, wrk on the other."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from contenders import Job, Mirrorfleet
from distribution import State, many_packages
from nginx import nginx_command
from processes import AS_ROOT, Failed, fresh, free_port, measured, running
from results import Figure
from syncing import Bench
from upstream import upstream
from works import OURS, SERVE

SERVER_CORE, CLIENT_CORE = "0", "1"
ONE_MIB, LARGE = 1 << 20, 256 << 20
RANGE = 64 << 10
LUA = Path(__file__).resolve().parent / "lua"

NGINX_RULES = """
    open_file_cache max=65536 inactive=10m;
    open_file_cache_valid 10m;
    server {{ listen 127.0.0.1:{port}; root {tree}; }}
"""

H2O = """
{user}
num-threads: 1
pid-file: {work}/h2o.pid
error-log: {work}/h2o-error.log
listen: {{host: 127.0.0.1, port: {port}}}
hosts:
  default:
    paths:
      "/": {{file.dir: {tree}}}
"""


@dataclass(frozen=True)
class Load:
    """What wrk asks for."""

    name: str
    path: str
    headers: dict[str, str]
    status: int
    in_bytes: bool = False
    lua: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tree:
    """The same files, as a store and as an ordinary tree whose top folder has the Mirror's name."""

    data: Path
    exported: Path
    state: State
    work: Path


def serve_works(bench: Bench, wanted: set[str]) -> dict[str, list[Figure]]:
    names = [work.name for work in SERVE if work.name in wanted]
    if not names:
        return {}
    if (os.cpu_count() or 1) < 2:
        raise Failed("serving needs two cores: one for the server and one for wrk")
    work = fresh(bench.work, "serve")
    print("making a store and a tree to serve", flush=True)
    tree = prepare(bench, work)
    figures = {}
    with servers(bench, tree) as ports:
        for name in names:
            print(name, flush=True)
            figures[name] = measure(bench, load(name, tree), ports, tree)
    return figures


def prepare(bench: Bench, work: Path) -> Tree:
    distribution = many_packages(bench.scale.packages, (ONE_MIB, LARGE))
    ours = Mirrorfleet(bench.program)
    with upstream(distribution, work) as source:
        task = Job(source, fresh(work, "job"), source.http)
        ours.run(task)
        ours.check(task, distribution.state(1))
    exported = work / "tree" / "bench"
    exported.parent.mkdir()
    measured([str(bench.program), "export", "--copy", "--data", str(task.copy), "bench", str(exported)], work, 120)
    return Tree(task.copy, exported.parent, distribution.state(1), work)


@contextmanager
def servers(bench: Bench, tree: Tree) -> Iterator[dict[str, int]]:
    """All three at once: those that are not asked do nothing."""
    pinned = ["taskset", "-c", SERVER_CORE]
    ports = {name: free_port() for name in (OURS, "nginx", "h2o")}
    commands = {
        OURS: [str(bench.program), "serve", "--data", str(tree.data), "--listen", f"127.0.0.1:{ports[OURS]}"],
        "nginx": nginx_command(tree.work, "serve-nginx", workers=1, rules=NGINX_RULES.format(port=ports["nginx"], tree=tree.exported)),
        "h2o": ["h2o", "-m", "worker", "-c", str(h2o_config(tree, ports["h2o"]))],
    }
    with ExitStack() as started:
        for name, command in commands.items():
            started.enter_context(running([*pinned, *command], tree.work / f"{name}.log", ready_port=ports[name]))
        yield ports


def h2o_config(tree: Tree, port: int) -> Path:
    return written(tree.work / "h2o.conf", H2O.format(user="user: root" if AS_ROOT else "", work=tree.work, tree=tree.exported, port=port))


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def load(name: str, tree: Tree) -> Load:
    sizes = tree.state.payload

    def of_size(size: int) -> str:
        return f"/bench/{min(sizes, key=lambda path: abs(sizes[path] - size))}"

    small = of_size(5 << 10)
    if name == "serve-many":
        listing = written(tree.work / "paths", "".join(f"/bench/{path}\n" for path, size in sizes.items() if size < ONE_MIB))
        return Load(name, small, {}, 200, lua=("many.lua", str(listing)))
    if name == "serve-ranges":
        large = of_size(LARGE)
        size = sizes[large.removeprefix("/bench/")]
        return Load(name, large, {"Range": f"bytes={RANGE}-{2 * RANGE - 1}"}, 206, in_bytes=True, lua=("ranges.lua", str(size), str(RANGE)))
    return {
        "serve-small": Load(name, small, {}, 200),
        "serve-304": Load(name, small, {"If-None-Match": ""}, 304),
        "serve-1m": Load(name, of_size(ONE_MIB), {}, 200, in_bytes=True),
        "serve-256m": Load(name, of_size(LARGE), {}, 200, in_bytes=True),
    }[name]


def measure(bench: Bench, asked: Load, ports: dict[str, int], tree: Tree) -> list[Figure]:
    """One short run of each in turn, after a look at what each answers."""
    seconds, rounds = (1, 1) if bench.scale.quick else (4, 3)
    prepared = {name: headers_of(asked, port) for name, port in ports.items()}
    for name, port in ports.items():
        check(name, asked, port, prepared[name], tree)
    figures = {name: Figure(name) for name in ports}
    for _ in range(rounds):
        for name, port in ports.items():
            rate = wrk(asked, port, prepared[name], seconds, tree.work)
            figures[name].samples.append(rate)
            print(f"  {name:<18} {rate:12,.3f} {'GiB/s' if asked.in_bytes else 'requests/s'}", flush=True)
    return list(figures.values())


def headers_of(asked: Load, port: int) -> dict[str, str]:
    """Each server has its own tag for a file."""
    if "If-None-Match" not in asked.headers:
        return asked.headers
    answer, _ = ask(port, asked.path, {})
    return {"If-None-Match": answer.headers["ETag"]}


def ask(port: int, path: str, headers: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def check(name: str, asked: Load, port: int, headers: dict[str, str], tree: Tree) -> None:
    """Who answers with something else is not faster."""
    answer, body = ask(port, asked.path, headers)
    content = tree.exported / asked.path.lstrip("/")
    expected = {200: lambda: content.read_bytes(), 206: lambda: content.read_bytes()[RANGE : 2 * RANGE], 304: lambda: b""}[asked.status]()
    if answer.status != asked.status or hashlib.sha256(body).digest() != hashlib.sha256(expected).digest():
        raise Failed(f"{name} answers {answer.status} with {len(body)} bytes to {asked.path} {headers}; expected {asked.status}, {len(expected)} bytes")


def wrk(asked: Load, port: int, headers: dict[str, str], seconds: int, work: Path) -> float:
    """Requests or GiB a second over one connection."""
    fixed = [] if asked.lua and asked.name == "serve-ranges" else [part for key, value in headers.items() for part in ("-H", f"{key}: {value}")]
    script = ["-s", str(LUA / asked.lua[0])] if asked.lua else []
    command = [
        "taskset", "-c", CLIENT_CORE, "wrk", "-t1", "-c1", f"-d{seconds}s", *fixed, *script,
        f"http://127.0.0.1:{port}{asked.path}", *(["--", *asked.lua[1:]] if asked.lua else []),
    ]
    text = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds + 30).stdout
    told = re.search(r"(\d+) requests in ([\d.]+)(m?s), ([\d.]+)([KMGT]?)B read", text)
    if not told or "Non-2xx" in text or "Socket errors" in text:
        raise Failed(f"{' '.join(command)}:\n{text}")
    requests, took, unit, amount, scale = told.groups()
    took = float(took) / (1000 if unit == "ms" else 1)
    gib = float(amount) * 1024.0 ** (" KMGT".index(scale or " ") - 3)
    return gib / took if asked.in_bytes else int(requests) / took
