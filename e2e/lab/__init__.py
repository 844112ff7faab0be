"""A real Kubernetes cluster of two or four nodes on one machine, for tests."""

from .cluster import CAPABILITIES, Cluster, ExistingCluster, condition_of
from .control import CommandFailed
from .images import BUSYBOX_IMAGE, write_image
from .layout import ALL_NODES, FEW_NODES
from .own import HIDDEN_ON_NODES, Lab, open_cluster
from .waiting import LabError, NotSupported, tail, wait_until

__all__ = [
    "ALL_NODES",
    "BUSYBOX_IMAGE",
    "CAPABILITIES",
    "Cluster",
    "CommandFailed",
    "FEW_NODES",
    "HIDDEN_ON_NODES",
    "ExistingCluster",
    "Lab",
    "LabError",
    "NotSupported",
    "condition_of",
    "open_cluster",
    "tail",
    "wait_until",
    "write_image",
]
