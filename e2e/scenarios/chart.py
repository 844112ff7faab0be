"""The charts with more than their defaults: judged by the API server, installed, and seen to run."""

from __future__ import annotations

import json
import shutil

from acceptance.status_page import AXE_CORE, WIDTHS, fits, is_fit_for_everybody
from browser import PROGRAM, Browser
from lab import wait_until
from lab.kinds import MONITORING
from world import CHART, RELEASE, ROOT, SYSTEM_NAMESPACE, UPSTREAM_PORT

from .registry import scenario

MIRRORS = ROOT / "charts" / "mirrorfleet-mirrors"
#: A name that nobody resolves but a proxy.
BEHIND_PROXY = "archive.behind-proxy.example.org"


@scenario("what the charts render of every ci/*-values.yaml is taken by the API server, the monitors by the operator's own kinds", needs=())
def chart_shapes(world):
    without = without_kinds_of_the_operator(world)
    install_kinds_of_the_operator(world.lab)
    # Those that the values name.
    namespaces = ("mirrors", "more-mirrors")
    for namespace in namespaces:
        world.lab.create_namespace(namespace)
    try:
        shapes = [(chart, values) for chart in (CHART, MIRRORS) for values in sorted((chart / "ci").glob("*-values.yaml"))]
        for chart, values in shapes:
            rendered = world.workdir / f"{chart.name}-{values.stem}.yaml"
            # The pod of `helm test` is judged by the account that it has, which nobody has made here.
            template = ["helm", "template", "shape", chart, "--skip-tests", "--namespace", SYSTEM_NAMESPACE, "--values", values]
            rendered.write_text(world.lab.exec(template).stdout)
            if "\nkind:" in rendered.read_text():
                world.lab.kubectl("apply", "--dry-run=server", "--server-side", "--force-conflicts", "--validate=strict", "-f", rendered)
        return f"{len(shapes)} shapes{without}"
    finally:
        for namespace in namespaces:
            world.lab.delete("namespace", namespace, wait=False)


#: What `auto` makes where the cluster has the kinds of the Prometheus operator.
MONITORS = ("podmonitors", "prometheusrules", "configmaps")


def would_install(world, *arguments, check: bool = True):
    """What `helm install` says and makes on this cluster, without doing it."""
    command = ["helm", "install", "would", CHART, "--namespace", SYSTEM_NAMESPACE, "--dry-run=server", "--set", "crds.enabled=false", *arguments]
    return world.lab.exec(command, check=check)


def without_kinds_of_the_operator(world) -> str:
    """`auto` leaves out what this cluster cannot have, and says so; who writes `true` is told by Helm which kind is missing."""
    if world.lab.get("customresourcedefinition", "podmonitors.monitoring.coreos.com"):
        return ", the kinds of the Prometheus operator were here already"
    told = would_install(world).stdout
    assert "This cluster has no kinds of the Prometheus operator" in told, told
    assert "kind: PodMonitor" not in told and "kind: PrometheusRule" not in told and "grafana_dashboard" not in told, told
    refused = would_install(world, "--set", "monitoring.podMonitors.enabled=true", check=False)
    assert refused.returncode != 0 and "PodMonitor" in refused.stderr, refused.stderr
    return ""


def install_kinds_of_the_operator(lab) -> None:
    """They stay."""
    for file in MONITORING.definitions():
        lab.apply(file.read_text(), server_side=True)
    kinds = {f"{kind}.monitoring.coreos.com" for kind in MONITORS[:2]}
    for kind in kinds:
        lab.wait_condition("customresourcedefinition", kind, None, "Established")
    # Helm and kubectl ask which kinds there are, and are told a moment later.
    listed = lambda: set(lab.kubectl("api-resources", "--api-group=monitoring.coreos.com", "--output=name", check=False).split())  # noqa: E731
    wait_until(lambda: kinds <= listed(), 120, "the kinds of the Prometheus operator to be listed")


def monitors(world) -> dict[str, int]:
    """How many there are of each."""
    mine = "app.kubernetes.io/instance=" + RELEASE
    return {kind: len(world.lab.list(kind, SYSTEM_NAMESPACE, mine)) for kind in MONITORS}


