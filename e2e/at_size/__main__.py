"""A fleet at size on a real API server: `python3 -m at_size [restart [MIRRORS] | publication]`, as root, in `make long`.

etcd and the API server run in a network namespace of their own, without controllers and without kubelets: pods are
objects with loopback addresses, at all of which one server answers.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from lab import tools
from lab.layout import API_SERVER_IP

from . import publication, restart
from .cluster import Cluster

MIRRORS = 500
IN_NAMESPACE = "MIRRORFLEET_AT_SIZE"


def within_a_namespace(arguments: list[str]) -> None:
    tools.build_all(lambda line: print(line, file=sys.stderr, flush=True))
    for measured in arguments[:1] or ["restart", "publication"]:
        argv = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-m", "at_size", measured, *arguments[1:]]
        if code := subprocess.run(argv, env={**os.environ, IN_NAMESPACE: "1"}, stdin=subprocess.DEVNULL).returncode:
            sys.exit(code)


def main(arguments: list[str]) -> None:
    if os.environ.get(IN_NAMESPACE) is None:
        within_a_namespace(arguments)
        return
    measures: dict[str, Callable[[Cluster], str]] = {
        "restart": lambda cluster: restart.measure(cluster, int(arguments[1]) if len(arguments) > 1 else MIRRORS),
        "publication": publication.measure,
    }
    for command in ("link set lo up", f"addr add {API_SERVER_IP}/32 dev lo"):
        subprocess.run(["ip", *command.split()], check=True)
    with tempfile.TemporaryDirectory(prefix="mirrorfleet-at-size-") as workdir, Cluster(Path(workdir)) as cluster:
        print(f"{measures[arguments[0]](cluster)}; 1 passed", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
