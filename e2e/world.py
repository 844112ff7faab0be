"""What all scenarios share: the cluster with the operator in it, upstreams that nginx serves, and a real apt."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from archive import Archive, SigningKey, run
from lab import Cluster, condition_of, wait_until
from lab.nginx import nginx

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "mirrorfleet"
API_VERSION = "mirrorfleet.dev/v1alpha1"
SYSTEM_NAMESPACE = "mirrorfleet-system"
RELEASE = "mirrorfleet"
CONTROLLER_USER = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{RELEASE}"
REQUEST = "mirrorfleet.dev/sync-requested-at"
UPSTREAM_PORT = 8000
#: The same upstreams by https, with a certificate that nobody knows.
TLS_PORT = 8443
PACKAGE = "hello-mirror"
#: The upstream of this name asks for a login.
PROTECTED = "protected"
#: What Mirrors may ask for, for the scenarios about pods.
ALLOWED_PREFIX = "e2e.example.org/"
ALLOWED = {"priorityClasses": ["mirrorfleet-e2e"], "labelPrefixes": [ALLOWED_PREFIX], "annotationPrefixes": [ALLOWED_PREFIX]}
#: The same for the scenario about routes.
ROUTES_ALLOWED = {"kinds": ["HTTPRoute", "Ingress"], "annotationPrefixes": [ALLOWED_PREFIX]}
USER, PASSWORD = "mirror", "not:a secret"


class World:
    """The lab and what is in it. One for all scenarios of a run."""

    def __init__(self, lab: Cluster, workdir: Path, *, whole_run: bool) -> None:
        self.lab = lab
        #: Whether all scenarios are told, so that what none of them does is not done at all.
        self.whole_run = whole_run
        self.workdir = workdir
        self.upstreams = workdir / "upstreams"
        self.upstreams.mkdir(parents=True)
        self.key = SigningKey(workdir / "gnupg", "archive")
        self.stranger = SigningKey(workdir / "gnupg-stranger", "stranger")
        #: When the operator was not installed, by Unix time: from and until.
        self.without_operator: list[tuple[float, float]] = []
        #: The chart's roles while it had values that give it more of them.
        self.roles_for_a_while: list[dict] = []
        self._request = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        self.key.close()
        self.stranger.close()

    # Set-up

    def start_upstream_server(self) -> None:
        """One nginx for all upstreams; each is a folder. Its access log counts what the fleet asks for."""
        prefix = self.workdir / "nginx"
        prefix.mkdir(parents=True)
        hashed = run(["openssl", "passwd", "-apr1", PASSWORD]).strip()
        (prefix / "users").write_text(f"{USER}:{hashed}\n")
        self.authority, key = certificate(prefix, f"IP:{self.lab.host_ip}")
        command = nginx(
            prefix,
            f"""
            sendfile on; default_type application/octet-stream;
            server {{
                listen {UPSTREAM_PORT}; root {self.upstreams}; autoindex off;
                listen {TLS_PORT} ssl; ssl_certificate {self.authority}; ssl_certificate_key {key};
                location /{PROTECTED}/ {{ auth_basic upstream; auth_basic_user_file {prefix}/users; }}
            }}
            """,
        )
        self.access_log = prefix / "access.log"
        self.lab.run_server("upstream-nginx", command, ready_url=f"http://{self.lab.host_ip}:{UPSTREAM_PORT}/")

    def install_operator(self, image_archive: Path | None, image: str) -> None:
        """What a user does: `helm install`, with the image that was just built."""
        if image_archive:
            self.lab.load_image(image_archive)
        self.image, self.image_archive = image, image_archive
        pull = "Never" if image_archive else "IfNotPresent"
        repository, tag = image.rsplit(":", 1)
        self.helm_values = [
            "--set", f"image.repository={repository}", "--set", f"image.tag={tag}", "--set", f"image.pullPolicy={pull}",
            "--set-json", f"podsAllowed={json.dumps(ALLOWED)}",
        ]
        self.lab.create_namespace(SYSTEM_NAMESPACE)
        self.lab.exec(
            ["helm", "install", RELEASE, CHART, "--namespace", SYSTEM_NAMESPACE, *self.values_of(CHART), "--wait", "--timeout", "240s"],
            timeout=270,
        )  # fmt: skip

    def values_of(self, chart: Path) -> list[str]:
        """What this chart is installed with: that of an earlier version knows no routes, and refuses what it does not know."""
        knows_routes = "\nroutesAllowed:" in (chart / "values.yaml").read_text()
        return [*self.helm_values, *(["--set-json", f"routesAllowed={json.dumps(ROUTES_ALLOWED)}"] if knows_routes else [])]

    def uninstall_operator(self) -> None:
        """Leaves a cluster that is not ours as it was, but for the CRDs, which the chart keeps on purpose."""
        self.lab.exec(["helm", "uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--wait"], check=False)
        self.lab.delete("namespace", SYSTEM_NAMESPACE, wait=False)

    # Requests at the upstream

    def requests(self, path_prefix: str, since: int = 0) -> list[str]:
        """Paths under a prefix that were asked for, from the access log after byte `since`."""
        self._complete_access_log()
        text = self.access_log.read_bytes()[since:].decode(errors="replace")
        paths = [line.split('"')[1].split(" ")[1] for line in text.splitlines() if line.count('"') >= 2]
        return [path for path in paths if path.startswith(path_prefix)]

    def access_position(self) -> int:
        self._complete_access_log()
        return self.access_log.stat().st_size

    def _complete_access_log(self) -> None:
        """nginx writes a request's line after its answer, and is one process: once it answers a later one, all lines are there."""
        self.lab.exec(["curl", "-sS", "-o", os.devnull, "--max-time", "20", f"http://{self.lab.host_ip}:{UPSTREAM_PORT}/"])

    # The controller

    def controller_pods(self) -> list[dict]:
        return [
            pod
            for pod in self.lab.list("pods", SYSTEM_NAMESPACE)
            if not pod["metadata"].get("deletionTimestamp") and pod["status"].get("phase") == "Running"
        ]

    def roles(self) -> list[dict]:
        """What the chart lets the controller do, as it is now."""
        found = [self.lab.get("clusterrole", f"{RELEASE}.{SYSTEM_NAMESPACE}"), self.lab.get("role", f"{RELEASE}-election", SYSTEM_NAMESPACE)]
        assert all(found), "the chart's roles have other names"
        return found

    def leader(self) -> str:
        """The name of the pod that holds the Lease."""

        def holder() -> str:
            leases = self.lab.list("leases", SYSTEM_NAMESPACE)
            holders = [lease["spec"].get("holderIdentity") or "" for lease in leases]
            return next((pod["metadata"]["name"] for pod in self.controller_pods() if pod["metadata"]["name"] in holders), "")

        return wait_until(holder, 120, "a controller to lead")

    def controller_requests(self, since: int) -> list[dict]:
        """What the controller asked of the API server, without its Leases."""
        return [
            event
            for event in self.lab.audit_events(user=CONTROLLER_USER, since=since)
            if event.get("objectRef", {}).get("resource") != "leases"
        ]

    def controller_writes(self, since: int) -> list[dict]:
        return [event for event in self.controller_requests(since) if event["verb"] not in ("get", "list", "watch")]

    def next_request(self) -> str:
        with self._lock:
            self._request += 1
            return f"request-{self._request}"

    @contextmanager
    def fleet(self, name: str, **options) -> Iterator[Fleet]:
        """A namespace with one Debian upstream and what is needed to mirror it; gone at the end."""
        fleet = Fleet(self, name, **options)
        try:
            yield fleet
        finally:
            fleet.close()


