"""Kinds of other projects as they release them: files of their Go modules, which `go mod download` fetches and checks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .tools import cache_lock, cache_root, publish_directory


@dataclass(frozen=True)
class Release:
    """Definitions of kinds in a Go module."""

    name: str
    module: str
    version: str
    #: As in a go.sum.
    sum: str
    folder: str
    #: A file for each, by its plural.
    files: dict[str, str]

    def definitions(self) -> list[Path]:
        """Kept in the cache."""
        final = cache_root() / f"{self.name}-{self.version}"
        with cache_lock(final.name):
            if not final.is_dir():
                staging = Path(tempfile.mkdtemp(prefix=f".fetching-{final.name}-", dir=cache_root()))
                try:
                    self._copy(self._fetch(), staging)
                    publish_directory(staging, final)
                finally:
                    shutil.rmtree(staging, ignore_errors=True)
        return [final / f"{kind}.yaml" for kind in self.files]

    def _fetch(self) -> Path:
        command = ["go", "mod", "download", "-json", f"{self.module}@{self.version}"]
        result = subprocess.run(command, cwd="/", env=dict(os.environ, GOFLAGS="", GOWORK="off"), capture_output=True, text=True)
        told = json.loads(result.stdout or "{}")
        if result.returncode != 0 or told.get("Sum") != self.sum:
            raise RuntimeError(f"{self.module}@{self.version} cannot be had, or is another one: {told.get('Error') or told.get('Sum')} {result.stderr}")
        return Path(told["Dir"])

    def _copy(self, module: Path, target: Path) -> None:
        for kind, file in self.files.items():
            shutil.copyfile(module / self.folder / file, target / f"{kind}.yaml")


#: PodMonitor and PrometheusRule.
MONITORING = Release(
    "prometheus-operator",
    "github.com/prometheus-operator/prometheus-operator",
    "v0.85.0",
    "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
    "example/prometheus-operator-crd",
    {kind: f"monitoring.coreos.com_{kind}.yaml" for kind in ("podmonitors", "prometheusrules")},
)
#: HTTPRoute.
GATEWAY = Release(
    "gateway-api",
    "sigs.k8s.io/gateway-api",
    "v1.4.1",
    "h1:NPxFutNkKNa8UfLd2CMlEuhIPMQgDQ6DXNKG9sHbJU8=",
    "config/crd/standard",
    {kind: f"gateway.networking.k8s.io_{kind}.yaml" for kind in ("httproutes",)},
)
