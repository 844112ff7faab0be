"""`Lab`: a Kubernetes cluster of two or four nodes of our own, inside namespaces of this machine."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from . import addons, audit, controlplane, keeper, packages, tools
from .cluster import CAPABILITIES, Cluster, ExistingCluster, condition_of
from .control import Namespaces
from .credentials import Credentials
from .images import build_images
from .layout import BRIDGE, DNS_SERVICE_IP, FEW_NODES, LAB_DOMAIN, LAB_IP, NODES, SERVICE_RANGE, Layout
from .node import DAEMONS, Node
from .waiting import LabError, tail, wait_until

# As its manifest has it.
DNS_REPLICAS = 2
# Directories that every node replaces by its own: what the lab needs on nodes must not lie under them.
HIDDEN_ON_NODES = ("/run", "/var/lib", "/var/log", "/proc")


def open_cluster(workdir: str | Path, report: Callable[[str], None], nodes: int = FEW_NODES) -> Cluster:
    """The cluster that the environment asks for, to be used with `with`.

    With KUBECONFIG set, that cluster, which can do what MIRRORFLEET_E2E_CAPABILITIES lists and reaches this machine
    at MIRRORFLEET_E2E_HOST_IP; otherwise a lab of our own in `workdir`, of so many nodes, which ends with the block.
    """
    kubeconfig = os.environ.get("KUBECONFIG")
    if not kubeconfig:
        return Lab(workdir, report, nodes)
    return ExistingCluster(
        kubeconfig,
        path=":".join(str(tool.bin_dir()) for tool in tools.TOOLS),
        capabilities=tuple(filter(None, os.environ.get("MIRRORFLEET_E2E_CAPABILITIES", "").split(","))),
        host_ip=os.environ.get("MIRRORFLEET_E2E_HOST_IP", "127.0.0.1"),
    )


class Lab(Cluster):
    """`with Lab(workdir) as lab:` starts a cluster that ends with the block, or with this process however it dies.

    Everything of it (logs, kubeconfig, the nodes' disks) is in `workdir`; after the end only the logs are left.
    """

    #: The lab's own address, and the domain whose every name means it: for servers that pods shall reach.
    host_ip = LAB_IP
    host_domain = LAB_DOMAIN

    def __init__(
        self, workdir: str | Path, report=lambda line: print(line, file=sys.stderr, flush=True), nodes: int = FEW_NODES
    ) -> None:
        self.layout = Layout(Path(workdir).resolve())
        self.workdir = self.layout.workdir
        self.kubeconfig = self.layout.kubeconfig
        self.audit_log = self.layout.audit_log
        self.credentials = Credentials(self.layout.credentials)
        self.capabilities = frozenset(CAPABILITIES) if nodes > FEW_NODES else frozenset(CAPABILITIES) - {"four-nodes"}
        self._report = report
        self._owner_pipe = -1
        self._attached = False
        self._keeper: subprocess.Popen | None = None
        directories = [str(tool.bin_dir()) for tool in tools.TOOLS]
        path = ":".join([*directories, os.environ.get("PATH", ""), "/usr/local/sbin:/usr/sbin:/sbin"])
        self.environment = dict(
            os.environ,
            PATH=path,
            KUBECONFIG=str(self.credentials.kubeconfig("admin")),
            KUBECACHEDIR=str(self.layout.config / "kubectl-cache"),
        )
        self.inside = Namespaces(self.layout.lab_socket, self._daemon_environment(path))
        self.nodes = {
            address.name: Node(self.inside, self.layout, self.credentials, address, self._daemon_environment(path))
            for address in NODES[:nodes]
        }
        #: Nodes whose cable is out.
        self._cut_off: set[str] = set()
        self._gateway = ""

    @staticmethod
    def _daemon_environment(path: str) -> dict[str, str]:
        # Nothing of the caller's environment (proxies, credentials) reaches the cluster.
        return {"PATH": path, "HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONPATH": keeper.PACKAGE_PARENT}

    # Life

    def __enter__(self) -> Lab:
        return self if self._attached else self.up()

    def __exit__(self, *_: object) -> None:
        if not self._attached:
            self.down()

    def up(self, *, detach: bool = False) -> Lab:
        """Start it. It ends with this process; with `detach` it stays until `down`."""
        self._prepare()
        try:
            self._start_keeper()
            self._bring_up()
        except BaseException:
            self.down()
            raise
        if detach:
            os.write(self._owner_pipe, b"d")
            os.close(self._owner_pipe)
            self._owner_pipe = -1
        return self

    def attach(self) -> Lab:
        """Use a lab that is up already; `with Lab(workdir).attach() as lab:` leaves it up."""
        if not self.inside.is_up():
            raise LabError(f"no lab is up in {self.workdir}")
        self._attached = True
        return self

    def down(self) -> None:
        """End it, and remove everything but the logs. A lab that is not up is fine."""
        if self._owner_pipe >= 0:
            os.close(self._owner_pipe)
            self._owner_pipe = -1
        lock = keeper.take_lock(self.layout) if self.layout.control.is_dir() else None
        if lock is None and self.layout.control.is_dir():
            try:
                os.kill(int(self.layout.keeper_pid.read_text()), signal.SIGTERM)
            except (ProcessLookupError, FileNotFoundError):
                pass  # it is just ending
            lock = wait_until(lambda: keeper.take_lock(self.layout), 120, f"the lab in {self.workdir} to end", 0.02)
        if self._keeper is not None:
            self._keeper.wait()
            self._keeper = None
        if lock is not None:
            lock.close()

    def is_up(self) -> bool:
        return self.inside.is_up()

    def _prepare(self) -> None:
        if os.geteuid() != 0:
            raise LabError("the lab needs root: it makes namespaces, cgroups and mounts")
        for what, path in (("work directory", self.workdir), ("cache", tools.cache_root()), ("python", sys.executable)):
            if any(str(path).startswith(f"{hidden}/") for hidden in HIDDEN_ON_NODES):
                raise LabError(f"the {what} {path} lies under a directory that every node has of its own")
        packages.install_missing(self._report)
        tools.build_all(self._report)
        images = build_images()
        for stale in keeper.clean_stale():
            self._report(f"cleaned up behind a killed lab in {stale}")
        self.layout.control.mkdir(parents=True, exist_ok=True)
        lock = keeper.take_lock(self.layout)
        if lock is None:
            raise LabError(f"a lab is up in {self.workdir} already")
        with lock:
            keeper.clean(self.layout)
            shutil.rmtree(self.layout.logs, ignore_errors=True)
            self.layout.logs.mkdir(parents=True)
        self._loaded_images().write_text("[]")
        self._remember_images(images)

    def _start_keeper(self) -> None:
        read_end, self._owner_pipe = os.pipe()
        with open(self.layout.log("keeper"), "ab") as log:
            self._keeper = subprocess.Popen(
                [sys.executable, "-m", "lab", "keeper", str(self.workdir), str(read_end)],
                env=dict(os.environ, PYTHONPATH=keeper.PACKAGE_PARENT),
                cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[read_end], start_new_session=True,
            )  # fmt: skip
        os.close(read_end)

        def ready() -> bool:
            if self._keeper.poll() is not None:
                raise RuntimeError(f"the lab did not start:\n{tail(self.layout.log('keeper'))}")
            return self.layout.api_port.exists()

        wait_until(ready, 120, "the lab's namespaces", interval=0.02)

    def _bring_up(self) -> None:
        resolver = self.layout.config / "resolv.conf"
        controlplane.write_config(self.layout)
        addons.write_provisioner_config(self.layout.config / "local-path")
        resolver.write_text(f"nameserver {DNS_SERVICE_IP}\noptions timeout:2 attempts:2\n")
        self.credentials.create()
        self.credentials.write_kubeconfig(
            self.layout.kubeconfig,
            f"https://127.0.0.1:{self.layout.api_port.read_text()}",
            self.credentials.path("admin.token").read_text(),
        )
        self.inside.shell(
            f"""
            ip link set lo up
            ip link add {BRIDGE} type bridge
            ip addr add {LAB_IP}/24 dev {BRIDGE}
            ip link set {BRIDGE} up
            echo 1 > /proc/sys/net/ipv4/ip_forward
            mount -t tmpfs -o mode=755 tmpfs /run
            target=$(readlink -m /etc/resolv.conf)
            case "$target" in /run/*) mkdir -p "$(dirname "$target")"; : > "$target";; esac
            [ ! -e "$target" ] || mount --bind {shlex.quote(str(resolver))} "$target"
            """
        )
        for node in self.nodes.values():
            self.inside.shell(f"ip route add {node.address.pod_range} via {node.address.ip}")
        self._route_services()
        with ThreadPoolExecutor(len(self.nodes) + 2) as pool:
            api_server = pool.submit(self._start_api_server)
            parts = [pool.submit(self._boot, node, api_server) for node in self.nodes.values()]
            parts.append(pool.submit(self._start_control_plane, api_server))
            for part in [api_server, *parts]:
                part.result()
        wait_until(self._settled, 120, "nodes, cluster DNS and storage", interval=0.2, detail=self._problems)

    @staticmethod
    def _boot(node: Node, api_server: Future | None = None) -> None:
        node.power_on()
        node.start_containers()
        if api_server is not None:
            api_server.result()
        node.join()

    def _start_api_server(self) -> None:
        for component in ("etcd", "kube-apiserver"):
            self._start_component(component)
        self._wait_for_api_server()

    def _wait_for_api_server(self) -> None:
        def ready() -> bool:
            self.inside.check("etcd", "kube-apiserver")
            return self.kubectl("get", "--raw", "/readyz", check=False).strip() == "ok"

        wait_until(ready, 120, "the API server", 0.1, lambda: tail(self.layout.log("kube-apiserver")))

    def _start_control_plane(self, api_server: Future) -> None:
        api_server.result()
        for component in ("kube-controller-manager", "kube-scheduler"):
            self._start_component(component)
        self.apply(addons.storage())
        self.apply(addons.cluster_dns())
        self._start_component("local-path-provisioner")

    def _settled(self) -> bool:
        self.inside.check()
        dns = self.get("deployment", "coredns", "kube-system") or {}
        return all(map(self.node_ready, self.nodes)) and dns.get("status", {}).get("readyReplicas", 0) == DNS_REPLICAS

    def _problems(self) -> str:
        errors = []
        for log in sorted(self.layout.logs.glob("*.log")):
            errors.append(f"--- {log}\n{tail(log, 4)}")
        try:
            errors.append(self.picture(None))
        except LabError:
            pass
        return "\n".join(errors)

    # Commands

    def command(self, argv: list, cwd: str | Path | None = None) -> list[str]:
        return self.inside.command(argv, cwd)

    def run_server(self, name: str, argv: list, *, ready_url: str = "", timeout: float = 120) -> None:
        """Start a long-running server in the lab (nginx, prometheus), reachable from pods at `host_ip`.

        With `ready_url` it returns once that URL answers. Its output is in the work directory's logs.
        """
        self.inside.start(name, argv, self.layout.log(name), {"KUBECONFIG": self.environment["KUBECONFIG"]})
        if not ready_url:
            return

        def answers() -> bool:
            self.inside.check(name)
            probe = ["curl", "-sS", "-o", os.devnull, "--max-time", "2", ready_url]
            return self.exec(probe, check=False).returncode == 0

        wait_until(answers, timeout, f"{name} at {ready_url}", 0.1, lambda: tail(self.layout.log(name)))

    def stop_server(self, name: str) -> None:
        self.inside.stop(name)

    def resolve(self, name: str) -> list[str]:
        """The IPv4 addresses that cluster DNS gives for a full name; none if there is no such name."""
        result = self.exec(["getent", "ahostsv4", name], check=False)
        return sorted({line.split()[0] for line in result.stdout.splitlines() if line.strip()})

    # Images

    def _loaded_images(self) -> Path:
        return self.workdir / "images.json"

    def _remember_images(self, archives: list[Path]) -> None:
        known = json.loads(self._loaded_images().read_text())
        for archive in archives:
            entry = [str(archive), str(archive.stat().st_mtime_ns)]
            known = [*(other for other in known if other[0] != entry[0]), entry]
        self._loaded_images().write_text(json.dumps(known))

    def load_image(self, archive: str | Path) -> None:
        """Make the images of a docker or OCI archive available on all nodes; on one that is off, when it is back."""
        self._remember_images([Path(archive).resolve(strict=True)])
        running = [node for node in self.nodes.values() if node.is_on()]
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(Node.import_images, running))

    # Nodes and components

    def node(self, name: str) -> Node:
        if name not in self.nodes:
            raise LabError(f"no node {name}; there are: {', '.join(self.nodes)}")
        return self.nodes[name]

    def node_ready(self, name: str, since: float = 0) -> bool:
        """Whether a node is Ready, and has said so itself at or after a time."""
        found = condition_of(self.get("node", name) or {}, "Ready")
        if not found or found["status"] != "True":
            return False
        return datetime.fromisoformat(found["lastHeartbeatTime"]).timestamp() >= int(since)

    def node_down(self, name: str, *, wait: bool = True) -> None:
        """Cut a node's power. With `wait`, until the cluster has noticed (some 16 s)."""
        self.node(name).power_off()
        self._route_services()
        if wait:
            wait_until(lambda: not self.node_ready(name), 120, f"{name} to be seen as not ready", interval=0.5)

    def node_up(self, name: str, *, wait: bool = True) -> None:
        """Give it power again, with the disk that it had. With `wait`, until it is Ready."""
        started = time.time()
        self._boot(self.node(name))
        self._route_services()
        if wait:
            # After a short loss the API server still has the old word that it is ready.
            wait_until(lambda: self.node_ready(name, started), 120, f"{name} to be ready", 0.5, self._problems)

    def cut_off(self, name: str) -> None:
        """Pull a node's cable: it runs on, and nobody reaches it nor is reached by it."""
        self.node(name).unplug()
        self._cut_off.add(name)
        self._route_services()

    def reconnect(self, name: str) -> None:
        self.node(name).plug_in_again()
        self._cut_off.discard(name)
        self._route_services()

    def reach_services_through(self, name: str) -> None:
        """From now on, while that node can be reached: what goes through another one breaks with it."""
        self.node(name)
        self._gateway = name
        self._route_services()

    def _route_services(self) -> None:
        # The lab has no kube-proxy of its own: Services are reached through a node that is on.
        names = sorted(self.nodes, key=lambda name: (name != self._gateway, name))
        on = [name for name in names if name not in self._cut_off and self.nodes[name].is_on()] or names
        self.inside.shell(f"ip route replace {SERVICE_RANGE} via {self.nodes[on[0]].address.ip}")

    def components(self) -> list[str]:
        """What `start`, `stop` and `restart` take: control plane programs, and `NODE/PROGRAM` for those of a node."""
        return [*controlplane.COMPONENTS, *(f"{node}/{daemon}" for node in self.nodes for daemon in DAEMONS)]

    def component_state(self, component: str) -> str:
        node, _, daemon = component.rpartition("/")
        namespaces = self.nodes[node].inside if node else self.inside
        if not namespaces.is_up():
            return "node is off"
        found = namespaces.daemons().get(daemon)
        if found is None:
            return "not started"
        return "running" if found["returncode"] is None else f"ended with {found['returncode']}"

    def _start_component(self, component: str) -> None:
        argv = controlplane.arguments(component, self.layout, self.credentials)
        self.inside.start(component, argv, self.layout.log(component))

    def start(self, component: str) -> None:
        node, _, daemon = component.partition("/")
        if daemon:
            self.node(node).start(daemon)
            return
        self._start_component(component)
        if component == "kube-apiserver":
            self._wait_for_api_server()

    def stop(self, component: str) -> None:
        node, _, daemon = component.partition("/")
        if daemon:
            self.node(node).stop(daemon)
        else:
            self.inside.stop(component)

    def restart(self, component: str) -> None:
        if component not in self.components():
            raise LabError(f"no component {component}; there are: {', '.join(self.components())}")
        self.stop(component)
        self.start(component)

    # Volumes

    def small_volume(self, node: str, name: str, megabytes: int, storage_class: str = "small") -> None:
        """A `local` PersistentVolume on a node that really fills up: an ext4 file system of that size.

        Claim it with `storageClassName: <storage_class>`; it is kept (Retain) when its claim goes.
        """
        path = self.node(node).make_small_volume(name, megabytes)
        self.apply(addons.local_volume(node, name, path, megabytes, storage_class))

    # Audit log

    def audit_events(
        self, *, user: str = "", writes_only: bool = False, resource: str = "", namespace: str = "", since: int = 0
    ) -> list[dict]:
        """The API server's audit events; see `audit.read`. `since` is an earlier `audit_position()`."""
        return audit.read(self.audit_log, user, writes_only, resource, namespace, since)

    def audit_position(self) -> int:
        """Where the audit log ends now."""
        return self.audit_log.stat().st_size


