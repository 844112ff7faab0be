"""Logins, certificates and the budget that all Mirrors of an Upstream share."""

from __future__ import annotations

import base64
import urllib.parse
from pathlib import Path

from lab import condition_of, wait_until
from world import PACKAGE, PASSWORD, PROTECTED, TLS_PORT, USER, certificate

from .registry import scenario


def secret(name: str, kind: str, **files: str) -> dict:
    data = {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in files.items()}
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": {"name": name}, "data": data}


@scenario("an upstream with a login: credentials from a Secret, which only sync and probe pods see; a Job asks what is new, and a run begins for it")
def credentials(world):
    with world.fleet(PROTECTED) as fleet:
        # Who is not edited is not asked again while this goes on.
        fleet.apply(fleet.keyring(), fleet.upstream(access={"credentialsRef": {"name": "login"}}, probe={"interval": "1h"}), fleet.mirror())
        message = fleet.wait_stalled("CredentialsNotFound")
        assert "login" in message, message
        fleet.lab.wait_condition("upstream", "debian", fleet.namespace, "Reachable", "False", reason="CredentialsNotFound")
        fleet.apply(secret("login", "Opaque", username=USER, password=PASSWORD))
        fleet.request_sync()
        message = fleet.wait_stalled("CredentialsNotReleased")
        host = f"http://{urllib.parse.urlsplit(fleet.url()).netloc}"
        assert f"`{host}`" in message, message
        fleet.apply(secret("login", "Opaque", username=USER, password="wrong", hosts=host))
        assert fleet.sync()["lastAttempt"]["reason"] == "UpstreamForbidden", fleet.region()
        fleet.apply(secret("login", "Opaque", username=USER, password=PASSWORD, hosts=host))
        fleet.request_sync()
        fleet.wait_ready()
        fleet.apt_download()
        probed(fleet)
        for thing in (fleet.get(), fleet.lab.get("upstream", "debian", fleet.namespace), *fleet.lab.events(fleet.namespace)):
            assert PASSWORD not in str(thing), "a password in an object that anybody may read"


def probed(fleet):
    """A Job asks in the controller's place, at once after each edit, and what it was told is acted upon."""
    named = lambda interval: fleet.upstream(access={"credentialsRef": {"name": "login"}}, probe={"interval": interval})  # noqa: E731
    reachable = condition_of(fleet.lab.get("upstream", "debian", fleet.namespace), "Reachable")
    assert (reachable["status"], reachable["reason"]) == ("False", "CredentialsNotFound"), reachable
    sync = {**fleet.mirror()["spec"]["sync"], "onUpstreamChange": True}
    fleet.apply(named("2m"), fleet.mirror(sync=sync))
    fleet.lab.wait_condition("upstream", "debian", fleet.namespace, "Reachable", timeout=120)
    fleet.lab.wait_condition("mirror", "debian", fleet.namespace, "Fresh", reason="Fresh", timeout=120)
    fleet.archive.add_package("stable", PACKAGE, "2.0")
    fleet.archive.publish("stable")
    fleet.apply(named("3m"))

    def followed() -> bool:
        last = fleet.region().get("lastAttempt", {})
        return (last.get("trigger"), last.get("reason")) == ("UpstreamChange", "Prepared")

    wait_until(followed, 180, "the run for what a Job was told", 0.5, lambda: fleet.lab.get("upstream", "debian", fleet.namespace)["status"])
    fleet.lab.wait_condition("mirror", "debian", fleet.namespace, "Fresh", reason="Fresh", timeout=120)
    pods = wait_until(lambda: fleet.pods("probe"), 90, "what a Job leaves")
    for pod in pods:
        volumes = pod["spec"]["volumes"]
        assert not any("persistentVolumeClaim" in volume for volume in volumes), volumes
        assert not pod["spec"]["automountServiceAccountToken"], pod["spec"]
        assert "keyring" not in str(volumes), "a probe believes nothing"
    jobs = lambda: [job["metadata"]["name"] for job in fleet.lab.list("jobs", fleet.namespace, "app.kubernetes.io/component=probe")]  # noqa: E731
    wait_until(lambda: len(jobs()) == 1, 90, "the last one alone to be left", detail=jobs)


