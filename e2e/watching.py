"""A real Prometheus that finds our pods as the chart's PodMonitors say, with the chart's rules, and a real Alertmanager."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import threading
import time
from pathlib import Path

from lab import wait_until
from world import RELEASE, ROOT, SYSTEM_NAMESPACE

sys.path[:0] = [str(ROOT), str(ROOT / "charts")]

import helm  # noqa: E402 in charts/

CHART = ROOT / "charts" / "mirrorfleet"
MONITORS = ["--set", "monitoring.podMonitors.enabled=true,monitoring.rules.enabled=true"]
#: Of Grafana, at a scrape each second.
RATE_INTERVAL = "10s"


def filled(expression: str, **chosen: str) -> str:
    """A panel's query with its variables: everything, or what is chosen of `namespace`, `mirror`, `region`, `range` and
    `rate_interval`."""
    expression = expression.replace("$__rate_interval", chosen.get("rate_interval", RATE_INTERVAL))
    expression = expression.replace("$__range", chosen.get("range", "5m"))
    expression = re.sub(r'"\$(job|instance)"', '".+"', expression)
    return re.sub(r'"\$([a-z]+)"', lambda match: f'"{chosen.get(match[1], ".*")}"', expression)


def rendered(*values: str) -> list[dict]:
    """What the chart makes for the Prometheus operator."""
    text = helm.template(CHART, *MONITORS, *values, release=RELEASE, namespace=SYSTEM_NAMESPACE)
    return [thing for thing in helm.parse_all(text) if thing["apiVersion"].startswith("monitoring.coreos.com/")]


def hurried(world, name: str, port: int, *values: str) -> Watch:
    """Scrapes each second, by what the chart makes with these values."""
    return Watch(world.lab, world.workdir / name, port, rendered(*values), interval="1s")


class Watch:
    """`with Watch(lab, folder, 9091, things) as watch:`; it takes two ports. `things` are PodMonitors and PrometheusRules;
    what is scraped is scraped at their intervals, or at `interval`."""

    def __init__(self, lab, folder: Path, port: int, things: list[dict], *, interval: str = "") -> None:
        self.lab, self.folder, self.port, self.interval = lab, folder, port, interval
        self.folder.mkdir()
        self.monitors = [thing for thing in things if thing["kind"] == "PodMonitor"]
        self.rules = [group for thing in things if thing["kind"] == "PrometheusRule" for group in thing["spec"]["groups"]]
        #: What the Alertmanager was ever told of, by the alert's name and its namespace; the newest of each.
        self.told: dict[tuple[str, str], dict] = {}
        self.stop = threading.Event()
        self.follower = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Watch:
        self._write_targets()
        self._start_alertmanager()
        self._start_prometheus()
        self.follower.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.follower.join()
        for server in ("prometheus", "alertmanager"):
            self.lab.stop_server(f"{self.folder.name}-{server}")

    # What it is asked

    def query(self, expression: str, at: float | None = None) -> list[dict]:
        return self._asked("query", query=expression, **({"time": at} if at else {}))

    def over_time(self, expression: str, start: float, end: float, step: float = 1) -> list[dict]:
        return self._asked("query_range", query=expression, start=start, end=end, step=step)

    def _asked(self, what: str, **parameters: object) -> list[dict]:
        form = [part for name, value in parameters.items() for part in ("--data-urlencode", f"{name}={value}")]
        answer = self._get(f"http://127.0.0.1:{self.port}/api/v1/{what}", *form)
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]["result"]

    def _alerts(self) -> list[dict]:
        """What the Alertmanager was told of and has not seen end."""
        return self._get(f"http://127.0.0.1:{self.port + 1}/api/v2/alerts")

    def _get(self, url: str, *options: str):
        return json.loads(self.lab.exec(["curl", "-sS", "--max-time", "20", *options, url]).stdout)

    # How it works

    def _follow(self) -> None:
        while not self.stop.wait(1):
            with contextlib.suppress(Exception):
                self._write_targets()
                self.told |= {(alert["labels"]["alertname"], alert["labels"].get("namespace", "")): alert for alert in self._alerts()}

    def _write_targets(self) -> None:
        """Debian builds its Prometheus without the discovery of Kubernetes: this does what the operator's would do."""
        pods = [pod for pod in self.lab.list("pods", selector="app.kubernetes.io/name=mirrorfleet") if pod["status"].get("podIP") and pod["status"]["phase"] == "Running"]
        for monitor in self.monitors:
            path = self._targets(monitor)
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps([one for pod in pods for one in targets(monitor, pod)]))
            fresh.replace(path)

    def _targets(self, monitor: dict) -> Path:
        return self.folder / f"{monitor['metadata']['name']}.json"

    def _start_prometheus(self) -> None:
        rules = self.folder / "rules.json"
        rules.write_text(json.dumps({"groups": self.rules}))
        config = self.folder / "prometheus.json"
        config.write_text(json.dumps({
            "global": {"evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{self.port + 1}"]}]}]},
            "scrape_configs": [
                {
                    "job_name": monitor["metadata"]["name"],
                    "scrape_interval": self.interval or monitor["spec"]["podMetricsEndpoints"][0]["interval"],
                    "honor_labels": all(endpoint.get("honorLabels") for endpoint in monitor["spec"]["podMetricsEndpoints"]),
                    "file_sd_configs": [{"files": [str(self._targets(monitor))], "refresh_interval": "1s"}],
                }
                for monitor in self.monitors
            ],
        }))  # fmt: skip
        self._start("prometheus", self.port, ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.folder}/tsdb", "--rules.alert.resend-delay=1s"])

    def _start_alertmanager(self) -> None:
        config = self.folder / "alertmanager.json"
        route = {"receiver": "nobody", "group_wait": "0s", "group_interval": "1s"}
        config.write_text(json.dumps({"route": route, "receivers": [{"name": "nobody"}]}))
        # By itself: no others are looked for.
        command = ["prometheus-alertmanager", f"--config.file={config}", f"--storage.path={self.folder}/alerts", "--cluster.listen-address="]
        self._start("alertmanager", self.port + 1, command)

    def _start(self, what: str, port: int, command: list[str]) -> None:
        address = f"127.0.0.1:{port}"
        self.lab.run_server(f"{self.folder.name}-{what}", [*command, f"--web.listen-address={address}"], ready_url=f"http://{address}/-/ready")


