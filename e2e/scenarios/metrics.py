"""A real Prometheus scrapes all three roles and answers what people ask."""

from __future__ import annotations

import json
import urllib.parse

from lab import wait_until
from world import PACKAGE

from .faults import start_slow_sync
from .registry import scenario

PORT = 9091


def start_prometheus(world) -> None:
    folder = world.workdir / "prometheus"
    folder.mkdir(exist_ok=True)
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {
                "job_name": "mirrorfleet",
                "kubernetes_sd_configs": [{"role": "pod", "kubeconfig_file": str(world.lab.kubeconfig)}],
                "relabel_configs": [
                    {"source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": "metrics", "action": "keep"},
                    {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Running", "action": "keep"},
                    {"source_labels": ["__meta_kubernetes_pod_label_app_kubernetes_io_component"], "target_label": "component"},
                    {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "pod_namespace"},
                ],
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
    start_prometheus(world)
    with world.fleet("prometheus") as fleet:
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
        lines = [line for line in leader_metrics(world).splitlines() if fleet.namespace in line]
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
