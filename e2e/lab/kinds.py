"""Kinds of other projects as they release them: files of their Go modules, which `go mod download` fetches and checks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .tools import cache_lock, cache_root, publish_directory

MODULE = "github.com/prometheus-operator/prometheus-operator"
VERSION = "v0.85.0"
#: As in a go.sum.
SUM = "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s="
FOLDER = "example/prometheus-operator-crd"
KINDS = ("podmonitors", "prometheusrules")


def monitoring_kinds() -> list[Path]:
    """The definitions of PodMonitor and PrometheusRule, kept in the cache."""
    final = cache_root() / f"prometheus-operator-{VERSION}"
    with cache_lock(final.name):
        if not final.is_dir():
            staging = Path(tempfile.mkdtemp(prefix=f".fetching-{final.name}-", dir=cache_root()))
            try:
                _copy(_module(), staging)
                publish_directory(staging, final)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    return [final / f"{kind}.yaml" for kind in KINDS]


def _module() -> Path:
    command = ["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"]
    result = subprocess.run(command, cwd="/", env=dict(os.environ, GOFLAGS="", GOWORK="off"), capture_output=True, text=True)
    told = json.loads(result.stdout or "{}")
    if result.returncode != 0 or told.get("Sum") != SUM:
        raise RuntimeError(f"{MODULE}@{VERSION} cannot be had, or is another one: {told.get('Error') or told.get('Sum')} {result.stderr}")
    return Path(told["Dir"])


def _copy(module: Path, target: Path) -> None:
    for kind in KINDS:
        shutil.copyfile(module / FOLDER / f"monitoring.coreos.com_{kind}.yaml", target / f"{kind}.yaml")