@scenario("an upstream whose certificate a ConfigMap vouches for: read by name when it is there, by probes and runs")
def private_authority(world):
    with world.fleet("private-ca") as fleet:
        url = f"https://{fleet.lab.host_ip}:{TLS_PORT}/{fleet.name}/"
        named = lambda **more: fleet.upstream(authority={"url": url}, access={"caBundleRef": {"kind": "ConfigMap", "name": "authority"}}, **more)  # noqa: E731
        fleet.apply(fleet.keyring(), named(), fleet.mirror(suspend=True))
        fleet.lab.wait_condition("upstream", "debian", fleet.namespace, "Reachable", "False", reason="CaBundleNotFound")
        bundle = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "authority"}, "data": {"ca.crt": world.authority.read_text()}}
        # An Upstream that was edited is asked at once.
        fleet.apply(bundle, named(probe={"interval": "2m"}), fleet.mirror())
        fleet.lab.wait_condition("upstream", "debian", fleet.namespace, "Reachable")
        fleet.wait_ready()
        fleet.apt_download()


@scenario("serving over TLS with a certificate from a Secret, HTTP/1.1 and h2; one that replaces it is taken up, and no pod restarts")
def serving_tls(world):
    with world.fleet("tls") as fleet:
        chain = certified(fleet, "first")
        fleet.apply_all(serving={"tls": {"secretName": "certificate"}})
        url = "https://mirror.example.org/debian/dists/stable/InRelease"
        options = ["--resolve", f"mirror.example.org:443:{fleet.service_ip()}"]
        for version, told in (("--http1.1", "1.1"), ("--http2", "2")):
            answer = fleet.curl(url, "--cacert", str(chain), *options, version, "--write-out", "version %{http_version}")
            assert answer.endswith(f"version {told}"), answer[-200:]
            assert "BEGIN PGP SIGNED MESSAGE" in answer
        before = fleet.serving_pod()
        other = certified(fleet, "other")
        # A node brings what a Secret has when it looks at the pod, once a minute: an edit has it look now.
        fleet.lab.kubectl("annotate", "pod", before["metadata"]["name"], "e2e.example.org/looked-at=now", namespace=fleet.namespace)
        believes = lambda authority: fleet.lab.exec(["curl", "-sSf", "--max-time", "20", "--cacert", authority, *options, url], check=False).returncode == 0  # noqa: E731
        wait_until(lambda: believes(other), 180, "the new certificate to be served")
        assert not believes(chain), "the certificate that was replaced is still served"
        after = fleet.serving_pod()
        assert after["metadata"]["uid"] == before["metadata"]["uid"] and not any(one["restartCount"] for one in after["status"]["containerStatuses"]), after


def certified(fleet, name: str) -> Path:
    """A new certificate in the Secret; who vouches for it."""
    folder = fleet.world.workdir / f"tls-{name}"
    folder.mkdir()
    chain, key = certificate(folder, "DNS:mirror.example.org")
    fleet.apply(secret("certificate", "kubernetes.io/tls", tls_crt=chain.read_text(), tls_key=key.read_text()))
    return chain


@scenario("three Mirrors of one Upstream take turns at it")
def one_run_at_a_time(world):
    names = ("first", "second", "third")
    with world.fleet("turns", package_kilobytes=300) as fleet:
        fleet.apply(fleet.keyring(), fleet.upstream(politeness={"bandwidth": "100k"}))
        for name in names:
            fleet.apply(fleet.mirror(name))
        most = 0

        def all_ready() -> bool:
            nonlocal most
            running = [job for job in fleet.lab.list("jobs", fleet.namespace) if job["status"].get("active")]
            most = max(most, len(running))
            conditions = [fleet.condition("Ready", name).get("status") for name in names]
            return conditions == ["True"] * len(names)

        wait_until(all_ready, 300, "all three to be ready", interval=0.3)
        assert most == 1, f"{most} runs at once against one upstream"
