"""npm's registry in a cluster: a pod that is filled by what clients ask for, and has nothing else to do."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack

from acceptance.npm_clients import CLIENTS, project, required
from acceptance.registry import Skipped
from lab import NotSupported, wait_until
from world import API_VERSION, ROOT

from .proxies import nginx
from .registry import scenario

PORT = 8010
#: Of the proxy before the registry, and below which path that has it.
FRONT, BELOW = 8011, "tools"
#: From where proxies connect that serve a cluster.
INSIDE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
DAY = 86_400
NAME = "npm"


def instant(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def registry(fleet, authority: str, **spec) -> list[dict]:
    """An Upstream and a Mirror of it."""
    place = fleet.mirror()["spec"]["regions"]
    return [
        {"apiVersion": API_VERSION, "kind": "Upstream", "metadata": {"name": NAME}, "spec": {"type": "Npm", "authority": {"url": authority}}},
        {
            "apiVersion": API_VERSION, "kind": "Mirror", "metadata": {"name": NAME},
            "spec": {"upstreamRef": {"name": NAME}, "mode": "PullThrough", "content": {"npm": {}}, "storage": {"size": "1Gi"}, "regions": place, **spec},
        },
    ]  # fmt: skip


def declared(fleet, authority: str, **serving) -> list[dict]:
    return registry(fleet, authority, guard={"minimumReleaseAge": "72h"}, serving={"aliases": ["repository/npm"], **serving})


def comes_through_a_sub_path(fleet, client, authority: str):
    """npm takes tarballs from below the registry's path only: their addresses lead to the proxy once its word counts."""
    http = f"""
        server {{
            listen {fleet.lab.host_ip}:{FRONT};
            location /{BELOW}/ {{
                proxy_pass http://{fleet.service_ip()}/;
                proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
                proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Prefix /{BELOW};
            }}
            location / {{ return 404; }}
        }}
    """
    url = f"http://{fleet.lab.host_ip}:{FRONT}/{BELOW}/{NAME}/"

    def leads_to() -> str:
        return json.loads(fleet.curl(f"{url}left"))["versions"]["1.2.0"]["dist"]["tarball"]

    with nginx(fleet, "npm-front", http) as log:
        wait_until(lambda: fleet.lab.exec(["curl", "-sSf", f"{url}-/ping"], check=False).returncode == 0, 30, f"an answer at {url}")
        assert leads_to() == f"http://{fleet.service_ip()}/{NAME}/left/-/left-1.2.0.tgz", leads_to()
        fleet.apply(*declared(fleet, authority, trustedProxies=INSIDE))
        wait_until(lambda: leads_to() == f"{url}left/-/left-1.2.0.tgz", 30, "the pod to be told of its proxies", detail=leads_to)
        folder = project(fleet.world.workdir, "e2e-front", {"top": "^0.1.0", "left": "^1.0.0"})
        client.run(folder, *client.install, registry=url, enter=fleet.lab.command)
        asked = log.read_text()
        assert f"GET /{BELOW}/{NAME}/left/-/left-1.2.0.tgz" in asked, asked
    return folder


