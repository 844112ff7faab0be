"""What an upstream has, asked by `mirrorfleet probe`: what a Job does where the controller may not ask."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from .arch import an_upstream, arch_mirror
from .certificate import Certificate
from .encrypted import HOST_KEPT, PASSWORD, SUITE, front
from .place import Place, free_port, wait_for_port
from .registry import story
from .retention import Upstream

MOST_BYTES = 4096


def with_login(documents: list[dict], url: str, certificate: Certificate, password: str, hosts: str, endpoints: list[dict]) -> list[dict]:
    """The same manifests of an upstream that is behind a login."""
    for document in documents:
        if document["kind"] == "Upstream":
            access = {"credentialsRef": {"name": "login"}, "caBundleRef": {"name": "authority"}}
            document["spec"].update(authority={"url": url}, access=access, endpoints=endpoints)
    login = {"username": "reader", "password": password, "hosts": hosts}
    return [
        *documents,
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": login},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "authority"}, "data": {"ca.crt": certificate.chain.read_text()}},
    ]


def rsync_daemon(place: Place, **modules: Path) -> str:
    """A real one; returns what comes before the name of a module."""
    port = free_port()
    user = "uid = 0\ngid = 0\n" if os.geteuid() == 0 else ""
    text = f"port = {port}\naddress = 127.0.0.1\nlog file = {place.workdir}/rsyncd.log\nuse chroot = no\n{user}"
    config = place.workdir / "rsyncd.conf"
    config.write_text(text + "".join(f"[{module}]\npath = {path}\n" for module, path in modules.items()))
    place.start("rsyncd", ["rsync", "--daemon", "--no-detach", f"--config={config}"])
    wait_for_port(port)
    return f"rsync://127.0.0.1:{port}"


class Asker:
    def __init__(self, place: Place, upstream: str) -> None:
        self.place, self.upstream = place, upstream
        self.file, self.message = place.workdir / "probe.yaml", place.workdir / "message"

    def ask(self, documents: list[dict], *, expect: int = 0) -> dict:
        """What it prints, which is what its termination message says."""
        self.file.write_text("\n---\n".join(json.dumps(document) for document in documents))
        done = self.place.mirrorfleet("probe", "-f", self.file, "--upstream", self.upstream, "-o", "json", "--termination-message", self.message)
        assert done.returncode == expect, f"{done.returncode} instead of {expect}: {done.stdout}{done.stderr}"
        told = json.loads(done.stdout)
        assert "secret" not in done.stdout + done.stderr, "a password in what is told"
        message = self.message.read_text()
        assert json.loads(message) == told and len(message) <= MOST_BYTES, message
        return told


@story("a probe asks over https with a login, as a Job does: what is new, which endpoint has something older, by rsync too, what is refused and why; Debian, Arch, and npm not at all")
def a_probe_with_a_login(place: Place) -> None:
    upstream = Upstream(place, SUITE)
    older = place.upstreams / "older"
    shutil.copytree(place.upstreams / "debian", older, symlinks=True)
    mirror = upstream.mirror()
    users = place.workdir / "users"
    users.write_text("reader:{PLAIN}secret\n")
    certificate = Certificate.make(place.workdir, "-addext", "basicConstraints=critical,CA:FALSE")
    port = front(place, certificate, urlsplit(place.url("")).port, PASSWORD.format(users=users) + HOST_KEPT)
    url, hosts = f"https://localhost:{port}/debian/", f"localhost:{port}"
    daemon = rsync_daemon(place, all=place.upstreams)
    asked_at = {
        "older": place.url("older"), "same": place.url("debian"), "gone": place.url("gone"),
        "rsync-older": f"{daemon}/all/older/", "rsync-same": f"{daemon}/all/debian", "rsync-gone": f"{daemon}/all/gone/", "rsync-nowhere": f"{daemon}/nowhere/",
    }  # fmt: skip
    endpoints = [{"name": name, "url": url} for name, url in asked_at.items()]
    named = lambda password="secret", hosts=hosts: with_login(mirror.manifests(), url, certificate, password, hosts, endpoints)  # noqa: E731
    asker = Asker(place, "debian")

    first = asker.ask(named())
    digest, date = first["units"][0]["digest"], first["units"][0]["date"]
    assert [unit["unit"] for unit in first["units"]] == ["stable"] and len(digest) == 64, first
    told = {endpoint["name"]: endpoint.get("others", []) for endpoint in first["endpoints"]}
    assert not told["older"] and not told["same"] and told["gone"][0]["failure"]["reason"] == "UpstreamIncomplete", told
    assert not told["rsync-older"] and not told["rsync-same"] and told["rsync-gone"][0]["failure"]["reason"] == "UpstreamIncomplete", told
    nowhere = told["rsync-nowhere"][0]["failure"]["message"]
    assert daemon in nowhere and "nowhere" in nowhere, told

    place.sync(mirror)
    upstream.advance(mirror)
    second = asker.ask(named())
    told = {endpoint["name"]: endpoint.get("others", []) for endpoint in second["endpoints"]}
    assert second["units"][0]["digest"] != digest and second["units"][0]["date"] >= date, second
    assert told["older"][0]["digest"] == digest and not told["same"], told
    assert told["rsync-older"] == told["older"] and not told["rsync-same"], told

    wrong = asker.ask(named(password="not-it"), expect=2)
    assert wrong["units"][0]["failure"]["reason"] == "UpstreamForbidden" and "401" in wrong["units"][0]["failure"]["message"], wrong
    # Whoever writes an Upstream does not decide where a Secret goes.
    kept = asker.ask(named(hosts="elsewhere.example.org"), expect=1)
    assert kept["failure"]["reason"] == "CredentialsNotReleased" and hosts in kept["failure"]["message"], kept
    missing = [document for document in named() if document["metadata"]["name"] != "login"]
    assert asker.ask(missing, expect=1)["failure"]["reason"] == "CredentialsNotFound"
    asker.ask(named())
    assert "not-declared" in place.mirrorfleet("probe", "-f", asker.file, "--upstream", "debian", "--unit", "not-declared").stdout

    pacman = an_upstream(place)
    pacman.add("core", "one")
    arch = arch_mirror(place, "arch", "core")
    behind = with_login(arch.manifests(), url.replace("debian", "arch"), certificate, "secret", hosts, [])
    asker = Asker(place, "arch")
    before = asker.ask(behind)
    assert len(before["units"]) == 1 and len(before["units"][0]["digest"]) == 64, before
    pacman.add("core", "two")
    assert asker.ask(behind)["units"][0]["digest"] != before["units"][0]["digest"]

    registry = [
        {"apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Upstream", "metadata": {"name": "npm"}, "spec": {"type": "Npm", "authority": {"url": url}}},
        {
            "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Mirror", "metadata": {"name": "npm"},
            "spec": {"upstreamRef": {"name": "npm"}, "mode": "PullThrough", "content": {"npm": {}}, "regions": [{"name": "here"}]},
        },
    ]  # fmt: skip
    refused = Asker(place, "npm").ask(registry, expect=1)
    assert "no revision" in refused["failure"]["message"], refused
