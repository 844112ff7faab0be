"""Measures how long npm takes for what a lock file names, through registries and from the upstream itself, which is far away."""

from __future__ import annotations

import json
import time
from pathlib import Path

from loads import CLIENT_CORE
from processes import Failed, fresh
from results import Figure
from syncing import Bench

from acceptance.npm_clients import CLIENTS, project
from npm_registry import Registry

#: Packages of the lock file, and of those a tarball's bytes (about).
PACKAGES, TARBALL = 1_000, 8 << 10
#: Seconds before each answer of the upstream.
FAR = 0.05


def install(bench: Bench, name: str, addresses: dict[str, str], upstream: Registry) -> list[Figure]:
    """By registries that have never heard of these packages, or have them all. npm itself has nothing of them."""
    count, rounds = (PACKAGES // 10, 1) if bench.scale.quick else (PACKAGES, 3)
    is_warm = name.endswith("warm")
    figures = {contender: Figure(contender) for contender in addresses}
    upstream.delay = FAR
    try:
        for number in range(rounds):
            if number == 0 or not is_warm:
                packages = published(upstream, f"{name}-{number}", count)
            for contender, address in addresses.items():
                if is_warm and number == 0:
                    seconds_of(bench.work, packages, address)
                figures[contender].samples.append(seconds_of(bench.work, packages, address))
                print(f"  {contender:<18} {figures[contender].samples[-1]:8.2f} s", flush=True)
    finally:
        upstream.delay = 0
    return list(figures.values())


def published(upstream: Registry, prefix: str, count: int) -> dict[str, str]:
    """Packages that each have several versions; the newest one of each with its integrity."""
    for number in range(count):
        for minor in range(4):
            upstream.publish(f"{prefix}-{number}", f"1.{minor}.0", content={"data": f"{number}.{minor}." * (TARBALL // 8)} if minor == 3 else None)
    names = [f"{prefix}-{number}" for number in range(count)]
    return {name: upstream.packages[name].versions["1.3.0"]["dist"]["integrity"] for name in names}


def seconds_of(work: Path, packages: dict[str, str], address: str) -> float:
    """One `npm ci`, of which all is there in the end; npm compares it with the lock file."""
    wanted = dict.fromkeys(packages, "1.3.0")
    folder = project(fresh(work, "install"), "project", wanted)
    locked = {
        f"node_modules/{name}": {"version": "1.3.0", "resolved": f"{address}/{name}/-/{name}-1.3.0.tgz", "integrity": integrity}
        for name, integrity in packages.items()
    }
    top = {"name": "project", "version": "1.0.0", "dependencies": wanted}
    (folder / "package-lock.json").write_text(json.dumps({"name": "project", "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": {"": top, **locked}}))
    begun = time.monotonic()
    CLIENTS["npm12"].run(
        folder, "ci", "--ignore-scripts", "--no-audit", "--no-fund", registry=f"{address}/",
        enter=lambda command, _folder: ["taskset", "-c", CLIENT_CORE, *command],
    )  # fmt: skip
    seconds = time.monotonic() - begun
    installed = sum((folder / "node_modules" / name / "package.json").exists() for name in packages)
    if installed != len(packages):
        raise Failed(f"npm has installed {installed} of {len(packages)} packages from {address}")
    return seconds