@scenario("an npm registry: npm and pnpm install through the Service, and npm through an nginx at a sub-path once that is declared; a young version is refused with its reason; the pod is killed and the upstream goes away, and all goes on")
def npm_registry(world):
    clients = [CLIENTS[name] for name in ("npm12", "pnpm")]
    try:
        for client in clients:
            client.program()
    except Skipped as reason:
        raise NotSupported(str(reason)) from None
    with ExitStack() as cleanup:
        fleet = cleanup.enter_context(world.fleet(NAME))
        young = time.time() - DAY
        published = world.workdir / "npm.json"
        packages = [{"name": "left", "version": version} for version in ("1.0.0", "1.1.0", "1.2.0")]
        packages.append({"name": "left", "version": "1.9.0", "at": instant(young)})
        packages.append({"name": "@scope/inner", "version": "3.0.0", "dependencies": {"left": "~1.1.0"}})
        packages.append({"name": "top", "version": "0.1.0", "dependencies": {"@scope/inner": "^3.0.0", "left": "^1.0.0"}})
        published.write_text(json.dumps(packages))
        authority = f"http://{fleet.lab.host_ip}:{PORT}"
        fleet.lab.run_server("npm-upstream", [sys.executable, ROOT / "e2e" / "npm_registry.py", fleet.lab.host_ip, PORT, published], ready_url=f"{authority}/left")
        fleet.apply(*declared(fleet, authority))
        mirror = fleet.wait_ready(NAME)
        assert mirror["status"]["state"] == "Serving" and mirror["status"]["regionsReady"] == "1/1", mirror["status"]
        assert not fleet.lab.list("jobs", fleet.namespace), "a registry has no runs"

        pod = fleet.serving_pod()
        containers = {container["name"]: container for container in pod["spec"]["containers"]}
        assert sorted(containers) == ["fill", "serve"], sorted(containers)
        mounted = {name: {mount["name"]: mount.get("readOnly", False) for mount in container["volumeMounts"]} for name, container in containers.items()}
        assert mounted["serve"]["data"] and not mounted["fill"]["data"] and "declared" not in mounted["serve"], mounted
        assert pod["spec"].get("automountServiceAccountToken") is False, pod["spec"]

        address = f"http://{fleet.service_ip()}"
        folders = {}
        for client, below in zip(clients, (NAME, "repository/npm")):
            folder = folders[client] = project(world.workdir, f"e2e-{client.name}", {"top": "^0.1.0", "left": "^1.0.0"})
            client.run(folder, *client.install, registry=f"{address}/{below}/", enter=fleet.lab.command)
            assert (required(folder, "left"), required(folder, "top")) == ("left@1.2.0", "top@0.1.0")

        def refused(path: str) -> tuple[str, str]:
            told = fleet.lab.exec(["curl", "-sS", "--max-time", "30", "-w", "\n%{http_code}", f"{address}/{NAME}/{path}"]).stdout
            body, _, status = told.rpartition("\n")
            return status, json.loads(body)["error"]

        status, error = refused("left/-/left-1.9.0.tgz")
        assert status == "403" and f"opens at {instant(young + 3 * DAY)[:16]}" in error, (status, error)
        metrics = fleet.curl(f"http://{pod['status']['podIP']}:9091/metrics")
        assert 'mirrorfleet_registry_decisions_total{decision="held",mirror="npm",namespace="e2e-npm",region="region-a",rule="age"} ' in metrics, metrics

        folder = comes_through_a_sub_path(fleet, clients[0], authority)
        assert (required(folder, "left"), required(folder, "top")) == ("left@1.2.0", "top@0.1.0")
        assert fleet.serving_pod()["metadata"]["uid"] == pod["metadata"]["uid"], "who is told of proxies is not made anew"

        # Nothing is left but the volume.
        gone = time.time()
        fleet.lab.stop_server("npm-upstream")
        fleet.lab.delete("pod", pod["metadata"]["name"], fleet.namespace, force=True)

        def is_back() -> bool:
            pods = [one for one in fleet.pods("serving") if one["metadata"]["uid"] != pod["metadata"]["uid"]]
            return bool(pods) and any(it["type"] == "Ready" and it["status"] == "True" for it in pods[0]["status"].get("conditions", []))

        wait_until(is_back, 120, "the pod to be made anew")
        wait_until(lambda: fleet.lab.exec(["curl", "-sS", "--fail", "--max-time", "5", f"{address}/{NAME}/-/ping"], check=False).returncode == 0, 90, "the Service to lead to it")
        for client, below in zip(clients, (NAME, "repository/npm")):
            client.forget(folders[client])
            client.run(folders[client], *client.repeat, registry=f"{address}/{below}/", enter=fleet.lab.command)
            assert (required(folders[client], "left"), required(folders[client], "top")) == ("left@1.2.0", "top@0.1.0")
        status, error = refused("left/-/left-1.9.0.tgz")
        assert status == "403" and f"opens at {instant(young + 3 * DAY)[:16]}" in error, "when it opens is known from its first sight"
        answers = [refused(f"never-{number}") for number in range(4)]
        assert "left alone" in answers[-1][1], answers
        told = wait_until(lambda: fleet.status_of_pod(NAME)["registry"].get("upstreamBlockedSince"), 90, "the pod to tell the controller of it")
        assert gone - 1 <= told <= time.time() + 1, (gone, told)
        return f"{len(clients)} clients"
