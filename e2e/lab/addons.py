"""What runs in every lab beside Kubernetes itself: cluster DNS and the default storage class."""

from __future__ import annotations

from pathlib import Path

from .controlplane import local_path_config
from .images import COREDNS_IMAGE
from .layout import DNS_SERVICE_IP, LAB_DOMAIN, LAB_IP

_MANIFESTS = Path(__file__).resolve().parent / "manifests"

STORAGE_CLASS = "local-path"


def cluster_dns() -> str:
    text = (_MANIFESTS / "coredns.yaml").read_text()
    values = {
        "COREDNS_IMAGE": COREDNS_IMAGE,
        "DNS_SERVICE_IP": DNS_SERVICE_IP,
        "LAB_DOMAIN": LAB_DOMAIN,
        "LAB_IP": LAB_IP,
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def storage() -> list[dict]:
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "local-path-storage"}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "local-path-config", "namespace": "local-path-storage"},
            "data": local_path_config(),
        },
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": STORAGE_CLASS,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "rancher.io/local-path",
            "volumeBindingMode": "WaitForFirstConsumer",
            "reclaimPolicy": "Delete",
            # Nothing here carries an expansion out; a test plays the volume plugin by patching the claim's status.
            "allowVolumeExpansion": True,
        },
    ]


def local_volume(node: str, name: str, path: str, megabytes: int, storage_class: str) -> list[dict]:
    """A PersistentVolume for a file system that is mounted on one node, and the class to claim it by."""
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": storage_class},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": f"{megabytes}Mi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": storage_class,
                "local": {"path": path},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            },
        },
    ]


def write_provisioner_config(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in local_path_config().items():
        (directory / name).write_text(content)
