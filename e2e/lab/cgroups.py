"""The cgroup directories of a lab: one tree per node in every hierarchy, and their removal.

They are the one thing that the end of the namespaces does not take away.
"""

from __future__ import annotations

import os
import time
from pathlib import Path


def _hierarchies() -> list[tuple[str, Path]]:
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind = after.split(" ", 1)[0]
        if kind in ("cgroup", "cgroup2"):
            found.append((kind, Path(before.split(" ")[4])))
    return found


def create(identity: str, node: str) -> str:
    """Make a node's root in every hierarchy; returns its name as the kubelet's `cgroupRoot` wants it."""
    for kind, hierarchy in _hierarchies():
        parent = hierarchy
        for part in (identity, node):
            if kind == "cgroup2":
                _enable_controllers(parent)
            parent = parent / part
            parent.mkdir(exist_ok=True)
            # A new cpuset is empty on cgroup v1, and nothing can run in an empty one.
            for setting in ("cpuset.cpus", "cpuset.mems"):
                file = parent / setting
                if kind == "cgroup" and file.exists() and not file.read_text().strip():
                    file.write_text((parent.parent / setting).read_text())
        if kind == "cgroup2":
            _enable_controllers(parent)
    return f"/{identity}/{node}"


def _enable_controllers(directory: Path) -> None:
    available = (directory / "cgroup.controllers").read_text().split()
    for controller in available:
        try:
            (directory / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError:
            pass  # one that this machine keeps for itself; the kubelet says so if it needs it


def remove(identity: str, node: str = "", timeout: float = 10) -> None:
    """Remove the lab's trees, or one node's. Processes of a dead namespace may take a moment to leave them."""
    roots = [hierarchy / identity / node for _, hierarchy in _hierarchies()]
    deadline = time.monotonic() + timeout
    for root in roots:
        while root.is_dir():
            try:
                for directory, _, _ in os.walk(root, topdown=False):
                    os.rmdir(directory)
            except FileNotFoundError:
                continue
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def left_over(identity: str) -> list[Path]:
    return [hierarchy / identity for _, hierarchy in _hierarchies() if (hierarchy / identity).is_dir()]
