"""The dashboards' queries, asked of a real Prometheus that scrapes us."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request

from lab.waiting import wait_until
from watching import filled

from .apt import Apt
from .debian import DebianArchive, Suite
from .place import Place, free_port
from .registry import story

SUITE = Suite("stable", suite="stable", codename="stable")
#: What only a cluster has: conditions, a leader, reconciliations, probes of upstreams, and pods of runs that last.
ELSEWHERE = re.compile(r"_condition\b|_leader\b|_reconcile|_upstream_|sync_planned|sync_received|missed_runs")


def panels() -> list[tuple[str, list[str]]]:
    """The queries of each panel that a process without a cluster can fill."""
    from monitoring.dashboards import DASHBOARDS

    every = [(f"{board.name}: {panel.title}", [query.expression for query in panel.queries]) for board in DASHBOARDS for panel in board.panels]
    return [(name, queries) for name, queries in every if not any(map(ELSEWHERE.search, queries))]


def ask(port: int, expression: str) -> list[dict]:
    url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(filled(expression))}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        told = json.load(answer)
    assert told["status"] == "success", told
    return told["data"]["result"]


@story("the panels of the dashboards have data from a real Prometheus that scrapes us")
def dashboards(place: Place) -> None:
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    archive.add_many(SUITE, ["tool0", "tool1"])
    archive.publish(SUITE)
    manifests = place.manifest_file(place.mirror("debian", "debian", ("stable",)))
    server, metrics, port = free_port(), free_port(), free_port()
    listen = ["--listen", f"127.0.0.1:{server}", "--metrics-listen", f"127.0.0.1:{metrics}"]
    place.start("local", [place.binary, "local", "-f", manifests, "--data", place.data, *listen])
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

    wait_until(seen, 60, "Prometheus to see what is served")
    apt = Apt(place.workdir / "apt", place.keyring, f"deb http://127.0.0.1:{server}/debian stable main")
    assert len(panels()) > 20

    def complete() -> bool:
        apt.update()
        empty = [name for name, queries in panels() if not any(ask(port, query) for query in queries)]
        print("empty:", *empty, sep="\n  ", file=place.log, flush=True)
        return not empty

    wait_until(complete, 60, "all panels to have data; mirrorfleet.log says which are empty")
