"""Measures documents that a registry has never been asked for: a huge one that many want at once, and many small ones."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from loads import Load, ask_for, told_by
from processes import Failed
from results import Figure
from serving import MANY
from works import OURS

from npm_registry import Registry

if TYPE_CHECKING:
    from registries import Contender

#: As npm asks.
HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip"}
#: Versions of the huge document, which then has more than 10 MiB, and packs as those of large packages do.
HUGE = 4_500
#: Seconds before each answer of the upstream.
FAR = 0.05
UPSTREAM = "the upstream itself"
#: In seconds.
PATIENCE = 300


def huge(contenders: dict[str, Contender], upstream: Registry) -> list[Figure]:
    """64 clients ask at once for a document that nobody has asked for. In seconds, until the last has it; of the upstream, until one has."""
    figures = {name: Figure(name, requests=0) for name in contenders} | {UPSTREAM: Figure(UPSTREAM)}
    upstream.delay = FAR
    try:
        for number in range(3):
            for name, at in contenders.items():
                if number and name != OURS:
                    # Who reads and writes the document anew for each client takes a minute.
                    continue
                path = f"/cold-{number}-{at.port}"
                made_ready(upstream, path)
                figures[UPSTREAM].samples.append(seconds_until_all_have(f"{upstream.url}{path}", 1))
                before = upstream.count(path)
                try:
                    figures[name].samples.append(seconds_until_all_have(f"{at.address}{path}", MANY))
                except Failed:
                    if name == OURS:
                        raise
                    figures[name].note = f"not all clients had the document within {PATIENCE} s"
                figures[name].requests = max(figures[name].requests, upstream.count(path) - before)
                print(f"  {name:<18} {figures[name].samples[-1:]} s, {figures[name].requests} requests, the upstream {figures[UPSTREAM].samples[-1]:.3f} s", flush=True)
                del upstream.ready[path]
    finally:
        upstream.delay = 0
    return list(figures.values())


def made_ready(upstream: Registry, path: str) -> None:
    """Written once, so that the upstream's own time is that of sending it."""
    name = path.lstrip("/")
    for version in range(HUGE):
        upstream.publish(name, f"1.{version}.0", description="x" * 400, scripts={"test": f"node {version} --test " * 80})
        del upstream.tarballs[f"{path}/-/{name}-1.{version}.0.tgz"]
    document = json.dumps(upstream.packages.pop(name).document(full=True)).encode()
    if len(document) < 10 << 20:
        raise Failed(f"the huge document has {len(document)} bytes only")
    upstream.ready[path] = (document, gzip.compress(document, 6))


def seconds_until_all_have(url: str, clients: int) -> float:
    given = [part for name, value in HEADERS.items() for part in ("-H", f"{name}: {value}")]
    text = told_by(["h2load", "--h1", "-t1", f"-n{clients}", f"-c{clients}", *given, url], PATIENCE)
    told = re.search(r"finished in ([\d.]+)(us|ms|s)\b", text)
    if not told or f"status codes: {clients} 2xx" not in text:
        raise Failed(f"h2load, {url}:\n{text}")
    return float(told[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[told[2]]


def many(contenders: dict[str, Contender], upstream: Registry, work: Path, seconds: int, rounds: int) -> list[Figure]:
    """64 connections ask for one document after the other, each of which nobody has asked for before."""
    figures = {name: Figure(name) for name in contenders}
    upstream.delay = FAR
    try:
        for number in range(rounds):
            for name, at in contenders.items():
                # No more can be answered than the upstream answers.
                names = [f"many-{at.port}-{number}-{package}" for package in range(round(seconds * MANY / FAR))]
                for package in names:
                    upstream.publish(package, "1.0.0")
                paths = work / "cold.list"
                paths.write_text("".join(f"{at.below}/{package}\n" for package in names))
                load = Load("cold", "/", HEADERS, 200, lua=("once.lua", str(paths)), connections=MANY)
                figures[name].samples.append(ask_for(load, at.port, HEADERS, seconds).requests)
                print(f"  {name:<18} {figures[name].samples[-1]:12,.1f} requests/s", flush=True)
    finally:
        upstream.delay = 0
    return list(figures.values())
