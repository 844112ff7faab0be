"""Routes: clients outside reach a region by an HTTPRoute or an Ingress, and the URL is that of whoever accepts them.

No Gateway and no ingress controller is packaged for the lab. The API server judges the objects by the Gateway API's own definitions, the
scenario says in their status what such a controller would, and an nginx that is set up from the objects leads a real apt, by TLS with
the certificate of the Secret that an Ingress names.
"""

from __future__ import annotations

import base64
import ipaddress
import time
from pathlib import Path

from lab import wait_until
from lab.kinds import GATEWAY
from world import ALLOWED_PREFIX, PACKAGE, AptClient, certificate

from .access import secret
from .proxies import nginx
from .registry import scenario

PLACE = {"topology.kubernetes.io/region": "region-a"}
ANNOTATION = f"{ALLOWED_PREFIX}zone"
HTTP_ROUTES = "httproutes.gateway.networking.k8s.io"
INGRESSES = "ingresses.networking.k8s.io"


@scenario("HTTPRoutes and Ingresses are what the Gateway API and Kubernetes accept; an apt comes by them, by TLS with the Secret of an Ingress and with the one that replaces it; the URL follows their status, and what refuses them is told", needs=("pod-network", "own-nodes", "audit-log"))
def routes(world):
    with world.fleet("routes") as fleet:
        host = f"mirror.{world.lab.host_domain}"
        http_route = {"kind": "HTTPRoute", "parentRefs": [{"name": "public"}], "annotations": {ANNOTATION: "a"}}
        ingress = {"kind": "Ingress", "ingressClassName": "lab", "tlsSecretName": "tls-$(region)", "annotations": {ANNOTATION: "a"}}
        note = installed_by_and_by(fleet, host, http_route)
        inside = f"http://{regions_service(fleet)}.{fleet.namespace}.svc/debian/"
        outside, encrypted = f"http://{host}/debian/", f"https://{host}/debian/"
        # As a Gateway's controller says it.
        says(fleet, "Accepted", "False", "NoMatchingParent")
        message = fleet.wait_stalled("RouteNotAccepted")
        assert f"Gateway {fleet.namespace}/public says NoMatchingParent: as the lab says" in message, message
        assert fleet.condition("Ready")["status"] == "True" and fleet.region()["url"] == inside, fleet.get()["status"]
        says(fleet, "Accepted", "True", "Accepted")
        wait_until(lambda: fleet.region()["url"] == outside and not fleet.condition("Stalled"), 90, "the URL of the route", detail=lambda: str(fleet.get()["status"]))
        comes_by_the_route(fleet, outside)
        is_kept_as_declared(fleet, HTTP_ROUTES, http_route)

        serve(fleet, ingress)
        wait_until(lambda: objects(fleet, INGRESSES) and not objects(fleet, HTTP_ROUTES), 90, "an Ingress in the place of the HTTPRoute")
        wait_until(lambda: fleet.region()["url"] == inside, 90, "the URL of the Service while nobody serves the Ingress")
        address = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
        fleet.lab.patch(INGRESSES, regions_service(fleet), address, fleet.namespace, subresource="status")
        wait_until(lambda: fleet.region()["url"] == encrypted, 90, "the URL of the Ingress")
        comes_by_tls(fleet, encrypted)
        is_kept_as_declared(fleet, INGRESSES, ingress)

        fleet.apply(fleet.mirror(serving={"ipFamilyPolicy": "PreferDualStack"}))
        wait_until(lambda: not objects(fleet, INGRESSES) and fleet.region()["url"] == inside, 90, "no route")
        wait_until(lambda: fleet.lab.get("service", regions_service(fleet), fleet.namespace)["spec"]["ipFamilyPolicy"] == "PreferDualStack", 90, "a Service of both families")
        nothing_is_written(world, fleet)
        return note


def regions_service(fleet) -> str:
    """The name of the region's Service, and of its route."""
    return fleet.lab.list("services", fleet.namespace, "mirrorfleet.dev/region=region-a")[0]["metadata"]["name"]


def objects(fleet, kind: str) -> list[dict]:
    return fleet.lab.list(kind, fleet.namespace)


