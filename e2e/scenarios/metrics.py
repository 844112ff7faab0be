"""A real Prometheus scrapes all three roles and answers what people ask."""

from __future__ import annotations

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

        wait_until(lambda: lag() == 0, 60, "a lag of 0 for a region that is current")
        fleet.apt_download()
        wait_until(lambda: watch.query(f"mirrorfleet_http_requests_total{{{mine}}} > 0"), 30, "the server's series")
        wait_until(lambda: watch.query(f"mirrorfleet_sync_runs_total{{{mine}}}"), 30, "the controller's series")

        start_slow_sync(fleet)
        wait_until(lambda: watch.query(f"mirrorfleet_sync_received_bytes_total{{{mine}}} > 0"), 60, "the worker's series")
        # The probe sees what the authority has, the region is behind until the slow sync is done.
        wait_until(lambda: (lag() or 0) > 0, 90, "a lag above 0 while the region is behind")
        fleet.apply(fleet.upstream())
        wait_until(lambda: lag() == 0, 150, "a lag of 0 again")
        assert "_2.0_" in fleet.apt_download(PACKAGE).name

        fleet.lab.delete("mirror", "debian", fleet.namespace)
        wait_until(lambda: not watch.query(f"mirrorfleet_region_snapshot_info{{{mine}}}"), 60, "a deleted Mirror's series to go")
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
