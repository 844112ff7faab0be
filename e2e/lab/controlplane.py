"""The control plane's programs and how each is started."""

from __future__ import annotations

import json
from pathlib import Path

from .credentials import Credentials
from .images import BUSYBOX_IMAGE
from .layout import API_SERVER_IP, API_SERVER_PORT, SERVICE_RANGE, Layout

COMPONENTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "local-path-provisioner",
)

_ETCD_URL = "http://127.0.0.1:2379"
NODE_MONITOR_GRACE_SECONDS = 16
# How long pods stay on a lost node: the default of five minutes would make every node test five minutes long.
EVICTION_SECONDS = 20

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        # Which ConfigMaps they name stands in what is written.
        {"level": "Request", "verbs": ["create", "update", "patch"], "resources": [{"group": "mirrorfleet.dev", "resources": ["upstreams"]}]},
        {"level": "Metadata"},
    ],
}


def write_config(layout: Layout) -> None:
    layout.config.mkdir(parents=True, exist_ok=True)
    (layout.config / "audit-policy.json").write_text(json.dumps(_AUDIT_POLICY))


def local_path_config() -> dict[str, str]:
    """What the provisioner and its helper pods read. Volumes are for everyone: a host path knows no fsGroup."""
    return {
        "config.json": json.dumps(
            {
                "nodePathMap": [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": ["/var/lib/local-path"]}],
                "cmdTimeoutSeconds": 60,
            }
        ),
        "setup": '#!/bin/sh\nset -eu\nmkdir -m 0777 -p "$VOL_DIR"\n',
        "teardown": '#!/bin/sh\nset -eu\nrm -rf "$VOL_DIR"\n',
        "helperPod.yaml": json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "helper-pod"},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [
                        {"name": "helper-pod", "image": BUSYBOX_IMAGE, "imagePullPolicy": "IfNotPresent"}
                    ],
                },
            }
        ),
    }


def arguments(component: str, layout: Layout, credentials: Credentials) -> list[str]:
    def kubeconfig(user: str) -> str:
        return f"--kubeconfig={credentials.kubeconfig(user)}"

    def file(name: str) -> Path:
        return credentials.path(name)

    if component == "etcd":
        return [
            "etcd",
            f"--data-dir={layout.etcd}",
            f"--listen-client-urls={_ETCD_URL}",
            f"--advertise-client-urls={_ETCD_URL}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            # The data does not outlive the machine, so it need not survive a power loss.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]
    if component == "kube-apiserver":
        return [
            "kube-apiserver",
            f"--etcd-servers={_ETCD_URL}",
            f"--advertise-address={API_SERVER_IP}",
            f"--secure-port={API_SERVER_PORT}",
            f"--cert-dir={layout.config / 'apiserver'}",
            f"--tls-cert-file={file('kube-apiserver.crt')}",
            f"--tls-private-key-file={file('kube-apiserver.key')}",
            f"--client-ca-file={file('ca.crt')}",
            f"--token-auth-file={file('tokens.csv')}",
            f"--kubelet-client-certificate={file('kubelet-client.crt')}",
            f"--kubelet-client-key={file('kubelet-client.key')}",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={file('service-account.key')}",
            f"--service-account-signing-key-file={file('service-account.key')}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--authorization-mode=Node,RBAC",
            # The second as OpenShift has it: who owns what is not changed without the right to it.
            "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
            "--allow-privileged=true",
            f"--default-not-ready-toleration-seconds={EVICTION_SECONDS}",
            f"--default-unreachable-toleration-seconds={EVICTION_SECONDS}",
            f"--audit-policy-file={layout.config / 'audit-policy.json'}",
            f"--audit-log-path={layout.audit_log}",
            # Written before the answer: a test that counts writes never reads too early.
            "--audit-log-mode=blocking",
            "--audit-log-maxsize=4096",
        ]
    if component == "kube-controller-manager":
        return [
            "kube-controller-manager",
            kubeconfig("system:kube-controller-manager"),
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={file('service-account.key')}",
            f"--root-ca-file={file('ca.crt')}",
            f"--cluster-signing-cert-file={file('ca.crt')}",
            f"--cluster-signing-key-file={file('ca.key')}",
            f"--cert-dir={layout.config / 'controller-manager'}",
            # Unless told otherwise it makes a directory under /usr.
            f"--flex-volume-plugin-dir={layout.config / 'volumeplugins'}",
            "--leader-elect=false",
            "--node-monitor-period=1s",
            f"--node-monitor-grace-period={NODE_MONITOR_GRACE_SECONDS}s",
        ]
    if component == "kube-scheduler":
        return [
            "kube-scheduler",
            kubeconfig("system:kube-scheduler"),
            f"--cert-dir={layout.config / 'scheduler'}",
            "--leader-elect=false",
        ]
    if component == "local-path-provisioner":
        return [
            "local-path-provisioner",
            "start",
            kubeconfig("admin"),
            f"--config={layout.config / 'local-path' / 'config.json'}",
            f"--helper-pod-file={layout.config / 'local-path' / 'helperPod.yaml'}",
            f"--helper-image={BUSYBOX_IMAGE}",
            "--namespace=local-path-storage",
            "--service-account-name=default",
            "--configmap-name=local-path-config",
            "--provisioning-retry-count=0",
            "--deletion-retry-count=0",
        ]
    raise KeyError(component)


