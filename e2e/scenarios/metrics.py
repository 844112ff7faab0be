"""A real Prometheus scrapes all three roles and answers what people ask."""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from lab import wait_until
from world import PACKAGE

from .faults import start_slow_sync
from .registry import scenario

PORT = 9091


@contextlib.contextmanager
def running_prometheus(world) -> Iterator[None]:
    """A Prometheus that finds its targets as the cluster's pods come and go.

    Debian builds its Prometheus without the discovery of Kubernetes, so the pods are written into a file that it reads.
    """
    folder = world.workdir / "prometheus"
    folder.mkdir(exist_ok=True)
    targets = folder / "targets.json"
    write_targets(world, targets)
    stop = threading.Event()

    def follow() -> None:
        while not stop.wait(1):
            with contextlib.suppress(Exception):
                write_targets(world, targets)

    follower = threading.Thread(target=follow, daemon=True)
    start_prometheus(world, folder, targets)
    follower.start()
    try:
        yield
    finally:
        stop.set()
        follower.join()
        world.lab.stop_server("prometheus")


def write_targets(world, path: Path) -> None:
    """Every running pod of ours with a container port named `metrics`."""
    groups = []
    for pod in world.lab.list("pods", selector="app.kubernetes.io/name=mirrorfleet"):
        ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", [])]
        address = pod["status"].get("podIP")
        if address and pod["status"]["phase"] == "Running" and any(port.get("name") == "metrics" for port in ports):
            component = pod["metadata"]["labels"].get("app.kubernetes.io/component", "controller")
            groups.append({"targets": [f"{address}:9090"], "labels": {"component": component}})
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(groups))
    fresh.replace(path)


def start_prometheus(world, folder: Path, targets: Path) -> None:
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {
                "job_name": "mirrorfleet",
                "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}],
                "honor_labels": True,
            }
        ],
    }
    path = folder / "prometheus.json"
    path.write_text(json.dumps(config))
    world.lab.run_server(
        "prometheus",
        ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{PORT}"],
        ready_url=f"http://127.0.0.1:{PORT}/-/ready", timeout=60,
    )  # fmt: skip


def query(world, expression: str) -> list[dict]:
    url = f"http://127.0.0.1:{PORT}/api/v1/query?query={urllib.parse.quote(expression)}"
    answer = json.loads(world.lab.exec(["curl", "-sS", "--max-time", "10", url]).stdout)
    assert answer["status"] == "success", answer
    return answer["data"]["result"]


def lag_expression() -> str:
    """The lag query, taken from the documentation, so that what people read is what is tested."""
    from world import ROOT

    text = (ROOT / "docs" / "metrics.md").read_text()
    return text.split("<!-- lag query -->")[1].split("```promql")[1].split("```")[0].strip()


@scenario("Prometheus scrapes controller, worker and server, and answers the lag query")
def prometheus(world):
    with running_prometheus(world), world.fleet("prometheus") as fleet:
        fleet.apply_all()
        mine = f'namespace="{fleet.namespace}",mirror="debian"'

        def lag() -> float | None:
            found = query(world, lag_expression())
            return next((float(r["value"][1]) for r in found if r["metric"].get("namespace") == fleet.namespace), None)

        wait_until(lambda: lag() == 0, 60, "a lag of 0 for a region that is current")
        fleet.apt_download()
        wait_until(lambda: query(world, f"mirrorfleet_http_requests_total{{{mine}}} > 0"), 30, "the server's series")
        wait_until(lambda: query(world, f"mirrorfleet_sync_runs_total{{{mine}}}"), 30, "the controller's series")

        start_slow_sync(fleet)
        wait_until(lambda: query(world, f"mirrorfleet_sync_received_bytes_total{{{mine}}} > 0"), 60, "the worker's series")
        # The probe sees what the authority has, the region is behind until the slow sync is done.
        wait_until(lambda: (lag() or 0) > 0, 90, "a lag above 0 while the region is behind")
        fleet.apply(fleet.upstream())
        wait_until(lambda: lag() == 0, 150, "a lag of 0 again")
        assert "_2.0_" in fleet.apt_download(PACKAGE).name

        fleet.lab.delete("mirror", "debian", fleet.namespace)
        wait_until(lambda: not query(world, f"mirrorfleet_region_snapshot_info{{{mine}}}"), 60, "a deleted Mirror's series to go")
        lines = [line for line in leader_metrics(world).splitlines() if fleet.namespace in line and 'mirror="debian"' in line]
        assert not lines, f"the controller still exports: {lines[:3]}"


def leader_metrics(world) -> str:
    leader = world.leader()
    pod = next(pod for pod in world.controller_pods() if pod["metadata"]["name"] == leader)
    return world.lab.exec(["curl", "-sS", "--max-time", "10", f"http://{pod['status']['podIP']}:9090/metrics"]).stdout


@scenario("promtool finds nothing wrong with what the three roles export")
def promtool(world):
    with world.fleet("promtool") as fleet:
        fleet.apply_all()
        texts = {"controller": leader_metrics(world)}
        texts["server"] = fleet.curl(f"http://{fleet.serving_pod()['status']['podIP']}:9090/metrics")
        pod = start_slow_sync(fleet)
        texts["worker"] = fleet.curl(f"http://{pod['status']['podIP']}:9090/metrics")
        for role, text in texts.items():
            result = world.lab.exec(["promtool", "check", "metrics"], input=text, check=False)
            assert result.returncode == 0, f"{role}: {result.stdout}{result.stderr}"
