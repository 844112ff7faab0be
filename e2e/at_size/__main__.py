"""What a fleet of many Mirrors costs on a real API server: `python3 -m at_size [MIRRORS]`, as root, in `make long`.

etcd and the API server run in a network namespace of their own, without controllers and without kubelets: pods are
objects with loopback addresses, at all of which one server answers. A converged fleet's controller is killed and
started anew, and what it writes from then on is counted: nothing.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from environment import mirrorfleet_binary
from lab import audit, controlplane, tools
from lab.credentials import Credentials
from lab.layout import API_SERVER_IP, API_SERVER_PORT, Layout
from lab.waiting import tail, wait_until

MIRRORS = 500
NAMESPACE = "fleet"
CONTROLLER = "mirrorfleet-controller"
SUITE = "stable"
SNAPSHOT = "ab" * 32
DATED = datetime(2026, 1, 1, tzinfo=timezone.utc)
RELEASE = f"""Origin: At size
Suite: {SUITE}
Codename: {SUITE}
Architectures: amd64
Components: main
Date: {DATED:%a, %d %b %Y %H:%M:%S} UTC
SHA256:
 {hashlib.sha256().hexdigest()} 0 main/binary-amd64/Packages
""".encode()
#: More than a round of questions to all pods.
REST_SECONDS = 45
IN_NAMESPACE = "MIRRORFLEET_AT_SIZE"


class Answering(BaseHTTPRequestHandler):
    """The authority, and every serving pod's port for metrics."""

    protocol_version = "HTTP/1.1"
    asked: set[str] = set()

    def do_GET(self) -> None:
        kind, _, mirror = self.path.rpartition("/")
        if self.path == f"/debian/dists/{SUITE}/Release":
            return self._answer(200, RELEASE)
        if kind != "/.mirrorfleet/status":
            return self._answer(404, b"")
        Answering.asked.add(mirror)
        unit = {"unit": SUITE, "digest": hashlib.sha256(RELEASE).hexdigest(), "date": int(DATED.timestamp())}
        success = {"at": int(DATED.timestamp()), "snapshot": SNAPSHOT}
        status = {"mirror": mirror, "snapshot": SNAPSHOT, "revision": [unit], "lastSuccess": success}
        self._answer(200, json.dumps(status).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class Api:
    """A client of the API server for each thread."""

    def __init__(self, credentials: Credentials) -> None:
        self.token = credentials.path("admin.token").read_text().strip()
        self.tls = ssl.create_default_context(cafile=str(credentials.path("ca.crt")))
        self.local = threading.local()

    def ask(self, method: str, path: str, body: dict | None = None, kind: str = "application/json") -> dict:
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = self.local.connection = http.client.HTTPSConnection(API_SERVER_IP, API_SERVER_PORT, context=self.tls)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status < 300, f"{method} {path}: {answer.status}: {text[:500]!r}"
        return json.loads(text)

    def list(self, path: str) -> list[dict]:
        return self.ask("GET", path)["items"]

    def status(self, path: str, status: dict) -> None:
        self.ask("PATCH", f"{path}/status", {"status": status}, "application/merge-patch+json")


CORE = f"/api/v1/namespaces/{NAMESPACE}"
OURS = f"/apis/mirrorfleet.dev/v1alpha1/namespaces/{NAMESPACE}"
SETS = f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets"


class Fleet:
    def __init__(self, workdir: Path, mirrors: int) -> None:
        self.layout = Layout(workdir)
        self.mirrors = mirrors
        self.credentials = Credentials(self.layout.credentials)
        self.processes: dict[str, subprocess.Popen] = {}
        self.leaders = 0
        path = ":".join([*(str(tool.bin_dir()) for tool in tools.TOOLS), os.environ["PATH"]])
        self.environment = {"PATH": path, "HOME": str(workdir), "KUBECONFIG": str(self.credentials.kubeconfig("admin"))}
        self.workers = ThreadPoolExecutor(8)

    # The cluster

    def up(self) -> None:
        for command in ("link set lo up", f"addr add {API_SERVER_IP}/32 dev lo"):
            subprocess.run(["ip", *command.split()], check=True)
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
        wait_until(self.is_ready, 60, "the API server", 0.2, lambda: tail(self.layout.log("kube-apiserver")))
        self.api = Api(self.credentials)
        for port in (9090, 8000):
            threading.Thread(target=Server(("0.0.0.0", port), Answering).serve_forever, daemon=True).start()

    def is_ready(self) -> bool:
        return self.kubectl("get", "--raw", "/readyz").stdout.strip() == "ok"

    def kubectl(self, *arguments: object) -> subprocess.CompletedProcess:
        return subprocess.run(["kubectl", *map(str, arguments)], env=self.environment, capture_output=True, text=True)

    def start(self, name: str, argv: list) -> None:
        with self.layout.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                list(map(str, argv)), env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def down(self) -> None:
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()

    def lead(self) -> None:
        """A controller; with a Lease of its own, since that of a dead one holds for a while."""
        self.leaders += 1
        argv = [
            mirrorfleet_binary(), "controller", "--image", "mirrorfleet:at-size", "--metrics-listen", "127.0.0.1:19090",
            "--lease-namespace", NAMESPACE, "--lease-name", f"at-size-{self.leaders}", "--max-rollouts", str(self.mirrors),
        ]  # fmt: skip
        kubeconfig = str(self.credentials.kubeconfig(CONTROLLER))
        self.environment["KUBECONFIG"], admin = kubeconfig, self.environment["KUBECONFIG"]
        self.start(CONTROLLER, argv)
        self.environment["KUBECONFIG"] = admin

    def kill_leader(self) -> None:
        process = self.processes.pop(CONTROLLER)
        process.send_signal(signal.SIGKILL)
        process.wait()

    # What is in it

    def declare(self) -> None:
        definitions = Path(__file__).resolve().parents[2] / "crds"
        made = self.kubectl("apply", "--server-side", "-k", definitions)
        assert made.returncode == 0, made.stderr
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        self.api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        self.api.ask("POST", f"{CORE}/serviceaccounts", {"metadata": {"name": "default"}})
        authority = f"http://{API_SERVER_IP}:8000/debian/"
        upstream = {"type": "Debian", "authority": {"url": authority}, "trust": {"signatures": "None"}}
        self._ours("Upstream", "debian", upstream)
        list(self.workers.map(self._mirror, range(self.mirrors)))

    def _ours(self, kind: str, name: str, spec: dict) -> None:
        thing = {"apiVersion": "mirrorfleet.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        self.api.ask("POST", f"{OURS}/{kind.lower()}s", thing)

    def _mirror(self, number: int) -> None:
        content = {"debian": {"suites": [SUITE], "components": ["main"], "architectures": ["amd64"]}}
        spec = {"upstreamRef": {"name": "debian"}, "suspend": True, "content": content, "regions": [{"name": "here"}]}
        self._ours("Mirror", f"mirror-{number}", spec)

    def pods(self) -> None:
        """What the StatefulSet controller, the provisioner and kubelets would do."""
        sets = self.api.list(SETS)
        list(self.workers.map(self._pod, sets, range(len(sets))))

    def _pod(self, owner: dict, number: int) -> None:
        name, template = owner["metadata"]["name"], owner["spec"]["template"]
        self.api.status(f"{CORE}/persistentvolumeclaims/{name}", {"phase": "Bound", "capacity": {"storage": "100Gi"}})
        pod = {
            "metadata": {**template["metadata"], "name": f"{name}-0"},
            "spec": {**template["spec"], "nodeName": "nowhere"},
        }
        self.api.ask("POST", f"{CORE}/pods", pod)
        container = template["spec"]["containers"][0]
        now = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
        running = {
            "name": container["name"], "image": container["image"], "imageID": "", "ready": True, "restartCount": 0,
            "state": {"running": {"startedAt": now}},
        }  # fmt: skip
        address = f"127.1.{number // 250}.{number % 250 + 1}"
        conditions = [{"type": kind, "status": "True"} for kind in ("PodScheduled", "Ready")]
        told = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions, "containerStatuses": [running]}
        self.api.status(f"{CORE}/pods/{name}-0", told)

    # What came of it

    def writes(self, since: int) -> list[str]:
        events = audit.read(self.layout.audit_log, CONTROLLER, True, "", "", since)
        return [self._brief(event) for event in events if event["objectRef"]["resource"] != "leases"]

    @staticmethod
    def _brief(event: dict) -> str:
        reference = event["objectRef"]
        return " ".join([event["verb"], *(reference.get(key, "") for key in ("resource", "subresource", "name"))])

    def position(self) -> int:
        return self.layout.audit_log.stat().st_size

    def settle(self, done) -> None:
        """Until it is done and nothing more is written."""

        def quiet() -> bool:
            since = self.position()
            time.sleep(5)
            return done() and not self.writes(since)

        wait_until(quiet, 300, "the fleet to come to rest", 0.2, self._picture)

    def ready(self) -> int:
        def is_ready(mirror: dict) -> bool:
            conditions = mirror.get("status", {}).get("conditions", [])
            return {"Ready", "Fresh"} <= {one["type"] for one in conditions if one["status"] == "True"}

        return sum(map(is_ready, self.api.list(f"{OURS}/mirrors")))

    def _picture(self) -> str:
        some = [mirror.get("status") for mirror in self.api.list(f"{OURS}/mirrors?limit=1")]
        return f"{self.ready()} ready\n{some}\n{tail(self.layout.log(CONTROLLER))}"

    def peak(self) -> str:
        status = Path(f"/proc/{self.processes[CONTROLLER].pid}/status").read_text()
        return next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))


