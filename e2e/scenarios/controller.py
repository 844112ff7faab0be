"""The controller: at rest it writes nothing, and killed anywhere it goes on where it was."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.parse
from pathlib import Path

from lab import wait_until
from world import CONTROLLER_USER, PACKAGE, PASSWORD, RELEASE, ROOT, SYSTEM_NAMESPACE, USER

from .access import secret
from .registry import scenario

#: Over several periods at which the controller asks pods and looks again.
REST_SECONDS = 45
#: Now and then it is asked whether the cluster has come to have them, as long as it has not.
GATEWAY_KINDS = "/apis/gateway.networking.k8s.io/v1"


def scale_controller(world, replicas: int) -> None:
    world.lab.kubectl("scale", "deployment", RELEASE, f"--replicas={replicas}", namespace=SYSTEM_NAMESPACE)

    def scaled() -> bool:
        # One that is on its way out still acts.
        leaving = any(pod["metadata"].get("deletionTimestamp") for pod in world.lab.list("pods", SYSTEM_NAMESPACE))
        return len(world.controller_pods()) == replicas and not leaving

    wait_until(scaled, 120, f"{replicas} controllers")


@scenario("a converged world, one of its Upstreams asked by Jobs: no API write and no list at rest, nor after a restart", needs=("pod-network", "audit-log"), alone=True)
def converged_world(world):
    with world.fleet("converged") as fleet:
        fleet.apply(*with_login(fleet))
        fleet.apply_all()
        fleet.wait_ready("with-login")
        fleet.lab.wait_condition("upstream", "with-login", fleet.namespace, "Reachable")
        fleet.sync()
        settle(world)
        since = world.lab.audit_position()
        time.sleep(REST_SECONDS)
        asked = world.controller_requests(since)
        writes = [brief(event) for event in asked if event["verb"] not in ("get", "list", "watch")]
        reads = [brief(event) for event in asked if event["verb"] in ("get", "list") and event["requestURI"] != GATEWAY_KINDS]
        assert not writes, f"writes at rest: {writes}"
        assert not reads, f"reads at rest: {reads}"

        since = world.lab.audit_position()
        for pod in world.controller_pods():
            world.lab.delete("pod", pod["metadata"]["name"], SYSTEM_NAMESPACE, force=True, wait=False)
        wait_until(lambda: len(world.controller_pods()) == 2, 120, "two controllers again")
        world.leader()
        time.sleep(REST_SECONDS / 2)
        writes = [brief(event) for event in world.controller_writes(since)]
        assert not writes, f"writes after a restart: {writes}"
        return f"0 writes, 0 reads in {REST_SECONDS} s; 0 writes after a restart"


def with_login(fleet) -> list[dict]:
    """A Mirror of an Upstream that only Jobs can ask, at once and each half hour."""
    login = secret("login", "Opaque", username=USER, password=PASSWORD, hosts=f"http://{urllib.parse.urlsplit(fleet.url()).netloc}")
    upstream = {**fleet.upstream(access={"credentialsRef": {"name": "login"}}), "metadata": {"name": "with-login"}}
    return [login, upstream, fleet.mirror("with-login", upstreamRef={"name": "with-login"})]


def settle(world) -> None:
    """Until the controller has written nothing for a while."""

    def quiet() -> bool:
        since = world.lab.audit_position()
        time.sleep(8)
        return not world.controller_writes(since)

    wait_until(quiet, 240, "the controller to come to rest")


def brief(event: dict) -> str:
    reference = event.get("objectRef", {})
    parts = [reference.get(key, "") for key in ("resource", "subresource", "namespace", "name")]
    return f"{event['verb']} {'/'.join(filter(None, parts))}"


@scenario("killed between every two writes, the controller converges", needs=("pod-network", "audit-log"), alone=True)
def killed_between_writes(world):
    scale_controller(world, 0)
    try:
        with world.fleet("killed") as fleet:
            controller = LocalController(world)
            fleet.apply(fleet.keyring(), fleet.upstream(), fleet.mirror())
            deaths = controller.run_until(lambda: fleet.condition("Ready").get("status") == "True", timeout=480)
            fleet.wait_led_to()
            fleet.archive.add_package("stable", PACKAGE, "2.0")
            fleet.archive.publish("stable")
            value = fleet.request_sync()
            deaths += controller.run_until(
                lambda: fleet.get()["status"].get("lastHandledSyncRequest") == value
                and "_2.0_" in fleet.apt_download().name, timeout=480,
            )  # fmt: skip
            assert deaths >= 6, f"only {deaths} deaths: the hook did not work"
            jobs = fleet.lab.list("jobs", fleet.namespace)
            assert len(fleet.claims()) == 1 and len(jobs) <= 1, "something was made twice"
            return f"{deaths} deaths"
    finally:
        scale_controller(world, 2)


class LocalController:
    """The controller as a process in the lab, with the rights and the options of the installed one, that dies after each write."""

    #: Options of the installed one that are its pods' own.
    OF_PODS = ("--metrics-listen=", "--status-", "--lease-", "--identity=")

    def __init__(self, world) -> None:
        self.world = world
        lab = world.lab
        token = lab.kubectl("create", "token", RELEASE, "--duration=1h", namespace=SYSTEM_NAMESPACE).strip()
        config = json.loads(lab.kubectl("config", "view", "--raw", "-o", "json"))
        config["users"] = [{"name": "controller", "user": {"token": token}}]
        config["contexts"] = [{"name": "controller", "context": {"cluster": config["clusters"][0]["name"], "user": "controller"}}]
        config["current-context"] = "controller"
        deployment = lab.get("deployment", RELEASE, SYSTEM_NAMESPACE)
        installed = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        self.options = [option for option in installed if not option.startswith(self.OF_PODS)]
        self.starts = 0
        self.kubeconfig = world.workdir / "controller-kubeconfig.json"
        self.kubeconfig.write_text(json.dumps(config))

    def run_until(self, done, timeout: float) -> int:
        """Starts it again after each death, until `done`; returns the number of deaths."""
        deaths, deadline = 0, time.monotonic() + timeout
        while True:
            process = self._start()
            try:
                while process.poll() is None:
                    if done():
                        return deaths
                    assert time.monotonic() < deadline, f"not converged after {deaths} deaths\n{self._log()}"
                    time.sleep(0.3)
            finally:
                process.kill()
                process.wait()
            assert process.returncode == 99, f"the controller ended with {process.returncode}\n{self._log()}"
            deaths += 1

    def _start(self) -> subprocess.Popen:
        # A Lease of its own each time: the one of the dead holds for 15 s, and waiting for it shows nothing new.
        self.starts += 1
        log = (self.world.workdir / "controller.log").open("ab")
        argv = [
            binary(), *self.options, "--metrics-listen", "127.0.0.1:0", "--lease-namespace", SYSTEM_NAMESPACE, "--lease-name", f"killed-between-writes-{self.starts}",
        ]  # fmt: skip
        environment = {"KUBECONFIG": str(self.kubeconfig), "MIRRORFLEET_FAULT_AFTER_WRITES": "1"}
        return self.world.lab.popen(argv, env=environment, stdout=log, stderr=log)

    def _log(self) -> str:
        return "\n".join((self.world.workdir / "controller.log").read_text(errors="replace").splitlines()[-40:])


def binary() -> Path:
    target = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    host = next(line.split(": ")[1] for line in target.splitlines() if line.startswith("host: "))
    folder = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    return Path(os.environ.get("MIRRORFLEET_BIN") or folder / host / "release" / "mirrorfleet")


@scenario("the controller has no right to Secrets, and neither token nor right is in its pods' reach", needs=())
def rights(world):
    for verb in ("get", "list", "watch", "create", "update", "delete"):
        result = world.lab.exec(["kubectl", "auth", "can-i", verb, "secrets", "--all-namespaces", f"--as={CONTROLLER_USER}"], check=False)
        assert result.stdout.strip() == "no", f"the controller may {verb} Secrets"


@scenario("the leader dies: the standby takes over", alone=True)
def leader_hand_over(world):
    with world.fleet("hand-over") as fleet:
        fleet.apply_all()
        leader = world.leader()
        world.lab.delete("pod", leader, SYSTEM_NAMESPACE, force=True, wait=False)
        wait_until(lambda: world.leader() != leader, 120, "another leader")
        fleet.archive.add_package("stable", PACKAGE, "2.0")
        fleet.archive.publish("stable")
        assert fleet.sync()["lastAttempt"]["reason"] == "Prepared"
