"""A real two-node Kubernetes cluster on one machine, for tests; see README.md beside this package."""

from .cluster import CAPABILITIES, Cluster, ExistingCluster, condition_of
from .control import CommandFailed
from .images import BUSYBOX_IMAGE, write_image
from .own import HIDDEN_ON_NODES, Lab, open_cluster
from .waiting import LabError, NotSupported, tail, wait_until

__all__ = [
    "BUSYBOX_IMAGE",
    "CAPABILITIES",
    "Cluster",
    "CommandFailed",
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
