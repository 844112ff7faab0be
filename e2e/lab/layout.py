"""Names, addresses and directories of a lab: what every other module agrees on.

The addresses exist only inside the lab's own network namespace, so labs cannot collide with each other or
with the machine's network.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

BRIDGE = "lab0"
LAB_IP = "10.90.0.1"
API_SERVER_IP = LAB_IP
API_SERVER_PORT = 6443
POD_RANGE = "10.91.0.0/16"
SERVICE_RANGE = "10.92.0.0/16"
KUBERNETES_SERVICE_IP = "10.92.0.1"
DNS_SERVICE_IP = "10.92.0.10"
# Any name under this domain leads from pods (and from the lab) to servers that run in the lab.
LAB_DOMAIN = "lab.test"


@dataclass(frozen=True)
class NodeAddress:
    name: str
    region: str
    zone: str
    ip: str
    pod_range: str
    pod_gateway: str
    interface: str  # the bridge's end of the node's cable


# A lab has the first two, or all of them: three regions, one of them on two nodes.
NODES: tuple[NodeAddress, ...] = (
    NodeAddress("node-a", "region-a", "zone-a1", "10.90.0.11", "10.91.1.0/24", "10.91.1.1", "cable-a"),
    NodeAddress("node-b", "region-b", "zone-b1", "10.90.0.12", "10.91.2.0/24", "10.91.2.1", "cable-b"),
    NodeAddress("node-c", "region-c", "zone-c1", "10.90.0.13", "10.91.3.0/24", "10.91.3.1", "cable-c"),
    NodeAddress("node-d", "region-b", "zone-b2", "10.90.0.14", "10.91.4.0/24", "10.91.4.1", "cable-d"),
)
FEW_NODES, ALL_NODES = 2, len(NODES)


@dataclass(frozen=True)
class Layout:
    """The work directory of one lab."""

    workdir: Path

    @property
    def identity(self) -> str:
        """Names what a lab leaves outside its namespaces (its cgroups), so that it is provably its own."""
        return "mirrorfleet-e2e-" + hashlib.sha256(str(self.workdir).encode()).hexdigest()[:10]

    @property
    def control(self) -> Path:
        return self.workdir / "control"

    @property
    def lab_socket(self) -> Path:
        return self.control / "lab.sock"

    def node_socket(self, node: str) -> Path:
        return self.control / f"{node}.sock"

    @property
    def keeper_lock(self) -> Path:
        return self.control / "keeper.lock"

    @property
    def keeper_pid(self) -> Path:
        return self.control / "keeper.pid"

    @property
    def api_port(self) -> Path:
        return self.control / "api-port"

    @property
    def logs(self) -> Path:
        return self.workdir / "logs"

    def log(self, component: str) -> Path:
        return self.logs / f"{component}.log"

    @property
    def audit_log(self) -> Path:
        return self.logs / "audit.jsonl"

    @property
    def credentials(self) -> Path:
        return self.workdir / "credentials"

    @property
    def config(self) -> Path:
        return self.workdir / "config"

    @property
    def etcd(self) -> Path:
        return self.workdir / "etcd"

    @property
    def nodes(self) -> Path:
        return self.workdir / "nodes"

    @property
    def kubeconfig(self) -> Path:
        """For clients outside the lab, through a loopback port of the machine."""
        return self.workdir / "kubeconfig"

    def node_disk(self, node: str) -> Path:
        return self.nodes / node / "disk"
