"""An API server with its etcd in this network namespace, without controllers and without kubelets, and our controller beside it."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

from environment import mirrorfleet_binary
from lab import audit, controlplane, tools
from lab.credentials import Credentials
from lab.layout import API_SERVER_IP, API_SERVER_PORT, Layout
from lab.waiting import tail, wait_until

NAMESPACE = "fleet"
CONTROLLER = "mirrorfleet-controller"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
OURS = f"/apis/mirrorfleet.dev/v1alpha1/namespaces/{NAMESPACE}"
SETS = f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets"
JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"


class Api:
    """A client of the API server for each thread."""

    def __init__(self, credentials: Credentials) -> None:
        self.token = credentials.path("admin.token").read_text().strip()
        self.tls = ssl.create_default_context(cafile=str(credentials.path("ca.crt")))
        self.local = threading.local()

    def _connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(API_SERVER_IP, API_SERVER_PORT, context=self.tls)

    def ask(self, method: str, path: str, body: dict | None = None, kind: str = "application/json") -> dict:
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = self.local.connection = self._connection()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status < 300, f"{method} {path}: {answer.status}: {text[:500]!r}"
        return json.loads(text)

    def list(self, path: str) -> list[dict]:
        return self.ask("GET", path)["items"]

    def merge(self, path: str, patch: dict) -> dict:
        return self.ask("PATCH", path, patch, "application/merge-patch+json")

    def status(self, path: str, status: dict) -> None:
        self.merge(f"{path}/status", {"status": status})

    def watch(self, path: str) -> Iterator[tuple[str, dict]]:
        """What happens to the objects of a kind from now on, and those that there are."""
        connection = self._connection()
        connection.request("GET", f"{path}?watch=true&allowWatchBookmarks=false", headers={"Authorization": f"Bearer {self.token}"})
        answer = connection.getresponse()
        assert answer.status == 200, f"watch {path}: {answer.status}: {answer.read()[:500]!r}"
        for line in answer:
            event = json.loads(line)
            yield event["type"], event["object"]


class Cluster:
    def __init__(self, workdir: Path) -> None:
        self.layout = Layout(workdir)
        self.credentials = Credentials(self.layout.credentials)
        self.processes: dict[str, subprocess.Popen] = {}
        self.leaders = 0
        path = ":".join([*(str(tool.bin_dir()) for tool in tools.TOOLS), os.environ["PATH"]])
        self.environment = {"PATH": path, "HOME": str(workdir), "KUBECONFIG": str(self.credentials.kubeconfig("admin"))}
        self.workers = ThreadPoolExecutor(8)

    def __enter__(self) -> Cluster:
        try:
            self._up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()

    def _up(self) -> None:
        self.layout.logs.mkdir(parents=True)
        controlplane.write_config(self.layout)
        self.credentials.create()
        token = secrets.token_hex(16)
        with self.credentials.path("tokens.csv").open("a") as users:
            users.write(f'{token},"{CONTROLLER}",99,"system:masters"\n')
        server = f"https://{API_SERVER_IP}:{API_SERVER_PORT}"
        self.credentials.write_kubeconfig(self.credentials.kubeconfig(CONTROLLER), server, token)
        for component in ("etcd", "kube-apiserver"):
            self.start(component, controlplane.arguments(component, self.layout, self.credentials))
        ready = lambda: self.kubectl("get", "--raw", "/readyz").stdout.strip() == "ok"  # noqa: E731
        wait_until(ready, 60, "the API server", 0.2, lambda: tail(self.layout.log("kube-apiserver")))
        self.api = Api(self.credentials)
        definitions = Path(__file__).resolve().parents[2] / "crds"
        made = self.kubectl("apply", "--server-side", "-k", definitions)
        assert made.returncode == 0, made.stderr
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        self.api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        self.api.ask("POST", f"{CORE}/serviceaccounts", {"metadata": {"name": "default"}})

    def kubectl(self, *arguments: object) -> subprocess.CompletedProcess:
        return subprocess.run(["kubectl", *map(str, arguments)], env=self.environment, capture_output=True, text=True)

    def start(self, name: str, argv: list) -> None:
        with self.layout.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                list(map(str, argv)), env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    # Our controller

    def lead(self, *options: object) -> None:
        """A controller; with a Lease of its own, since that of a dead one holds for a while."""
        self.leaders += 1
        argv = [
            mirrorfleet_binary(), "controller", "--image", "mirrorfleet:at-size", "--metrics-listen", "127.0.0.1:19090",
            "--lease-namespace", NAMESPACE, "--lease-name", f"at-size-{self.leaders}", *options,
        ]  # fmt: skip
        kubeconfig = str(self.credentials.kubeconfig(CONTROLLER))
        self.environment["KUBECONFIG"], admin = kubeconfig, self.environment["KUBECONFIG"]
        self.start(CONTROLLER, argv)
        self.environment["KUBECONFIG"] = admin

    def kill_leader(self) -> None:
        process = self.processes.pop(CONTROLLER)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def peak_mebibytes(self) -> int:
        status = Path(f"/proc/{self.processes[CONTROLLER].pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) // 1024

    # What is in it

    def ours(self, kind: str, name: str, spec: dict) -> None:
        thing = {"apiVersion": "mirrorfleet.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        self.api.ask("POST", f"{OURS}/{kind.lower()}s", thing)

    def pod(self, owner: dict, address: str) -> None:
        """What the StatefulSet controller, the provisioner and a kubelet would do."""
        name, template = owner["metadata"]["name"], owner["spec"]["template"]
        self.api.status(f"{CORE}/persistentvolumeclaims/{name}", {"phase": "Bound", "capacity": {"storage": "100Gi"}})
        pod = {
            "metadata": {**template["metadata"], "name": f"{name}-0"},
            "spec": {**template["spec"], "nodeName": "nowhere"},
        }
        self.api.ask("POST", f"{CORE}/pods", pod)
        container = template["spec"]["containers"][0]
        running = {
            "name": container["name"], "image": container["image"], "imageID": "", "ready": True, "restartCount": 0,
            "state": {"running": {"startedAt": now()}},
        }  # fmt: skip
        conditions = [{"type": kind, "status": "True"} for kind in ("PodScheduled", "Ready")]
        told = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions, "containerStatuses": [running]}
        self.api.status(f"{CORE}/pods/{name}-0", told)

    # What came of it

    def writes(self, since: int) -> list[str]:
        events = audit.read(self.layout.audit_log, CONTROLLER, True, "", "", since)
        return [brief(event) for event in events if event["objectRef"]["resource"] != "leases"]

    def position(self) -> int:
        return self.layout.audit_log.stat().st_size

    def settle(self, done: Callable[[], bool], picture: Callable[[], str]) -> None:
        """Until it is done and nothing more is written."""

        def quiet() -> bool:
            since = self.position()
            time.sleep(5)
            return done() and not self.writes(since)

        wait_until(quiet, 300, "the fleet to come to rest", 0.2, picture)

    def picture(self) -> str:
        some = [mirror.get("status") for mirror in self.api.list(f"{OURS}/mirrors?limit=1")]
        return f"{some}\n{tail(self.layout.log(CONTROLLER))}"


def brief(event: dict) -> str:
    reference = event["objectRef"]
    return " ".join([event["verb"], *(reference.get(key, "") for key in ("resource", "subresource", "name"))])


def now() -> str:
    return f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