def measure(workdir: Path, mirrors: int) -> None:
    fleet = Fleet(workdir, mirrors)
    try:
        fleet.up()
        fleet.declare()
        fleet.lead()
        began = time.monotonic()
        wait_until(lambda: len(fleet.api.list(SETS)) == mirrors, 600, "all objects to be made", 0.5, fleet._picture)
        print(f"objects of {mirrors} Mirrors made in {time.monotonic() - began:.1f} s", flush=True)
        fleet.pods()
        fleet.settle(lambda: fleet.ready() == mirrors)
        print(f"at rest; the controller's peak: {int(fleet.peak()) // 1024} MiB", flush=True)

        fleet.kill_leader()
        Answering.asked.clear()
        since, began = fleet.position(), time.monotonic()
        fleet.lead()
        wait_until(lambda: len(Answering.asked) == mirrors, 120, "all pods to be asked", 0.5, fleet._picture)
        asked = time.monotonic() - began
        time.sleep(REST_SECONDS)
        writes = fleet.writes(since)
        assert not writes, f"{len(writes)} writes after a restart: {writes[:10]}"
        print(f"restart: all pods asked after {asked:.1f} s, 0 writes in {REST_SECONDS} s; 1 passed", flush=True)
    finally:
        fleet.down()


def main() -> None:
    if os.environ.get(IN_NAMESPACE) is None:
        tools.build_all(lambda line: print(line, file=sys.stderr, flush=True))
        argv = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-m", "at_size", *sys.argv[1:]]
        os.execvpe("unshare", argv, {**os.environ, IN_NAMESPACE: "1"})
    with tempfile.TemporaryDirectory(prefix="mirrorfleet-at-size-") as workdir:
        measure(Path(workdir), int(sys.argv[1]) if len(sys.argv) > 1 else MIRRORS)


if __name__ == "__main__":
    main()