class Fleet:
    """One scenario's namespace: an archive, an Upstream of it, and Mirrors."""

    def __init__(self, world: World, name: str, *, suites: tuple[str, ...] = ("stable",), package_kilobytes: int = 16) -> None:
        self.world = world
        self.lab = world.lab
        self.name = name
        self.namespace = f"e2e-{name}"
        self.suites = suites
        self.archive = Archive(world.upstreams / name, world.key)
        for suite in suites:
            self.archive.add_package(suite, PACKAGE if suite == suites[0] else f"{PACKAGE}-{suite}", kilobytes=package_kilobytes)
            self.archive.publish(suite)
        self.lab.create_namespace(self.namespace, pod_security="restricted")

    def close(self) -> None:
        self.lab.kubectl("delete", "mirrors,upstreams", "--all", "--wait=true", "--timeout=120s", namespace=self.namespace, check=False, timeout=240)
        self.lab.delete("namespace", self.namespace, wait=False)

    # Manifests

    def url(self) -> str:
        return f"http://{self.lab.host_ip}:{UPSTREAM_PORT}/{self.name}/"

    def keyring(self, name: str = "keyring") -> dict:
        data = base64.b64encode(self.world.key.public().encode()).decode()
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"keyring.gpg": data}}

    def upstream(self, **spec) -> dict:
        trust = {"keyringRef": {"kind": "Secret", "name": "keyring", "key": "keyring.gpg"}}
        whole = {"type": "Debian", "authority": {"url": self.url()}, "trust": trust, "probe": {"interval": "1m"}, **spec}
        return {"apiVersion": API_VERSION, "kind": "Upstream", "metadata": {"name": "debian"}, "spec": whole}

    def mirror(self, name: str = "debian", **spec) -> dict:
        whole = {
            "upstreamRef": {"name": "debian"},
            "content": {"debian": {"suites": list(self.suites), "components": ["main"], "architectures": ["amd64"]}},
            # Far away: scenarios ask for their syncs, unless the schedule is what they are about.
            "sync": {"schedule": "0 0 1 1 *", "retries": {"limit": 0, "backoff": "10s"}},
            "storage": {"size": "1Gi"},
            "regions": [{"name": "region-a", "nodeSelector": {"topology.kubernetes.io/region": "region-a"}}],
            **spec,
        }
        return {"apiVersion": API_VERSION, "kind": "Mirror", "metadata": {"name": name}, "spec": whole}

    def apply(self, *manifests: dict) -> None:
        self.lab.apply(list(manifests), self.namespace)

    def apply_all(self, **mirror_spec) -> dict:
        """Keyring, Upstream and Mirror; returns the Mirror once it is Ready."""
        self.apply(self.keyring(), self.upstream(), self.mirror(**mirror_spec))
        return self.wait_ready()

    # The Mirror

    def get(self, mirror: str = "debian") -> dict:
        return self.lab.get("mirror", mirror, self.namespace) or {}

    def wait_ready(self, mirror: str = "debian", timeout: float = 240) -> dict:
        """Until it is Ready, and connections to each of its Services are accepted."""
        thing = self.lab.wait_condition("mirror", mirror, self.namespace, "Ready", timeout=timeout)
        self.wait_led_to(mirror)
        return thing

    def wait_led_to(self, mirror: str = "debian") -> None:
        """A node's kube-proxy hears of a Service's new pod when we do, and writes its rules a second later at best: until then
        connections are refused. So it is of a pod that was made anew, too."""
        for service in self.lab.list("services", self.namespace, f"mirrorfleet.dev/mirror={mirror}"):
            address, port = service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"]
            connect = ["timeout", "5", "bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}"]
            wait_until(lambda: self.lab.exec(connect, check=False).returncode == 0, 180, f"connections to {address}:{port}")

    def region(self, mirror: str = "debian", name: str = "region-a") -> dict:
        """What the status says of a region and of its one replica."""
        return next((region for region in regions_of(self.get(mirror)) if region["name"] == name), {})

    def request_sync(self, mirror: str = "debian") -> str:
        value = self.world.next_request()
        self.lab.kubectl("annotate", "--overwrite", "mirror", mirror, f"{REQUEST}={value}", namespace=self.namespace)
        return value

    def sync(self, mirror: str = "debian", timeout: float = 180) -> dict:
        """Asks for a sync and waits until its result is in the status; returns the region's status."""

        def at_rest(thing: dict) -> bool:
            regions = regions_of(thing)
            ended = all(region.get("lastAttempt") and not region.get("currentRun") for region in regions)
            return bool(regions) and ended and all(map(follows, regions))

        # A run that is under way would be taken for the one that is asked for.
        self.lab.wait_for("mirror", mirror, self.namespace, at_rest, timeout, f"earlier runs of {mirror} to end")
        before = self.region(mirror)["lastAttempt"]["job"]
        value = self.request_sync(mirror)

        def done(thing: dict) -> bool:
            return (
                thing["status"].get("lastHandledSyncRequest") == value
                and at_rest(thing)
                and all(region["lastAttempt"]["job"] != before for region in regions_of(thing))
            )

        self.lab.wait_for("mirror", mirror, self.namespace, done, timeout, f"the sync {value} of {mirror}")
        return self.region(mirror)

    def condition(self, kind: str, mirror: str = "debian") -> dict:
        return condition_of(self.get(mirror), kind) or {}

    def wait_stalled(self, reason: str, mirror: str = "debian", timeout: float = 120) -> str:
        """Waits for Stalled with a reason; returns the sentence."""
        thing = self.lab.wait_condition("mirror", mirror, self.namespace, "Stalled", reason=reason, timeout=timeout)
        return condition_of(thing, "Stalled")["message"]

    # Its objects

    def pods(self, component: str) -> list[dict]:
        return self.lab.list("pods", self.namespace, f"app.kubernetes.io/component={component}")

    def serving_pod(self) -> dict:
        return wait_until(lambda: next(iter(self.pods("serving")), None), 120, "a serving pod")

    def running_sync_pod(self) -> dict:
        def running() -> dict | None:
            return next((pod for pod in self.pods("sync") if pod["status"].get("phase") == "Running"), None)

        return wait_until(running, 120, "a running sync pod")

    def claims(self) -> list[dict]:
        return self.lab.list("persistentvolumeclaims", self.namespace)

    def service_ip(self) -> str:
        services = self.lab.list("services", self.namespace, "app.kubernetes.io/managed-by=mirrorfleet")
        return services[0]["spec"]["clusterIP"]

    def status_of_pod(self, mirror: str = "debian") -> dict:
        """What the serving pod itself says it serves."""
        address = self.serving_pod()["status"]["podIP"]
        return json.loads(self.curl(f"http://{address}:9090/.mirrorfleet/status/{mirror}"))

    # Clients

    def curl(self, url: str, *options: str) -> str:
        return self.lab.exec(["curl", "-sS", "--fail", "--max-time", "20", *options, url]).stdout

    def mirror_url(self, mirror: str = "debian") -> str:
        return f"http://{self.service_ip()}/{mirror}"

    def apt_download(
        self, package: str = PACKAGE, suite: str | None = None, mirror: str = "debian", *, default_retries: bool = False, url: str = ""
    ) -> Path:
        """A real apt in a scratch root updates and downloads from nothing but our Service, or that URL; returns the package.
        It asks once, unless it is to be as patient as apt is by default."""
        root = self.world.workdir / "apt" / f"{self.name}-{time.monotonic_ns()}"
        source = f"{url or self.mirror_url(mirror)} {suite or self.suites[0]} main"
        apt = AptClient(root, self.world.key.public(), source, default_retries=default_retries)
        return apt.download(self.lab, package)


