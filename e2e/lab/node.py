"""One worker node: namespaces of its own on a cable to the lab's bridge, with containerd, kubelet and kube-proxy.

Its disk is a directory that survives node loss; everything else (processes, network, mounts) goes with its process 1.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from pathlib import Path

from . import cgroups
from .control import Namespaces
from .credentials import Credentials
from .images import PAUSE_IMAGE
from .keeper import supervisor_command
from .layout import DNS_SERVICE_IP, LAB_IP, NODES, POD_RANGE, BRIDGE, Layout, NodeAddress
from .waiting import LabError, wait_until

DAEMONS = ("containerd", "kubelet", "kube-proxy")
_CONTAINERD_SOCKET = "/run/containerd/containerd.sock"


class Node:
    def __init__(
        self, lab: Namespaces, layout: Layout, credentials: Credentials, address: NodeAddress, environment: dict
    ) -> None:
        self.lab = lab
        self.layout = layout
        self.credentials = credentials
        self.address = address
        self.name = address.name
        self.directory = layout.nodes / address.name
        self.inside = Namespaces(layout.node_socket(address.name), environment)

    # Power

    def power_on(self) -> None:
        """Namespaces, cable, disk and cgroups: a machine that has booted but runs nothing yet."""
        self.lab.start(self.name, supervisor_command(self.inside.socket_path), self.layout.log(f"{self.name}-machine"))

        def booted() -> bool:
            self.lab.check(self.name)
            return self.inside.is_up()

        wait_until(booted, 120, f"{self.name} to boot", interval=0.02)
        self._plug_in()
        self._mount_disks()
        self.cgroup_root = cgroups.create(self.layout.identity, self.name)

    def power_off(self) -> None:
        """The machine is gone at once: nothing is stopped, flushed or told."""
        pid = self.inside.pid()
        self.lab.signal(self.name, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), 120, f"{self.name} to lose power", interval=0.02)
        cgroups.remove(self.layout.identity, self.name)

    def is_on(self) -> bool:
        return self.inside.is_up()

    def _plug_in(self) -> None:
        address = self.address
        # Moved by process id, so this part runs with the machine's /proc and only the lab's network.
        pid = self.inside.pid()
        script = f"""
            ip link add {address.interface} type veth peer name eth0 netns {pid}
            ip link set {address.interface} master {BRIDGE} up
        """
        self.lab.run_outside_pid_namespace(["sh", "-euc", script])
        others = "\n".join(
            f"ip route add {other.pod_range} via {other.ip}" for other in NODES if other.name != self.name
        )
        self.inside.shell(
            f"""
            ip link set lo up
            ip addr add {address.ip}/24 dev eth0
            ip link set eth0 up
            ip route add default via {LAB_IP}
            {others}
            echo 1 > /proc/sys/net/ipv4/ip_forward
            echo {self.name} > /proc/sys/kernel/hostname
            """
        )

    def unplug(self) -> None:
        self.lab.shell(f"ip link set {self.address.interface} down")

    def plug_in_again(self) -> None:
        self.lab.shell(f"ip link set {self.address.interface} up")

    def _mount_disks(self) -> None:
        disk = self.layout.node_disk(self.name)
        for name in ("lib", "log"):
            (disk / name).mkdir(parents=True, exist_ok=True)
        # All of /var/lib and /var/log are the node's own, so that no directory has to be made on the machine itself.
        self.inside.shell(
            f"""
            mount --make-rshared /
            mount -t tmpfs -o mode=755 tmpfs /run
            mount --bind {shlex.quote(str(disk / "lib"))} /var/lib
            mount --bind {shlex.quote(str(disk / "log"))} /var/log
            # Shared with containers, but not with the directories that they are bound from: a mount must not show up
            # twice, or the kubelet takes a volume to be in use elsewhere.
            for mount in /var/lib /var/log; do mount --make-private $mount; mount --make-shared $mount; done
            """
        )
        for volume in self._small_volumes():
            self._mount_small_volume(volume)

    # Programs

    def start_containers(self) -> None:
        """containerd, with the lab's images: what needs no API server."""
        self.write_config()
        self.start("containerd")
        wait_until(self._containerd_answers, 120, f"containerd on {self.name}", interval=0.1)
        self.import_images()

    def join(self) -> None:
        """kubelet and kube-proxy. The API server must answer: both wait long before they ask a second time."""
        self.start("kubelet")
        self.start("kube-proxy")

    def _containerd_answers(self) -> bool:
        self.inside.check("containerd")
        return self.inside.run(["ctr", "version"], check=False).returncode == 0

    def start(self, daemon: str) -> None:
        self.inside.start(daemon, self._arguments(daemon), self.layout.log(f"{self.name}-{daemon}"))

    def stop(self, daemon: str) -> None:
        self.inside.stop(daemon)

    def _arguments(self, daemon: str) -> list[str]:
        if daemon == "containerd":
            return ["containerd", f"--config={self.directory / 'containerd.toml'}"]
        if daemon == "kube-proxy":
            return ["kube-proxy", f"--config={self.directory / 'kube-proxy.json'}", f"--hostname-override={self.name}"]
        region, zone = self.address.region, self.address.zone
        return [
            "kubelet",
            f"--config={self.directory / 'kubelet.json'}",
            f"--kubeconfig={self.credentials.kubeconfig(f'system:node:{self.name}')}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address.ip}",
            f"--node-labels=topology.kubernetes.io/region={region},topology.kubernetes.io/zone={zone}",
        ]

    def write_config(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        network = self.directory / "cni"
        network.mkdir(exist_ok=True)
        (network / "10-pods.conflist").write_text(json.dumps(self._pod_network(), indent=1))
        (self.directory / "resolv.conf").write_text("")
        (self.directory / "kubelet.json").write_text(json.dumps(self._kubelet(), indent=1))
        (self.directory / "kube-proxy.json").write_text(json.dumps(self._kube_proxy(), indent=1))
        (self.directory / "containerd.toml").write_text(
            f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
address = "{_CONTAINERD_SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd-opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
# Root may lack CAP_SYS_RESOURCE here; every sandbox fails on lowering its score otherwise.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = {json.dumps(str(network))}

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""
        )

    def _pod_network(self) -> dict:
        return {
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isGateway": True,
                    "hairpinMode": True,
                    "ipMasq": False,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": "/var/lib/cni/networks",
                        "ranges": [[{"subnet": self.address.pod_range}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }

    def _kubelet(self) -> dict:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.credentials.path("ca.crt"))},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": self.cgroup_root,
            "clusterDNS": [DNS_SERVICE_IP],
            "clusterDomain": "cluster.local",
            "containerRuntimeEndpoint": f"unix://{_CONTAINERD_SOCKET}",
            # The machine's own disk may be nearly full, however large it is, and images cannot be pulled again.
            "evictionHard": {
                "memory.available": "50Mi",
                "nodefs.available": "200Mi",
                "nodefs.inodesFree": "1%",
                "imagefs.available": "200Mi",
            },
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "failSwapOn": False,
            "maxPods": 100,
            "nodeLeaseDurationSeconds": 8,
            # Checked often, but written only on change: heartbeats are leases, and the audit log stays readable.
            "nodeStatusUpdateFrequency": "2s",
            "nodeStatusReportFrequency": "5m",
            "oomScoreAdj": 0,
            "resolvConf": str(self.directory / "resolv.conf"),
            "syncFrequency": "10s",
            "volumePluginDir": "/var/lib/kubelet/volumeplugins",
        }

    def _kube_proxy(self) -> dict:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(self.credentials.kubeconfig("system:kube-proxy"))},
            "clusterCIDR": POD_RANGE,
            "conntrack": {"maxPerCore": 0, "min": 0},
            "mode": "nftables",
            "oomScoreAdj": 0,
        }

    # Images and volumes

    def import_images(self) -> None:
        """Import what was loaded into the lab and is not on this node's disk yet."""
        record = self.directory / "imported.json"
        done = set(json.loads(record.read_text())) if record.exists() else set()
        archives = self.layout.workdir / "images.json"
        wanted = json.loads(archives.read_text()) if archives.exists() else []
        for path, stamp in wanted:
            if f"{path} {stamp}" in done:
                continue
            if not os.path.exists(path):
                print(f"{self.name}: {path} is gone and is not imported", file=sys.stderr)
                continue
            self.inside.run(["ctr", "--namespace=k8s.io", "images", "import", path])
            done.add(f"{path} {stamp}")
        record.write_text(json.dumps(sorted(done)))

    def _small_volumes(self) -> list[str]:
        return sorted(path.stem for path in self.layout.node_disk(self.name).glob("small-volumes/*.ext4"))

    def make_small_volume(self, name: str, megabytes: int) -> str:
        """A file system of its own that really fills up; returns its path on the node. It is back after a node loss."""
        image = self.layout.node_disk(self.name) / "small-volumes" / f"{name}.ext4"
        if image.exists():
            raise LabError(f"{self.name} has a small volume {name} already")
        image.parent.mkdir(parents=True, exist_ok=True)
        with open(image, "wb") as file:
            file.truncate(megabytes << 20)
        self.inside.run(["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", "-E", "root_owner=0:0", image])
        path = self._mount_small_volume(name)
        self.inside.shell(f"rmdir {path}/lost+found; chmod 0777 {path}")
        return path

    def _mount_small_volume(self, name: str) -> str:
        image = self.layout.node_disk(self.name) / "small-volumes" / f"{name}.ext4"
        path = f"/var/lib/small-volumes/{name}"
        # mount asks for a loop device that frees itself with the last mount, so none survives the lab.
        self.inside.shell(f"mkdir -p {path}; mount -o loop {shlex.quote(str(image))} {path}")
        return path
