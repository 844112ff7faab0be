#!/usr/bin/env python3
"""Installs the programs that cargo calls in the tests: as ready packages where the Python index has them, else compiled once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile

from environment import CARGO_TOOLS, cargo_tools_root


def as_package(tool: str, version: str) -> bool:
    """A wheel that holds nothing but the program; no package of the machine's Python is touched."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check"]
    command += ["--root-user-action", "ignore", "--target", str(cargo_tools_root() / tool), f"astral-dev-toolchain-{tool}=={version}"]
    if subprocess.run(command, stdin=subprocess.DEVNULL).returncode != 0:
        return False
    found = next((cargo_tools_root() / tool).rglob(f"bin/{tool}"), None)
    if found is None:
        return False
    shutil.copy(found, program(tool))
    return True


def compiled(tool: str, version: str) -> None:
    print(f"compiling {tool} {version} (once)", flush=True)
    environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
    # Not below the checkout: its .cargo/config.toml is meant for our own program.
    with tempfile.TemporaryDirectory() as elsewhere:
        command = ["cargo", "install", "--quiet", tool, "--version", version, "--locked", "--root", str(cargo_tools_root())]
        subprocess.run(command, cwd=elsewhere, env=environment, stdin=subprocess.DEVNULL, check=True)


def program(tool: str):
    return cargo_tools_root() / "bin" / tool


def main() -> None:
    (cargo_tools_root() / "bin").mkdir(parents=True, exist_ok=True)
    for tool, version in CARGO_TOOLS.items():
        if not program(tool).exists() and not as_package(tool, version):
            compiled(tool, version)


if __name__ == "__main__":
    main()
