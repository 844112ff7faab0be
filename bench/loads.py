"""What clients ask a server for, and the programs that ask: wrk for HTTP/1.1, h2load for h2. Each is bounded in time and in
connections, and has a core of its own."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from processes import Failed

CLIENT_CORE = "1"
LUA = Path(__file__).resolve().parent / "lua"
# h2 has several requests on one connection: as many at once as HTTP/1.1 has with as many connections.
STREAMS = 8


@dataclass(frozen=True)
class Load:
    """What is asked for."""

    name: str
    path: str
    headers: dict[str, str]
    status: int
    in_bytes: bool = False
    lua: tuple[str, ...] = ()
    connections: int = 1
    protocol: str = "http"


@dataclass(frozen=True)
class Answered:
    """What came of a load."""

    requests: float
    gib: float
    # In milliseconds; 99 of 100 requests were answered in less.
    p99: float | None = None


def ask_for(asked: Load, port: int, headers: dict[str, str], seconds: int) -> Answered:
    """Requests and GiB a second."""
    return h2load(asked, port, seconds) if asked.protocol == "h2" else wrk(asked, port, headers, seconds)


def wrk(asked: Load, port: int, headers: dict[str, str], seconds: int) -> Answered:
    fixed = [] if asked.lua and asked.lua[0] == "ranges.lua" else [part for key, value in headers.items() for part in ("-H", f"{key}: {value}")]
    script = ["-s", str(LUA / asked.lua[0])] if asked.lua else []
    text = told_by([
        # A large file by many connections takes longer than wrk's patience of two seconds, and is no error.
        "wrk", "-t1", f"-c{asked.connections}", f"-d{seconds}s", "--timeout", "60s", "--latency", *fixed, *script,
        f"{asked.protocol}://127.0.0.1:{port}{asked.path}", *(["--", *asked.lua[1:]] if asked.lua else []),
    ], seconds)
    told = re.search(r"(\d+) requests in ([\d.]+)(m?s), ([\d.]+)([KMGT]?)B read", text)
    late = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", text)
    if not told or not late or "Non-2xx" in text or "Socket errors" in text:
        raise Failed(f"wrk, {asked}:\n{text}")
    requests, took, unit, amount, scale = told.groups()
    took = float(took) / (1000 if unit == "ms" else 1)
    return Answered(int(requests) / took, bytes_of(amount, scale) / took, float(late[1]) * {"us": 0.001, "ms": 1, "s": 1000}[late[2]])


def h2load(asked: Load, port: int, seconds: int) -> Answered:
    connections = max(1, asked.connections // STREAMS)
    text = told_by([
        "h2load", "-t1", f"-c{connections}", f"-m{STREAMS}", f"--duration={seconds}", f"https://127.0.0.1:{port}{asked.path}",
    ], seconds)
    told = re.search(r"finished in [\d.]+m?s, ([\d.]+) req/s, ([\d.]+)([KMGT]?)B/s", text)
    if not told or " 0 failed, 0 errored, 0 timeout" not in text or "Application protocol: h2" not in text:
        raise Failed(f"h2load, {asked}:\n{text}")
    return Answered(float(told[1]), bytes_of(told[2], told[3]))


def told_by(command: list[str], seconds: int) -> str:
    done = subprocess.run(["taskset", "-c", CLIENT_CORE, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds + 30)
    return done.stdout + done.stderr


def bytes_of(amount: str, scale: str) -> float:
    """In GiB."""
    return float(amount) * 1024.0 ** (" KMGT".index(scale or " ") - 3)


@contextmanager
def idle_connections(count: int, port: int, path: str) -> Iterator[None]:
    """Connections that have had an answer each, and say nothing more."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with ExitStack() as opened:
        held = [opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30)) for _ in range(count)]
        for connection in held:
            connection.sendall(request)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += connection.recv(65536)
            head, _, body = answer.partition(b"\r\n\r\n")
            left = int(re.search(rb"(?i)content-length: (\d+)", head)[1]) - len(body)
            while left > 0:
                left -= len(connection.recv(65536))
        yield


def resident_kib(pid: int) -> int:
    """Memory that a process and the children that it started hold."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) + sum(resident_kib(int(child)) for child in children)


def settled_kib(pid: int) -> int:
    """As soon as it no longer changes."""
    before = -1
    while (now := resident_kib(pid)) != before:
        before = now
        time.sleep(0.2)
    return now
