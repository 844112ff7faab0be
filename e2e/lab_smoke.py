#!/usr/bin/env python3
"""Does the lab itself work? Starts it, uses every part of it, ends it, and looks for what it left behind.

`python3 lab_smoke.py [--rounds N]`; prints one line per check and, last, `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import BUSYBOX_IMAGE, Lab, NotSupported, ExistingCluster, cgroups, keeper, wait_until, write_image

NAMESPACE = "smoke"
RESTRICTED_POD = {
    "runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}  # fmt: skip
RESTRICTED_CONTAINER = {
    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
}  # fmt: skip


def pod_spec(script: str, *, region: str = "", claim: str = "data", **extra: object) -> dict:
    spec: dict = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": RESTRICTED_POD,
        "containers": [
            {
                "name": "main",
                "image": BUSYBOX_IMAGE,
                "imagePullPolicy": "Never",
                "command": ["/bin/sh", "-euc", script],
                "securityContext": RESTRICTED_CONTAINER,
                "volumeMounts": [{"name": "data", "mountPath": "/data"}] if claim else [],
            }
        ],
        **extra,
    }
    if claim:
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
    if region:
        spec["nodeSelector"] = {"topology.kubernetes.io/region": region}
    return spec


def claim(name: str, size: str, storage_class: str | None = None) -> dict:
    spec: dict = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    if storage_class:
        spec["storageClassName"] = storage_class
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def job(name: str, spec: dict) -> dict:
    template = {"spec": {"restartPolicy": "Never", **spec}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template},
    }


def web(region: str) -> list[dict]:
    """A one-pod StatefulSet with a volume, and its Service, in one region."""
    name = f"web-{region}"
    labels = {"app": name}
    serve = "while [ ! -f /data/index.html ]; do sleep 0.2; done; exec httpd -f -p 8080 -h /data"
    spec = pod_spec(serve, region=region, claim=name)
    spec["containers"][0]["ports"] = [{"containerPort": 8080}]
    spec["containers"][0]["readinessProbe"] = {"httpGet": {"path": "/index.html", "port": 8080}, "periodSeconds": 1}
    stateful_set = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "serviceName": name,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    return [claim(name, "64Mi"), service, stateful_set]


class Smoke:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.url = {region: f"http://web-{region}.{NAMESPACE}.svc.cluster.local/index.html" for region in REGIONS}

    def fetch(self, url: str) -> str:
        return self.lab.exec(["curl", "-fsS", "--max-time", "5", url]).stdout

    def serves(self, region: str) -> None:
        """Within the time that a cluster takes to notice what happened (cluster DNS ran on the lost node too)."""
        wait_until(lambda: self.fetch(self.url[region]) == f"hello {region}\n", 60, f"{region} to serve")

    def check_nodes_in_two_regions(self) -> None:
        labels = [node["metadata"]["labels"] for node in self.lab.list("nodes")]
        assert sorted(label["topology.kubernetes.io/region"] for label in labels) == list(REGIONS), labels

    def check_versions(self) -> None:
        assert '"gitVersion": "v1.34.4"' in self.lab.kubectl("get", "--raw", "/version")
        assert "v4.1.4" in self.lab.exec(["helm", "version"]).stdout

    def check_a_pod_and_a_volume_in_each_region(self) -> None:
        lab = self.lab
        lab.create_namespace(NAMESPACE)
        for region in REGIONS:
            lab.apply(web(region), NAMESPACE)
            write = pod_spec(f"echo hello {region} > /data/index.html", claim=f"web-{region}")
            lab.apply(job(f"write-{region}", write), NAMESPACE)
        for region in REGIONS:
            done = lab.wait_job(f"write-{region}", NAMESPACE)
            assert done["status"].get("succeeded") == 1, done["status"]
            pod = lab.wait_pod_ready(f"web-{region}-0", NAMESPACE)
            assert pod["spec"]["nodeName"] == f"node-{region[-1]}"

    def check_services_and_pods_by_name_and_address_from_the_lab(self) -> None:
        for region in REGIONS:
            assert self.fetch(self.url[region]) == f"hello {region}\n"
            service = self.lab.get("service", f"web-{region}", NAMESPACE)
            assert self.lab.resolve(f"web-{region}.{NAMESPACE}.svc.cluster.local") == [service["spec"]["clusterIP"]]
            address = self.lab.get("pod", f"web-{region}-0", NAMESPACE)["status"]["podIP"]
            assert self.fetch(f"http://{address}:8080/index.html") == f"hello {region}\n"
        assert self.lab.resolve("no-such-name.example.org") == []

    def check_pods_reach_services_of_both_regions_and_themselves(self) -> None:
        for region in REGIONS:
            for url in self.url.values():
                self.lab.exec_in_pod(f"web-{region}-0", NAMESPACE, ["wget", "-q", "-O", "-", url])

    def check_a_pod_fetches_from_nginx_in_the_lab(self) -> None:
        lab = self.lab
        root = lab.workdir / "nginx"
        (root / "www").mkdir(parents=True, exist_ok=True)
        (root / "www" / "hello").write_text("from the lab\n")
        (root / "nginx.conf").write_text(
            f"daemon off; user root; pid {root}/pid; error_log stderr; events {{}}\n"
            f"http {{ access_log {root}/access.log; server {{ listen {lab.host_ip}:80; root {root}/www; }} }}\n"
        )
        lab.run_server("nginx", ["nginx", "-c", root / "nginx.conf"], ready_url=f"http://{lab.host_ip}/hello")
        for region in REGIONS:
            got = lab.exec_in_pod(
                f"web-{region}-0", NAMESPACE, ["wget", "-q", "-O", "-", f"http://upstream.{lab.host_domain}/hello"]
            )
            assert got.stdout == "from the lab\n", got

    def check_logs_and_port_forward(self) -> None:
        lab = self.lab
        lab.apply(job("talk", pod_spec("echo spoken", claim="")), NAMESPACE)
        lab.wait_job("talk", NAMESPACE)
        pod = lab.list("pods", NAMESPACE, "job-name=talk")[0]["metadata"]["name"]
        assert lab.pod_logs(pod, NAMESPACE) == "spoken\n"
        with lab.port_forward("pod/web-region-a-0", NAMESPACE, 8080) as base:
            assert self.fetch(f"{base}/index.html") == "hello region-a\n"

    def check_the_kubeconfig_works_on_the_machine_itself(self) -> None:
        kubectl = self.lab.exec(["which", "kubectl"]).stdout.strip()
        with ExistingCluster(self.lab.kubeconfig, path=os.path.dirname(kubectl)) as outside:
            assert len(outside.list("nodes")) == 2
            assert outside.supports("default-storage") and not outside.supports("own-nodes")
            try:
                outside.require("own-nodes")
            except NotSupported:
                return
        raise AssertionError("an existing cluster claims to have our nodes")

    def check_an_image_is_loaded_on_both_nodes(self) -> None:
        archive = self.lab.workdir / "extra.tar"
        busybox = Path("/bin/busybox")
        write_image(archive, "mirrorfleet.test/extra:1", {"/bin/busybox": busybox}, ["/bin/busybox", "true"])
        self.lab.load_image(archive)
        for region in REGIONS:
            spec = pod_spec("", region=region, claim="")
            spec["containers"][0].update(image="mirrorfleet.test/extra:1")
            del spec["containers"][0]["command"]
            self.lab.apply(job(f"extra-{region}", spec), NAMESPACE)
        for region in REGIONS:
            assert self.lab.wait_job(f"extra-{region}", NAMESPACE)["status"].get("succeeded") == 1

    def check_a_small_volume_fills_up(self) -> None:
        lab = self.lab
        lab.small_volume("node-b", "tiny", 8)
        lab.apply(claim("tiny", "8Mi", "small"), NAMESPACE)
        script = "! dd if=/dev/zero of=/data/fill bs=1M count=64; rm /data/fill; echo kept > /data/kept"
        lab.apply(job("fill", pod_spec(script, claim="tiny")), NAMESPACE)
        done = lab.wait_job("fill", NAMESPACE)
        assert done["status"].get("succeeded") == 1, lab.kubectl("logs", "job/fill", namespace=NAMESPACE)

    def check_audit_log_counts_writes(self) -> None:
        lab = self.lab
        before = lab.audit_position()
        lab.kubectl("get", "pods", namespace=NAMESPACE)
        assert lab.audit_events(user="admin", writes_only=True, since=before) == []
        lab.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen"}}, NAMESPACE)
        writes = lab.audit_events(user="admin", writes_only=True, resource="configmaps", since=before)
        assert [event["verb"] for event in writes] == ["create"], writes

    def check_restarted_components_come_back(self) -> None:
        for component in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "node-a/kubelet"):
            self.lab.restart(component)
        self.lab.apply(job("after-restart", pod_spec("true", region="region-a", claim="")), NAMESPACE)
        assert self.lab.wait_job("after-restart", NAMESPACE)["status"].get("succeeded") == 1
        self.serves("region-a")

    def check_a_lost_node_is_noticed_and_comes_back_with_its_data(self) -> None:
        lab = self.lab
        lab.node_down("node-b")
        self.serves("region-a")
        lab.node_up("node-b")
        self.serves("region-b")
        lab.apply(job("look", pod_spec("grep kept /data/kept", claim="tiny")), NAMESPACE)
        assert lab.wait_job("look", NAMESPACE)["status"].get("succeeded") == 1

    def check_the_other_node_can_be_lost_too(self) -> None:
        # Services are reached from the lab through a node: the loss of that one must not matter.
        self.lab.node_down("node-a", wait=False)
        self.serves("region-b")
        self.lab.node_up("node-a")

    def check_a_node_that_is_cut_off_runs_on_and_comes_back(self) -> None:
        lab, before = self.lab, time.time()
        lab.cut_off("node-a")
        self.serves("region-b")
        wait_until(lambda: not lab.node_ready("node-a"), 60, "node-a to be seen as not ready")
        assert lab.component_state("node-a/kubelet") == "running"
        lab.reconnect("node-a")
        wait_until(lambda: lab.node_ready("node-a", before), 60, "node-a to be ready")
        self.serves("region-a")

    def check_volumes_are_reclaimed(self) -> None:
        lab = self.lab
        lab.delete("namespace", NAMESPACE, timeout=90)
        dynamic = lambda: [v for v in lab.list("pv") if v["spec"]["storageClassName"] == "local-path"]  # noqa: E731
        wait_until(lambda: not dynamic(), 60, "dynamic volumes to be reclaimed", detail=lambda: dynamic())
        assert not list(lab.layout.nodes.glob("*/disk/lib/local-path/*"))


REGIONS = ("region-a", "region-b")


class Report:
    def __init__(self) -> None:
        self.passed = self.failed = 0

    def run(self, name: str, check) -> bool:
        started = time.monotonic()
        try:
            check()
        except Exception:
            self.failed += 1
            print(f"FAIL {name}\n{traceback.format_exc()}", flush=True)
            return False
        self.passed += 1
        print(f"ok   {name} ({time.monotonic() - started:.1f} s)", flush=True)
        return True


def processes_mentioning(text: str) -> list[str]:
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            mounts = (directory / "mountinfo").read_text()
        except OSError:
            continue
        if int(directory.name) != os.getpid() and (text in command or text in mounts):
            found.append(f"{directory.name} {command}")
    return found


def assert_nothing_left(workdir: Path, identity: str) -> None:
    wait_until(lambda: not processes_mentioning(str(workdir)), 20, "processes and mounts to be gone",
               detail=lambda: processes_mentioning(str(workdir)))  # fmt: skip
    wait_until(lambda: not cgroups.left_over(identity), 20, "cgroups to be gone",
               detail=lambda: cgroups.left_over(identity))  # fmt: skip
    loops = subprocess.run(["losetup", "--list", "--output", "BACK-FILE"], capture_output=True, text=True, check=True)
    assert str(workdir) not in loops.stdout, loops.stdout
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(workdir) not in mounts, mounts
    assert not (keeper.registry() / f"{identity}.json").exists()
    left = sorted(path.name for path in workdir.iterdir())
    assert not {"nodes", "etcd", "credentials", "config", "kubeconfig"} & set(left), left


def smoke(report: Report, workdir: Path) -> None:
    lab = Lab(workdir, report=lambda line: print(f"     {line}", flush=True))
    if not report.run("up", lab.up):
        return
    try:
        checks = Smoke(lab)
        for name in [name for name in vars(Smoke) if name.startswith("check_")]:
            report.run(name.removeprefix("check_").replace("_", " "), getattr(checks, name))
    finally:
        report.run("down", lab.down)
    report.run("down leaves nothing behind", lambda: assert_nothing_left(workdir, lab.layout.identity))


def killed(report: Report, workdir: Path, victims: str) -> None:
    """A run that is killed leaves no cluster; what only its keeper could remove, the next run does."""
    script = f"import time; from lab import Lab; Lab({str(workdir)!r}).up(); print('up', flush=True); time.sleep(600)"
    here = Path(__file__).resolve().parent
    runner = subprocess.Popen([sys.executable, "-c", script], cwd=here, stdout=subprocess.PIPE, text=True)
    layout = Lab(workdir).layout

    def check() -> None:
        assert runner.stdout is not None and runner.stdout.readline() == "up\n"
        if victims == "keeper first":
            os.kill(int(layout.keeper_pid.read_text()), signal.SIGKILL)
        runner.kill()
        runner.wait()
        wait_until(lambda: not processes_mentioning(str(workdir)), 20, "the cluster to be gone",
                   detail=lambda: processes_mentioning(str(workdir)))  # fmt: skip
        if victims == "keeper first":
            wait_until(keeper.clean_stale, 5, "the next run to clean up")
        assert_nothing_left(workdir, layout.identity)

    try:
        report.run(f"a killed run leaves nothing behind ({victims})", check)
    finally:
        runner.kill()
        runner.wait()


def two_at_once(report: Report, base: Path) -> None:
    labs = [Lab(base / f"twin-{number}") for number in (1, 2)]

    def check() -> None:
        try:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(Lab.up, labs))
            labs[0].down()
            assert labs[1].node_ready("node-a") and len(labs[1].list("nodes")) == 2
            keeper.clean_stale()
            assert labs[1].node_ready("node-b")
        finally:
            for lab in labs:
                lab.down()
        for lab in labs:
            assert_nothing_left(lab.workdir, lab.layout.identity)

    report.run("two labs do not disturb each other", check)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only-lab", action="store_true", help="skip the killed runs and the second lab")
    options = parser.parse_args()
    report = Report()
    base = Path(tempfile.mkdtemp(prefix="mirrorfleet-smoke-"))
    for number in range(1, options.rounds + 1):
        smoke(report, base / f"round-{number}")
    if not options.only_lab:
        killed(report, base / "killed-owner", "owner")
        killed(report, base / "killed-keeper", "keeper first")
        two_at_once(report, base)
    if report.failed:
        print(f"logs are kept in {base}")
    else:
        subprocess.run(["rm", "-rf", "--one-file-system", str(base)], check=True)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