def rich_values(world, mirrors: str) -> dict:
    """What changes how the controller runs, all at once."""
    everybody = {"ipBlock": {"cidr": "0.0.0.0/0"}}
    return {
        "commonLabels": {"e2e.example.org/chart": "rich"},
        "commonAnnotations": {"e2e.example.org/chart": "rich"},
        "replicas": 2,
        "proxy": {"http": f"http://{world.lab.host_ip}:{UPSTREAM_PORT}", "noProxy": [world.lab.host_ip]},
        "extraArgs": ["--max-rollouts=8", "--lease-duration=20"],
        "extraEnv": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "extraVolumes": [{"name": "scratch", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra"}}],
        "probes": {"liveness": {"initialDelaySeconds": 1, "failureThreshold": 5}, "readiness": {"periodSeconds": 2}},
        "priorityClassName": "system-cluster-critical",
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}],
        "pods": {"labels": {"e2e.example.org/pods": "rich"}, "securityContext": {"fsGroup": 4321}},
        "serviceAccount": {"annotations": {"e2e.example.org/chart": "rich"}},
        "statusPage": {"enabled": True, "namespaces": [mirrors]},
        "networkPolicy": {
            "namespaces": [mirrors],
            "controller": {"enabled": True, "metricsFrom": [everybody], "statusPageFrom": [everybody], "egress": [{"to": [everybody]}]},
            "serving": {"enabled": True, "clientsFrom": [everybody], "metricsFrom": [everybody]},
            "sync": {"enabled": True, "metricsFrom": [everybody], "egress": [{"to": [everybody]}]},
        },
    }


def upgrade(world, *arguments, chart=CHART) -> None:
    """Until the new controller is there, and the old one gone."""
    command = ["helm", "upgrade", RELEASE, chart, "--namespace", SYSTEM_NAMESPACE, *world.values_of(chart), *arguments, "--wait", "--timeout", "240s"]
    world.lab.exec(command, timeout=270)
    wait_until(lambda: len(world.controller_pods()) == 2, 120, "the controllers before to be gone")


@scenario("the chart's knobs all at once, a proxy for probes, the status page, `helm test`, Mirrors by their own chart", alone=True)
def chart_knobs(world):
    # At the bandwidth below a run takes ten seconds, in which one can look at it.
    with world.fleet("chart", package_kilobytes=600) as fleet:
        values = world.workdir / "rich-values.json"
        values.write_text(json.dumps(rich_values(world, fleet.namespace)))
        try:
            monitors_come_and_go(world)
            upgrade(world, "--values", values)
            return story(world, fleet)
        finally:
            world.lab.exec(["helm", "uninstall", "mirrors", "--namespace", fleet.namespace], check=False)
            upgrade(world)


def monitors_come_and_go(world) -> None:
    """On a cluster that has the kinds of the Prometheus operator."""
    install_kinds_of_the_operator(world.lab)
    every, none = {"podmonitors": 3, "prometheusrules": 1, "configmaps": 3}, dict.fromkeys(MONITORS, 0)
    switched = lambda value: ["--set", ",".join(f"monitoring.{part}.enabled={value}" for part in ("podMonitors", "rules", "dashboards"))]  # noqa: E731
    for values, wanted in (([], every), (switched("false"), none), (switched("true"), every)):
        upgrade(world, *values)
        assert monitors(world) == wanted, (values, monitors(world))


