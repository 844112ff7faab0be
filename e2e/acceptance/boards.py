"""The dashboards' queries, asked of a real Prometheus that scrapes us."""

from __future__ import annotations

import json
import re
import signal
import urllib.parse
import urllib.request

from lab.waiting import wait_until
from npm_registry import Registry
from watching import filled

from .apt import Apt
from .debian import DebianArchive, Suite
from .npm import stocked
from .place import API_VERSION, Place, free_port
from .registry import story

REFUSED = '{result="Failed",reason="SignatureBad"}'
SUITE = Suite("stable", suite="stable", codename="stable")
#: What only a cluster has: reconciliations, an API, pods that are asked and pods of runs that last, decisions of what regions publish, probes of
#: endpoints; and keys that expire.
ELSEWHERE = re.compile(r"_reconcile|_queue_|_api_|_polls_|_publication_|_upstream_endpoint_|sync_planned|sync_received|_key_expiry_")
#: Panels that are empty while nothing is wrong, or while nothing has been counted since the first scrape.
FAULTS = (": Runs by reason", ": What is not well, and since when")
#: Longer than the story, so that what was counted in it is seen whenever that is asked.
RATE_INTERVAL = "5m"


def panels() -> list[tuple[str, list[str]]]:
    """The queries of each panel that a process without a cluster can fill."""
    from monitoring.dashboards import DASHBOARDS

    every = [(f"{board.name}: {panel.title}", [query.expression for query in panel.queries]) for board in DASHBOARDS for panel in board.panels]
    return [(name, queries) for name, queries in every if not any(map(ELSEWHERE.search, queries))]


def ask(port: int, expression: str) -> list[dict]:
    query = filled(expression.replace("$__rate_interval", RATE_INTERVAL))
    url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(query)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        told = json.load(answer)
    assert told["status"] == "success", told
    return told["data"]["result"]


def npm_documents(registry: Registry) -> list[dict]:
    spec = {"upstreamRef": {"name": "npm"}, "mode": "PullThrough", "content": {"npm": {}}, "regions": [{"name": "here"}]}
    return [
        {"apiVersion": API_VERSION, "kind": "Upstream", "metadata": {"name": "npm"}, "spec": {"type": "Npm", "authority": {"url": registry.url}}},
        {"apiVersion": API_VERSION, "kind": "Mirror", "metadata": {"name": "npm"}, "spec": spec},
    ]


@story("the panels of the dashboards have data from a real Prometheus that scrapes us")
def dashboards(place: Place) -> None:
    registry = stocked()
    try:
        all_have_data(place, registry)
    finally:
        registry.stop()


def all_have_data(place: Place, registry: Registry) -> None:
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    archive.add_many(SUITE, ["tool0", "tool1"])
    archive.publish(SUITE)
    mirror = place.mirror("debian", "debian", ("stable",))
    lazy = place.mirror("lazy", "debian", ("stable",), spec={"mode": "PullThrough"})
    manifests = place.manifest_file(mirror, lazy)
    packages = place.workdir / "npm.yaml"
    packages.write_text("\n---\n".join(map(json.dumps, npm_documents(registry))))
    server, metrics, port = free_port(), free_port(), free_port()
    listen = ["--listen", f"127.0.0.1:{server}", "--metrics-listen", f"127.0.0.1:{metrics}"]
    local = place.start("local", [place.binary, "local", "-f", manifests, "-f", packages, "--data", place.data, *listen])
    config = place.workdir / "prometheus.json"
    job = {"job_name": "mirrorfleet", "honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{metrics}"]}]}
    config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}))
    store = f"--storage.tsdb.path={place.workdir}/tsdb"
    place.start("prometheus", ["prometheus", f"--config.file={config}", store, f"--web.listen-address=127.0.0.1:{port}"])

    def seen() -> bool:
        try:
            return bool(ask(port, "mirrorfleet_served_snapshot_info"))
        except OSError:
            return False

    wait_until(seen, 120, "Prometheus to see what is served")
    apt = Apt(place.workdir / "apt", place.keyring, f"deb http://127.0.0.1:{server}/debian stable main")
    assert len(panels()) > 40

    def complete(about_faults: bool) -> bool:
        apt.update()
        with urllib.request.urlopen(f"http://127.0.0.1:{server}/npm/left", timeout=10) as answer:
            answer.read()
        asked = [(name, queries) for name, queries in panels() if name.endswith(FAULTS) == about_faults]
        empty = [name for name, queries in asked if not any(ask(port, query) for query in queries)]
        print("empty:", *empty, sep="\n  ", file=place.log, flush=True)
        return not empty

    wait_until(lambda: complete(about_faults=False), 120, "all panels to have data; mirrorfleet.log says which are empty")
    failed = f"mirrorfleet_sync_runs_total{REFUSED}"
    wait_until(lambda: {one["value"][1] for one in ask(port, failed)} == {"0"}, 120, "Prometheus to see that nothing has failed")
    for name in ("InRelease", "Release"):
        file = archive.folder(SUITE) / name
        file.write_text(file.read_text().replace("mirrorfleet tests", "mirrorfleet-tests"))
    mirror.spec["serving"] = {"traceName": "mirror.example.org"}
    place.manifest_file(mirror, lazy)
    # What is declared was changed, so a run is due at once; it is the first that fails.
    local.send_signal(signal.SIGHUP)

    wait_until(lambda: complete(about_faults=True), 120, "panels about faults to have data; mirrorfleet.log says which are empty")
    (failures,) = {query for name, queries in panels() if name.endswith(": Runs by reason") for query in queries}
    assert "SignatureBad" in {one["metric"]["reason"] for one in ask(port, failures)}, "the first failure is not shown"