def serve(fleet, route: dict) -> None:
    """The whole of an apt update from one kept snapshot, so that apt is led to where that is."""
    host = f"mirror.{fleet.lab.host_domain}"
    regions = [{"name": "region-a", "host": host, "nodeSelector": PLACE}]
    fleet.apply(fleet.mirror(serving={"route": route, "transactions": "Always", "trustedProxies": [nearby(fleet)]}, regions=regions))


def nearby(fleet) -> str:
    """From where nginx comes, which may be a node's address by the time that it is at a pod."""
    return str(ipaddress.ip_network(f"{fleet.lab.host_ip}/15", strict=False))


def installed_by_and_by(fleet, host: str, route: dict) -> str:
    """A cluster without the Gateway API says so, serves all the same, and makes the route once it has it."""
    fleet.apply(fleet.keyring(), fleet.upstream())
    serve(fleet, route)
    note = "the Gateway API was here already"
    if not fleet.lab.get("customresourcedefinition", HTTP_ROUTES):
        message = fleet.wait_stalled("RouteUnavailable")
        assert "have the Gateway API installed" in message, message
        fleet.wait_ready()
        for file in GATEWAY.definitions():
            fleet.lab.apply(file.read_text(), server_side=True)
        fleet.lab.wait_condition("customresourcedefinition", HTTP_ROUTES, None, "Established")
        note = f"the Gateway API {GATEWAY.version} came later"
    fleet.wait_ready()
    made = wait_until(lambda: objects(fleet, HTTP_ROUTES), 120, "the HTTPRoute", detail=lambda: str(fleet.get()["status"]["conditions"]))
    assert [one["spec"]["hostnames"] for one in made] == [[host]], made
    fleet.lab.wait_condition("mirror", "debian", fleet.namespace, "Reconciling", reason="RouteNotAccepted")
    return note