def story(world, fleet) -> str:
    for pod in world.controller_pods():
        assert pod["metadata"]["labels"]["e2e.example.org/chart"] == "rich", pod["metadata"]
        assert "--max-rollouts=8" in pod["spec"]["containers"][0]["args"], pod["spec"]
    assert world.lab.get("configmap", f"{RELEASE}-extra", SYSTEM_NAMESPACE), "the extra object"
    told = world.lab.exec(["helm", "test", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--logs", "--timeout", "180s"], timeout=210).stdout
    assert "Succeeded" in told and "Mirror" in told, told

    # Mirrors, Upstreams and the keyring by the other chart; the second Upstream is reached by the proxy alone.
    trust = {"keyringRef": {"kind": "ConfigMap", "name": "archive-keyring", "key": "keyring.asc"}}
    behind = {"type": "Debian", "authority": {"url": f"http://{BEHIND_PROXY}/{fleet.name}/"}, "trust": trust}
    values = world.workdir / "mirrors-values.json"
    values.write_text(json.dumps({
        "keyrings": {"archive-keyring": {"data": {"keyring.asc": world.key.public()}}},
        "upstreams": {"debian": {"spec": fleet.upstream(trust=trust, politeness={"bandwidth": "60k"})["spec"]}, "proxied": {"spec": behind}},
        "mirrors": {"debian": {"spec": fleet.mirror()["spec"]}, "proxied": {"spec": {**fleet.mirror()["spec"], "upstreamRef": {"name": "proxied"}, "suspend": True}}},
    }))  # fmt: skip
    world.lab.exec(["helm", "install", "mirrors", MIRRORS, "--namespace", fleet.namespace, "--values", values])
    wait_until(lambda: is_being_fetched(world, fleet), 180, "the status page to say how far the first sync is", interval=0.2)
    fleet.wait_ready()
    fleet.apt_download()
    the_status_page_tells(world, fleet)
    serving = fleet.serving_pod()
    assert serving["metadata"]["labels"]["e2e.example.org/pods"] == "rich", serving["metadata"]
    assert serving["spec"]["securityContext"]["fsGroup"] == 4321, serving["spec"]

    # In the form in which proxies are asked.
    wait_until(lambda: world.requests(f"http://{BEHIND_PROXY}/"), 120, "the controller to ask an authority by its proxy")
    return told.strip().splitlines()[-1]


def on_status_page(world, path: str, pod: str | None = None) -> dict:
    """As JSON, of the Service or of one replica, by the API server's own way to them."""
    services = [service["metadata"]["name"] for service in world.lab.list("services", SYSTEM_NAMESPACE)]
    (service,) = [name for name in services if name.endswith("-status")]
    place = f"pods/{pod}:8090" if pod else f"services/{service}:http"
    return json.loads(world.lab.exec(["kubectl", "get", "--raw", f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/{place}/proxy/{path}"]).stdout)


def is_being_fetched(world, fleet) -> bool:
    told = on_status_page(world, "index.json?only=syncing", world.leader())
    progress = [(region.get("run") or {}).get("progress") for mirror in told["mirrors"] for region in mirror["regions"]]
    return any(far and far["plannedBytes"] > 0 for far in progress)


def the_status_page_tells(world, fleet) -> None:
    """Whoever leads and whoever stands by say the same of Mirrors, and say who they are."""
    leader = world.leader()
    for pod in (pod["metadata"]["name"] for pod in world.controller_pods()):
        path = f"mirrors/{fleet.namespace}/debian.json"
        wait_until(lambda: on_status_page(world, "index.json", pod)["all"] == 2, 90, f"{pod} to know both Mirrors")
        wait_until(lambda: on_status_page(world, path, pod)["regions"][0]["lag"] == "Current", 120, f"{pod} to say that debian is current")
        why = lambda: on_status_page(world, path, pod)["why"]["wrong"]  # noqa: B023, E731
        wait_until(lambda: why().startswith("Mirror debian is well"), 120, f"{pod} to say that debian is well", detail=why)
        told = on_status_page(world, path, pod)
        assert f"URIs: {told['regions'][0]['url']}" in told["copies"][0]["clients"][0]["text"], told["copies"]
        listed = on_status_page(world, "index.json", pod)
        assert ("stands by" in listed["teller"]) == (pod != leader), (pod, leader, listed["teller"])
    assert on_status_page(world, "index.json")["all"] == 2
    in_a_browser(world, fleet, leader)
    regions_are_scored(world, fleet, leader)


def in_a_browser(world, fleet, leader: str) -> None:
    """The list and a Mirror as the controller serves them, on a phone and on a desk, judged as the page of `mirrorfleet local` is; where there is a
    browser, and what judges."""
    if shutil.which(PROGRAM) is None:
        return
    (address,) = (pod["status"]["podIP"] for pod in world.controller_pods() if pod["metadata"]["name"] == leader)
    start = f"http://{address}:8090/"
    with Browser(world.workdir / "browser", world.lab.command) as browser:
        for width in (WIDTHS[0], WIDTHS[-1]):
            browser.look(width=width, height=900)
            for path in ("", f"mirrors/{fleet.namespace}/debian"):
                browser.open(start + path)
                fits(browser, path, width)
                assert "debian" in browser.value("document.body.textContent"), path
                if AXE_CORE.exists():
                    is_fit_for_everybody(browser, AXE_CORE.read_text(), f"/{path} of the controller, {width} wide")
        outside = [url for url in browser.asked if not url.startswith((start, "about:"))]
        # A header that counts for https only, and there is none before the page here.
        complaints = [text for text in browser.complaints if "Cross-Origin-Opener-Policy" not in text]
        assert not outside and not complaints, (outside, complaints)


def regions_are_scored(world, fleet, leader: str) -> None:
    """By whoever leads, from what it asks of serving pods; who stands by knows of no check."""

    def told(pod: str) -> dict:
        (url,) = on_status_page(world, f"mirrors/{fleet.namespace}/debian/archweb.json", pod)["urls"]
        return url

    wait_until(lambda: told(leader)["score"] is not None, 120, "the leader to have checked the region")
    scored = told(leader)
    region = on_status_page(world, f"mirrors/{fleet.namespace}/debian.json", leader)["regions"][0]
    assert scored["url"] == region["url"] and 0 < scored["completion_pct"] <= 1 and scored["duration_avg"] > 0, scored
    assert 0 <= scored["delay"] < 3600 and scored["last_sync"], scored
    for pod in (pod["metadata"]["name"] for pod in world.controller_pods()):
        assert (told(pod)["completion_pct"] is None) == (pod != leader), (pod, leader, told(pod))
    (site,) = [mirror for mirror in on_status_page(world, "mirrorz.json", leader)["mirrors"] if mirror["cname"] == "debian"]
    assert site["status"].startswith("S") and site["size"], site