class AptClient:
    """apt with directories of its own, so that nothing of this machine's set-up is used or changed."""

    def __init__(self, root: Path, keyring: str, source: str, *, default_retries: bool = False, **more: str) -> None:
        """`more` goes into apt.conf, with `__` for `::`."""
        self.root = root
        for folder in ("etc/apt.conf.d", "etc/preferences.d", "etc/trusted.gpg.d", "etc/sources.list.d", "state/lists/partial", "cache/archives/partial", "dpkg"):
            (root / folder).mkdir(parents=True)
        (root / "dpkg" / "status").touch()
        (root / "keyring.asc").write_text(keyring)
        (root / "etc" / "sources.list").write_text(f"deb [signed-by={root}/keyring.asc arch=amd64] {source}\n")
        self.config = root / "apt.conf"
        settings = {
            "Dir::Etc": f"{root}/etc", "Dir::State": f"{root}/state", "Dir::Cache": f"{root}/cache",
            "Dir::State::status": f"{root}/dpkg/status", "APT::Architecture": "amd64", "APT::Architectures": "amd64",
            "APT::Sandbox::User": "root", "Acquire::http::Proxy": "DIRECT",
            "Acquire::Languages": "none", "APT::Get::Assume-Yes": "true",
            **({} if default_retries else {"Acquire::Retries": "0"}),
            **{name.replace("__", "::"): value for name, value in more.items()},
        }
        self.config.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))

    def run(self, lab: Cluster, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        return lab.exec(["apt-get", *arguments], env={"APT_CONFIG": str(self.config)}, check=check)

    def download(self, lab: Cluster, package: str) -> Path:
        update = self.run(lab, "update")
        if "Err:" in update.stdout or "W:" in update.stderr:
            raise AssertionError(f"apt-get update complained:\n{update.stdout}{update.stderr}")
        self.run(lab, "install", "--download-only", package)
        found = sorted((self.root / "cache" / "archives").glob(f"{package}_*.deb"))
        assert found, f"apt downloaded nothing of {package}"
        return found[-1]


def follows(region: dict) -> bool:
    """Whether it serves what it was told to."""
    return region.get("order", {}).get("snapshot") in (None, region.get("snapshot"))


def regions_of(mirror: dict) -> list[dict]:
    """What a Mirror's status says of each region and of its one replica."""
    regions = mirror.get("status", {}).get("regions", [])
    return [{**region, **next(iter(region.get("replicas", [])), {})} for region in regions]


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for `DNS:name` or `IP:address`, which is its own authority, and its key."""
    chain, key = folder / "tls.crt", folder / "tls.key"
    run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=e2e.example.org", "-addext", f"subjectAltName={name}", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", chain]
    )  # fmt: skip
    return chain, key


def fresh_workdir(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def given_image() -> str:
    """The image that a cluster which takes none from us is to pull."""
    image = os.environ.get("MIRRORFLEET_E2E_IMAGE", "")
    if ":" not in image.rpartition("/")[2]:
        raise RuntimeError("set MIRRORFLEET_E2E_IMAGE to REPOSITORY:TAG, an image that this cluster can pull (`make image` builds it)")
    return image
