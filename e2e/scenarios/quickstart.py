"""The quick start's cluster section: its commands as they stand there, on a cluster that has never heard of us, but has what
kube-prometheus-stack brings: the kinds of the Prometheus operator, a Prometheus, and Grafana's sidecar."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from pathlib import Path

from archive import Archive, run
from lab import Lab, wait_until
from lab.images import debian_root, write_image
from lab.nginx import nginx
from newcomer import Grafana
from quick_start import blocks
from watching import Watch

from .chart import install_kinds_of_the_operator
from .registry import scenario

ROOT = Path(__file__).resolve().parent.parent.parent
SECTION = "On a cluster"
#: How the image gets to the nodes differs from cluster to cluster; the lab's way stands in for it.
BY_HAND = "The image"
#: What the page names besides our own things: the archive, its keyring, and the image with apt in it.
UPSTREAM_HOST = "mirrors.kernel.org"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
CLIENT_IMAGE = "docker.io/library/debian:trixie"
SUITE = "trixie-updates"
PACKAGE = "hello-mirror"
#: The release of kube-prometheus-stack that the page speaks of: by this label its Prometheus chooses PodMonitors and rules.
CHOSEN = "release=kube-prometheus-stack"
#: What a newcomer is promised, from `helm install` to the dashboard.
PROMISED_MINUTES = 5


@scenario("the quick start's cluster section, from top to bottom, to a dashboard that shows the mirror", needs=("pod-network", "own-nodes", "load-image"), first=True)
def quick_start(world):
    commands = blocks(SECTION)
    skipped = [heading for heading, _ in commands if heading.endswith(BY_HAND)]
    assert skipped and len(commands) - len(skipped) >= 3, f"the page has other blocks than expected: {commands}"
    log = world.workdir / "quickstart.log"
    with ExitStack() as cleanup:
        sink = cleanup.enter_context(log.open("w"))
        lab = cleanup.enter_context(Lab(world.workdir / "first", lambda line: print(line, file=sink, flush=True)))
        stand_in_for_the_world(world, lab, image_of_the_page(commands))
        begun, after, grafana = time.monotonic(), {}, None
        for heading, block in commands:
            if heading.endswith(BY_HAND):
                print(f"skipped, since it differs from cluster to cluster: {heading}", file=sink)
                continue
            told = lab.exec(["bash", "-euo", "pipefail", "-c", block], cwd=ROOT, timeout=300)
            after[heading] = (time.monotonic() - begun) / 60
            print(f"--- {heading}, after {after[heading]:.1f} min\n{block}{told.stdout}{told.stderr}", file=sink, flush=True)
            grafana = grafana or Grafana(lab, cleanup.enter_context(chosen_by_the_operator(world, lab)))
            assert "apt-get update" not in block or PACKAGE in told.stdout, f"the pod's apt does not know the package:\n{told.stdout}"
        lab.wait_condition("mirror", "debian", "default", "Fresh")
        shown = grafana.shows("default", "debian", PROMISED_MINUTES * 60)
        after[shown] = (time.monotonic() - begun) / 60
    minutes = ", ".join(f"{what} {moment:.1f}" for what, moment in after.items())
    assert after[shown] < PROMISED_MINUTES, minutes
    return f"minutes from `helm install` on: {minutes}; skipped: {', '.join(skipped)}"


def chosen_by_the_operator(world, lab: Lab) -> Watch:
    """The Prometheus of kube-prometheus-stack, as the operator runs it: by what it is labelled for, at the intervals that it says."""
    things = [thing for kind in ("podmonitors", "prometheusrules") for thing in lab.list(kind, selector=CHOSEN)]
    assert {thing["kind"] for thing in things} == {"PodMonitor", "PrometheusRule"}, things
    return Watch(lab, world.workdir / "first-prometheus", 9090, things)


def image_of_the_page(commands: list[tuple[str, str]]) -> str:
    """The image that the page installs: it must be the one that its own lines have brought to the nodes."""
    text = "".join(block for _, block in commands)
    repository = re.search(r"image\.repository=([^,\s]+)", text)[1]
    tag = re.search(r"image\.tag=([^,\s]+)", text)[1]
    return f"{repository}:{tag}"


def stand_in_for_the_world(world, lab: Lab, image: str) -> None:
    """The operator's kinds, an archive under the page's host name, its keyring where Debian has it, and the images."""
    install_kinds_of_the_operator(lab)
    root = world.workdir / "first-upstream"
    archive = Archive(root / "debian", world.key)
    archive.add_package(SUITE, PACKAGE)
    archive.publish(SUITE)
    command = nginx(world.workdir / "first-nginx", f"server {{ listen 80; root {root}; }}")
    lab.run_server("upstream", command, ready_url=f"http://{lab.host_ip}/debian/dists/{SUITE}/InRelease")
    name_the_upstream(lab)
    key = world.workdir / "first-keyring.gpg"
    world.key.export(key)
    lab.inside.shell(f"mkdir -p {Path(KEYRING).parent}; touch {KEYRING}; mount --bind {key} {KEYRING}")
    built = world.workdir / "first-image.tar"
    run([ROOT / "e2e" / "build-image.sh", built, image])
    lab.load_image(built)
    client = world.workdir / "first-client.tar"
    write_image(client, CLIENT_IMAGE, {KEYRING: key}, ["/bin/sh"], base=debian_root("trixie"))
    lab.load_image(client)


def name_the_upstream(lab: Lab) -> None:
    """Cluster DNS answers for the page's upstream with the lab's own address."""
    config = lab.get("configmap", "coredns", "kube-system")["data"]["Corefile"]
    block = f'''{UPSTREAM_HOST} {{
    template IN A {{
        answer "{{{{ .Name }}}} 5 IN A {lab.host_ip}"
    }}
    template IN ANY {{
        rcode NOERROR
    }}
}}
'''
    lab.patch("configmap", "coredns", {"data": {"Corefile": block + config}}, "kube-system")
    lab.kubectl("rollout", "restart", "deployment/coredns", namespace="kube-system")
    lab.kubectl("rollout", "status", "deployment/coredns", "--timeout=240s", namespace="kube-system")
    wait_until(lambda: lab.resolve(UPSTREAM_HOST) == [lab.host_ip], 90, f"{UPSTREAM_HOST} to resolve")
