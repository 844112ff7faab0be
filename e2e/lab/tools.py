"""The Go programs of the cluster, compiled once from pinned modules into a cache outside the checkout."""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TOOLS_DIR = Path(__file__).resolve().parent.parent / "tools"

KUBERNETES_VERSION = "v1.34.4"
_KUBERNETES_MINOR = KUBERNETES_VERSION.split(".")[1]


@dataclass(frozen=True)
class Tool:
    """One Go module under tools/ and the programs it builds (program name -> package)."""

    name: str
    programs: dict[str, str]
    variables: tuple[str, ...] = ()

    @property
    def module_dir(self) -> Path:
        return TOOLS_DIR / self.name

    @property
    def flags(self) -> list[str]:
        # Kubernetes says v0.0.0-master without its version variables, and Helm's kubeVersion check then fails.
        ldflags = " ".join(["-s", "-w", *(f"-X {variable}" for variable in self.variables)])
        return ["-trimpath", "-buildvcs=false", "-mod=readonly", f"-ldflags={ldflags}"]

    def key(self) -> str:
        digest = hashlib.sha256()
        for name in ("go.mod", "go.sum"):
            digest.update((self.module_dir / name).read_bytes())
        digest.update(repr((self.flags, sorted(self.programs.items()))).encode())
        return digest.hexdigest()[:16]

    def bin_dir(self) -> Path:
        return cache_root() / f"{self.name}-{self.key()}" / "bin"


TOOLS: tuple[Tool, ...] = (
    Tool(
        "kubernetes",
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
                "kubectl",
            )
        },
        tuple(
            f"{package}.{variable}"
            for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
            for variable in (
                f"gitVersion={KUBERNETES_VERSION}",
                "gitMajor=1",
                f"gitMinor={_KUBERNETES_MINOR}",
            )
        ),
    ),
    Tool("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}),
    Tool("coredns", {"coredns": "github.com/coredns/coredns"}),
    Tool(
        "helm",
        {"helm": "helm.sh/helm/v4/cmd/helm"},
        ("helm.sh/helm/v4/internal/version.version=v4.1.4",),
    ),
    Tool(
        "local-path-provisioner",
        {"local-path-provisioner": "github.com/rancher/local-path-provisioner"},
        ("main.VERSION=v0.0.30",),
    ),
)


def cache_root() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "mirrorfleet-e2e"


@contextmanager
def cache_lock(name: str):
    """Held while one entry of the cache is made, so that a second run waits instead of compiling the same thing."""
    locks = cache_root() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with open(locks / name, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def publish_directory(temporary: Path, final: Path) -> None:
    """Move a finished directory into the cache; whoever came first wins, both have the same content."""
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(temporary, final)
    except OSError:
        if not final.is_dir():
            raise
        shutil.rmtree(temporary)


def build(tool: Tool, report=print) -> Path:
    """Compile `tool` unless its programs are cached; returns the directory of its programs."""
    bin_dir = tool.bin_dir()
    if bin_dir.is_dir():
        return bin_dir
    with cache_lock(tool.name):
        if bin_dir.is_dir():
            return bin_dir
        started = time.monotonic()
        report(f"building {tool.name} ({', '.join(tool.programs)}), once")
        staging = Path(tempfile.mkdtemp(prefix=f".building-{tool.name}-", dir=cache_root()))
        try:
            _compile(tool, staging / "bin")
            publish_directory(staging, bin_dir.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        report(f"built {tool.name} in {time.monotonic() - started:.0f} s")
    return bin_dir


def _compile(tool: Tool, destination: Path) -> None:
    destination.mkdir()
    environment = dict(os.environ, CGO_ENABLED="0", GOWORK="off", GOFLAGS="")
    packages = list(tool.programs.values())
    # One program is named outright (etcd's package is called "server"); several take their packages' names.
    output = f"{destination}/" if len(packages) > 1 else str(destination / next(iter(tool.programs)))
    command = ["nice", "-n", "5", "go", "build", *tool.flags, "-o", output, *packages]
    result = subprocess.run(
        command, cwd=tool.module_dir, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if result.returncode != 0:
        tail = "\n".join(result.stdout.splitlines()[-30:])
        raise RuntimeError(f"building {tool.name} failed:\n{tail}")
    missing = [name for name in tool.programs if not (destination / name).is_file()]
    if missing:
        raise RuntimeError(f"building {tool.name} did not produce {', '.join(missing)}")


def build_all(report=print) -> list[Path]:
    """Every tool's program directory, compiled where needed; together they make the lab's PATH."""
    if shutil.which("go") is None and any(not tool.bin_dir().is_dir() for tool in TOOLS):
        raise RuntimeError("the lab compiles Kubernetes from Go modules: Go 1.25 or newer must be on PATH")
    return [build(tool, report) for tool in TOOLS]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="lab tools", description="Compile the cluster's programs into the cache.")
    parser.parse_args(arguments)
    for directory in build_all(lambda line: print(line, file=sys.stderr)):
        print(directory)
    return 0
