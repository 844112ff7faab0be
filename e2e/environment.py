"""What the test programs find in their environment: our own caches on PATH, and nothing of the person's set-up."""

from __future__ import annotations

import os
from pathlib import Path

CARGO_DENY_VERSION = "0.20.2"


def cache_root() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mirrorfleet"


def cargo_deny_root() -> Path:
    return cache_root() / f"cargo-deny-{CARGO_DENY_VERSION}"


def test_environment() -> dict[str, str]:
    """Variables to add: the pinned tools come first on PATH; sbin is where Debian keeps nginx."""
    from lab import tools

    places = [*(str(tool.bin_dir()) for tool in tools.TOOLS), str(cargo_deny_root() / "bin")]
    path = os.pathsep.join([*places, os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return {"PATH": path, "CARGO_TERM_COLOR": "never", "LC_ALL": "C.UTF-8"}