def targets(monitor: dict, pod: dict) -> list[dict]:
    """As the Prometheus operator finds them: the pod's ports of the endpoint's name, with its labels."""
    spec, meta = monitor["spec"], pod["metadata"]
    chosen = spec["namespaceSelector"]
    if not chosen.get("any") and meta["namespace"] not in chosen["matchNames"]:
        return []
    if not spec["selector"]["matchLabels"].items() <= meta["labels"].items():
        return []
    job = f"{monitor['metadata']['namespace']}/{monitor['metadata']['name']}"
    return [
        {
            "targets": [f"{pod['status']['podIP']}:{port['containerPort']}"],
            "labels": {"job": job, "namespace": meta["namespace"], "pod": meta["name"], "container": container["name"], "endpoint": port["name"]},
        }
        for endpoint in spec["podMetricsEndpoints"]
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
        if port.get("name") == endpoint["port"]
    ]  # fmt: skip


class Period:
    """A time of which the dashboards are asked."""

    def __init__(self, watch: Watch, **chosen: str) -> None:
        self.watch, self.chosen = watch, chosen
        self.start = self.end = time.time()

    def ends(self) -> Period:
        self.end = time.time()
        return self

    def asked(self, expression: str, **chosen: str) -> list[dict]:
        length = max(10, round(self.end - self.start))
        query = filled(expression, **{**self.chosen, **chosen}, range=f"{length}s")
        return self.watch.over_time(query, self.start, self.end, max(1, length // 200))

    def series(self, expression: str) -> dict[tuple, float]:
        """By its labels, the most that each was."""
        assert not re.search(r"\bor vector\(|\babsent\(", expression), f"always has data: {expression}"
        return {tuple(sorted(one["metric"].items())): max(float(value) for _, value in one["values"]) for one in self.asked(expression)}

    def recording(self, boards: list[dict], one_mirror: dict[str, str]) -> dict:
        """What the panels of these documents show, for monitoring/pictures.py; the dashboard of one Mirror of this one."""
        told = {}
        for board in boards:
            chosen = one_mirror if board["uid"].endswith("-mirror") else {}
            panels = [panel for panel in board["panels"] if panel["type"] != "row"]
            told[board["uid"]] = {panel["id"]: {target["refId"]: self.asked(target["expr"], **chosen) for target in panel["targets"]} for panel in panels}
        return {"start": self.start, "end": self.end, "boards": told}


def wait_for_alerts(watch: Watch, wanted: set[tuple[str, str]], timeout: float) -> dict[tuple[str, str], dict]:
    """Until the Alertmanager was told of each, by name and namespace (none where an alert has none)."""
    wait_until(lambda: wanted <= set(watch.told), timeout, "all alerts", 1, lambda: f"missing: {sorted(wanted - set(watch.told))}")
    return {one: watch.told[one] for one in wanted}
