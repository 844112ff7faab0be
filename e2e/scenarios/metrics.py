"""A real Prometheus scrapes all three roles and answers what people ask."""

from __future__ import annotations

import time

from lab import wait_until
from watching import hurried
from world import PACKAGE, ROOT

from .faults import start_slow_sync
from .registry import scenario


def lag_expression() -> str:
    """The lag query, taken from the documentation, so that what people read is what is tested."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    return text.split("<!-- lag query -->")[1].split("```promql")[1].split("```")[0].strip()


@scenario("Prometheus scrapes controller, worker and server, and answers the lag query")
def prometheus(world):
    with hurried(world, "prometheus", 9091) as watch, world.fleet("prometheus") as fleet:
        fleet.apply_all()
        mine = f'namespace="{fleet.namespace}",mirror="debian"'

        def lag() -> float | None:
            found = watch.query(lag_expression())
            return next((float(r["value"][1]) for r in found if r["metric"].get("namespace") == fleet.namespace), None)

        wait_until(lambda: lag() == 0, 120, "a lag of 0 for a region that is current")
        fleet.apt_download()
        wait_until(lambda: watch.query(f"mirrorfleet_http_requests_total{{{mine}}} > 0"), 90, "the server's series")
        wait_until(lambda: watch.query(f"mirrorfleet_sync_runs_total{{{mine}}}"), 90, "the controller's series")

        began = time.time()

        def was_above_zero(expression: str) -> bool:
            """Since then: who asks late does not see it any more at that moment."""
            mine = [one for one in watch.over_time(expression, began, time.time()) if one["metric"].get("namespace") == fleet.namespace]
            return any(float(value) > 0 for one in mine for _, value in one["values"])

        start_slow_sync(fleet)
        wait_until(lambda: was_above_zero(f"mirrorfleet_sync_received_bytes_total{{{mine}}}"), 120, "the worker's series")
        # The probe sees what the authority has, the region is behind until the slow sync is done.
        wait_until(lambda: was_above_zero(lag_expression()), 120, "a lag above 0 while the region is behind")
        fleet.apply(fleet.upstream())
        wait_until(lambda: lag() == 0, 240, "a lag of 0 again")
        assert "_2.0_" in fleet.apt_download(PACKAGE).name

        fleet.lab.delete("mirror", "debian", fleet.namespace)
        wait_until(lambda: not watch.query(f"mirrorfleet_region_snapshot_info{{{mine}}}"), 120, "a deleted Mirror's series to go")
        lines = lambda: [line for line in leader_metrics(world).splitlines() if fleet.namespace in line and 'mirror="debian"' in line]  # noqa: E731
        wait_until(lambda: not lines(), 120, "the controller to export nothing of it", detail=lambda: lines()[:3])


def leader_metrics(world) -> str:
    """Another scenario may send the controllers away meanwhile."""

    def told() -> str:
        leader = world.leader()
        addresses = [pod["status"]["podIP"] for pod in world.controller_pods() if pod["metadata"]["name"] == leader]
        return world.lab.exec(["curl", "-sS", "--fail", "--max-time", "20", f"http://{addresses[0]}:9090/metrics"]).stdout if addresses else ""

    return wait_until(told, 120, "the leader's metrics")


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