def says(fleet, kind: str, status: str, reason: str) -> None:
    route = objects(fleet, HTTP_ROUTES)[0]
    condition = {
        "type": kind, "status": status, "reason": reason, "message": "as the lab says",
        "observedGeneration": route["metadata"]["generation"], "lastTransitionTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    parent = {"parentRef": route["spec"]["parentRefs"][0], "controllerName": "lab.example.org/gateway", "conditions": [condition]}
    fleet.lab.patch(HTTP_ROUTES, route["metadata"]["name"], {"status": {"parents": [parent]}}, fleet.namespace, subresource="status")


def comes_by_the_route(fleet, url: str) -> None:
    """An nginx that leads what the route names where it says, and nothing else; a real apt has only the URL of the status."""
    spec = objects(fleet, HTTP_ROUTES)[0]["spec"]
    rule = spec["rules"][0]
    backend = rule["backendRefs"][0]
    locations = led_to(fleet, [match["path"]["value"] for match in rule["matches"]], backend["name"], backend["port"])
    http = f"""
        proxy_set_header Host $http_host;
        server {{ listen 80; server_name {spec["hostnames"][0]}; {locations} location / {{ return 404; }} }}
        server {{ listen 80 default_server; return 421; }}
    """
    with nginx(fleet, "route-nginx", http) as log:
        wait_until(lambda: fleet.lab.exec(["curl", "-sSf", f"{url}dists/stable/InRelease"], check=False).returncode == 0, 90, f"an answer at {url}")
        assert "hello-mirror" in fleet.apt_download(url=url).name
        asked = log.read_text()
        assert "/.mirrorfleet/s/debian/" in asked, f"apt was not led into a snapshot:\n{asked}"


def led_to(fleet, paths: list[str], name: str, port: int) -> str:
    """A block for each path and all below it, which leads to a Service."""
    where = f"http://{fleet.lab.get('service', name, fleet.namespace)['spec']['clusterIP']}:{port}"
    return " ".join(f"location = {path} {{ proxy_pass {where}; }} location {path}/ {{ proxy_pass {where}; }}" for path in paths)


def comes_by_tls(fleet, url: str) -> None:
    """An nginx that does what an ingress controller would with the Ingress: it ends TLS with the certificate of its Secret, and takes up
    another one that replaces it. A real apt believes each certificate while it is the one."""
    spec = objects(fleet, INGRESSES)[0]["spec"]
    [rule], [tls] = spec["rules"], spec["tls"]
    assert tls == {"hosts": [rule["host"]], "secretName": "tls-region-a"}, tls
    paths = [path["path"] for path in rule["http"]["paths"]]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    locations = led_to(fleet, paths, backend["name"], backend["port"]["number"])
    folder = fleet.world.workdir / "ingress-tls"
    http = f"""
        proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Prefix "";
        server {{
            listen 443 ssl; server_name {rule["host"]}; ssl_certificate {folder}/tls.crt; ssl_certificate_key {folder}/tls.key;
            {locations} location / {{ return 404; }}
        }}
    """
    first = certified(fleet, tls, folder)
    with nginx(fleet, "ingress-nginx", http) as log:
        installs_by_tls(fleet, url, first)
        asked = log.read_text()
        assert "/.mirrorfleet/s/debian/" in asked, f"apt was not led into a snapshot:\n{asked}"
        second = certified(fleet, tls, folder)
        fleet.lab.exec(["nginx", "-p", log.parent, "-c", log.parent / "nginx.conf", "-s", "reload"])
        wait_until(lambda: not believes(fleet, url, first), 90, "nginx to take up the new certificate")
        installs_by_tls(fleet, url, second)


def certified(fleet, tls: dict, folder: Path) -> Path:
    """A certificate for the hosts of an Ingress, in its Secret and from there where nginx reads it; who vouches for it."""
    authority = folder.with_name(f"{folder.name}-{time.monotonic_ns()}")
    for place in (folder, authority):
        place.mkdir(exist_ok=True)
    chain, key = certificate(authority, f"DNS:{tls['hosts'][0]}")
    fleet.apply(secret(tls["secretName"], "kubernetes.io/tls", tls_crt=chain.read_text(), tls_key=key.read_text()))
    for name, content in fleet.lab.get("secret", tls["secretName"], fleet.namespace)["data"].items():
        (folder / name).write_bytes(base64.b64decode(content))
    return chain


def believes(fleet, url: str, authority: Path) -> bool:
    return fleet.lab.exec(["curl", "-sSf", "--max-time", "20", "--cacert", authority, f"{url}dists/stable/InRelease"], check=False).returncode == 0


def installs_by_tls(fleet, url: str, authority: Path) -> None:
    wait_until(lambda: believes(fleet, url, authority), 90, f"an answer at {url}")
    root = fleet.world.workdir / "apt" / f"{fleet.name}-tls-{time.monotonic_ns()}"
    apt = AptClient(root, fleet.world.key.public(), f"{url} stable main", Acquire__https__CaInfo=str(authority))
    assert PACKAGE in apt.download(fleet.lab, PACKAGE).name


def is_kept_as_declared(fleet, kind: str, route: dict) -> None:
    """Another annotation is written into what is there, and what somebody edits by hand is put right."""
    uid = objects(fleet, kind)[0]["metadata"]["uid"]

    def has(value: str) -> bool:
        found = objects(fleet, kind)[0]["metadata"]
        return found["uid"] == uid and found["annotations"].get(ANNOTATION) == value

    serve(fleet, {**route, "annotations": {ANNOTATION: "b"}})
    wait_until(lambda: has("b"), 90, f"the annotation of {kind}")
    fleet.lab.patch(kind, regions_service(fleet), {"metadata": {"annotations": {ANNOTATION: "c"}}}, fleet.namespace)
    wait_until(lambda: has("b"), 90, f"the annotation of {kind} again")


def nothing_is_written(world, fleet) -> None:
    """The API server's defaults are no difference. Who takes them for one writes again and again."""

    def quiet() -> bool:
        since = world.lab.audit_position()
        time.sleep(3)
        writes = [event for event in world.controller_writes(since) if event.get("objectRef", {}).get("namespace") == fleet.namespace]
        return not writes

    wait_until(quiet, 90, "the controller to write nothing more", interval=0.1)
