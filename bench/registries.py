"""Measures registries of npm: mirrorfleet, verdaccio and an nginx that caches and rewrites, each on one core, wrk on the other."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cold_documents
import installing
from loads import Load, ask_for, settled_kib
from nginx import nginx_command
from places import CACHE
from processes import Failed, free_port, fresh, running
from results import Figure
from serving import MANY, SERVER_CORE, kept_open
from syncing import Bench
from works import OURS, REGISTRY

from acceptance.npm_clients import node
from npm_registry import ABBREVIATED, Registry

VERDACCIO = "verdaccio@6.10.4"
#: Of the documents: how many packages, and how many versions the large one has.
PACKAGES, VERSIONS = 300, 1500
#: Who has given fewer answers on each connection is given so many times the time.
LEAST_ANSWERS, LONGER = 4, (8, 24)
#: To the upstream, for each that asks it.
CONNECTIONS = 64
#: As npm asks, and as pnpm does.
ENCODINGS = {"gzip": "gzip", "zstd": "zstd, gzip, deflate"}
ACCEPT = {"full": "application/json", "abbreviated": f"{ABBREVIATED}; q=1.0, application/json; q=0.8, */*"}

NGINX_RULES = """
    open_file_cache max={files} inactive=10m;
    proxy_cache_path {work}/cache keys_zone=npm:64m max_size=4g inactive=1d use_temp_path=off;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {upstream};
            proxy_cache npm; proxy_cache_valid 200 1h; proxy_ignore_headers Vary Cache-Control;
            proxy_cache_key $uri$http_accept; proxy_set_header Accept-Encoding "";
            sub_filter_types application/json application/vnd.npm.install-v1+json; sub_filter_once off;
            sub_filter {upstream} http://127.0.0.1:{port};
        }}
    }}
"""

VERDACCIO_CONFIG = """
storage: {work}/storage
uplinks: {{npmjs: {{url: {upstream}, maxage: 1h, agent_options: {{keepAlive: true, maxSockets: {connections}, maxFreeSockets: {connections}}}}}}}
packages: {{"**": {{access: $all, proxy: npmjs}}}}
log: {{type: file, path: {work}/verdaccio-told.log, level: error}}
"""

MANIFESTS = (
    {"apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Upstream", "metadata": {"name": "npm"}, "spec": {"type": "Npm", "politeness": {"maxConnections": CONNECTIONS}}},
    {
        "apiVersion": "mirrorfleet.dev/v1alpha1", "kind": "Mirror", "metadata": {"name": "npm"},
        "spec": {"upstreamRef": {"name": "npm"}, "mode": "PullThrough", "content": {"npm": {}}, "regions": [{"name": "here"}]},
    },
)  # fmt: skip


@dataclass(frozen=True)
class Contender:
    port: int
    pid: int
    #: What its registry's address ends in.
    below: str

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.below}"


def registry_works(bench: Bench, wanted: set[str]) -> Iterator[dict[str, list[Figure]]]:
    names = [work.name for work in REGISTRY if work.name in wanted]
    if not names:
        return
    if (os.cpu_count() or 1) < 2:
        raise Failed("serving needs two cores: one for the server and one for wrk")
    work = fresh(bench.work, "registries")
    with ExitStack() as stack:
        upstream = stack.enter_context(stocked())
        contenders = stack.enter_context(all_contenders(bench, work, upstream))
        for name in names:
            print(name, flush=True)
            yield {name: figures_of(bench, name, contenders, upstream)}


@contextmanager
def stocked() -> Iterator[Registry]:
    """300 packages as most are, and one with 1,500 versions and a tarball of 1 MiB."""
    upstream = Registry()
    for number in range(PACKAGES):
        for version in range(8):
            upstream.publish(f"package-{number}", f"1.{version}.0", dependencies={f"package-{number + 1}": "^1.0.0"})
    for version in range(VERSIONS):
        upstream.publish("many", f"1.{version}.0", description="x" * 400, scripts={"test": "y" * 400})
    upstream.publish("large", "1.0.0", content={"data": os.urandom(768 << 10).hex()})
    try:
        yield upstream
    finally:
        upstream.stop()


@contextmanager
def all_contenders(bench: Bench, work: Path, upstream: Registry) -> Iterator[dict[str, Contender]]:
    ports = {name: free_port() for name in (OURS, "verdaccio", "nginx")}
    manifests = work / "npm.yaml"
    documents = json.loads(json.dumps(MANIFESTS))
    documents[0]["spec"]["authority"] = {"url": upstream.url}
    manifests.write_text("\n---\n".join(map(json.dumps, documents)))
    config = work / "verdaccio.yaml"
    config.write_text(VERDACCIO_CONFIG.format(work=work, upstream=upstream.url, connections=CONNECTIONS))
    rules = NGINX_RULES.format(files=kept_open(), work=work, port=ports["nginx"], upstream=upstream.url)
    commands = {
        OURS: [str(bench.program), "local", "-f", str(manifests), "--data", str(work / "data"), "--status-listen", "none", "--listen", f"127.0.0.1:{ports[OURS]}"],
        "verdaccio": [str(node()), str(verdaccio()), "--config", str(config), "--listen", f"127.0.0.1:{ports['verdaccio']}"],
        "nginx": nginx_command(work, "registry-nginx", workers=1, rules=rules),
    }
    with ExitStack() as started:
        contenders = {}
        for name, command in commands.items():
            process = running(["taskset", "-c", SERVER_CORE, *command], work / f"{name}.log", ready_port=ports[name])
            contenders[name] = Contender(ports[name], started.enter_context(process).pid, "/npm" if name == OURS else "")
        yield contenders


def verdaccio() -> Path:
    top = CACHE / VERDACCIO.replace("@", "-")
    if not (top / "complete").exists():
        shutil.rmtree(top, ignore_errors=True)
        top.mkdir(parents=True)
        name, _, version = VERDACCIO.rpartition("@")
        # It asks for a tag of this one that not every registry has.
        (top / "package.json").write_text(json.dumps({"private": True, "dependencies": {name: version}, "overrides": {"node-fetch": "2.7.0"}}))
        subprocess.run(["npm", "install", "--prefix", str(top), "--no-audit", "--no-fund"], check=True, stdout=sys.stderr)
        (top / "complete").touch()
    return top / "node_modules" / "verdaccio" / "bin" / "verdaccio"


def figures_of(bench: Bench, name: str, contenders: dict[str, Contender], upstream: Registry) -> list[Figure]:
    if name == "registry-memory":
        return memory(contenders)
    if name == "registry-cold":
        return cold_documents.huge(contenders, upstream)
    if name == "registry-cold-many":
        seconds, rounds = (1, 1) if bench.scale.quick else (2, 3)
        return cold_documents.many(contenders, upstream, bench.work, seconds, rounds)
    if name.startswith("registry-install-"):
        addresses = {contender: contenders[contender].address for contender in (OURS, "verdaccio")}
        return installing.install(bench, name, {**addresses, "the upstream itself": upstream.url}, upstream)
    return measure(bench, name, contenders, upstream)


def measure(bench: Bench, name: str, contenders: dict[str, Contender], upstream: Registry) -> list[Figure]:
    seconds, rounds = (1, 1) if bench.scale.quick else (4, 3)
    _, what, *way = name.split("-")
    figures = {contender: Figure(contender) for contender in contenders}
    for _ in range(rounds):
        for contender, at in contenders.items():
            headers = {"Accept": ACCEPT["abbreviated" if "brief" in way else "full"]}
            headers |= {"Accept-Encoding": ENCODINGS[encoding] for encoding in way if encoding in ENCODINGS}
            paths = {"small": f"{at.below}/package-7", "many": f"{at.below}/many", "tarball": f"{at.below}/large/-/large-1.0.0.tgz"}
            check(contender, at, paths[what], headers, upstream)
            load = Load(name, paths[what], headers, 200, connections=MANY)
            figures[contender].samples.append(answered_a_second(load, at.port, seconds))
            print(f"  {contender:<18} {answered.requests:12,.1f} requests/s", flush=True)
    return list(figures.values())


def answered_a_second(load: Load, port: int, seconds: int) -> float:
    """Of who answers each connection a few times at most, most would be what is under way at the end and does not count: they are given more time."""
    for time_given in (seconds, *(longer * seconds for longer in LONGER)):
        answered = ask_for(load, port, load.headers, time_given).requests
        if answered * time_given >= LEAST_ANSWERS * MANY:
            break
    return answered


def check(name: str, at: Contender, path: str, headers: dict[str, str], upstream: Registry) -> None:
    """Who answers with something else is not faster. It also is what makes them warm."""
    status, told, body = ask(at, path, headers)
    if told.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    elif told.get("content-encoding") == "zstd":
        body = subprocess.run(["zstd", "-dc"], input=body, capture_output=True, check=True).stdout
    if path.endswith(".tgz"):
        good = body == upstream.tarballs["/large/-/large-1.0.0.tgz"]
    else:
        document = json.loads(body)
        package = upstream.packages[document["name"]]
        led = all(version["dist"]["tarball"].startswith(f"{at.address}/") for version in document["versions"].values())
        good = document["versions"].keys() == package.versions.keys() and led
    if status != 200 or not good:
        raise Failed(f"{name} answers {status} with {len(body)} bytes to {path} {headers}, and not with what the upstream has")


def ask(at: Contender, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    """Status, headers by their names in lower case, and body."""
    connection = http.client.HTTPConnection("127.0.0.1", at.port, timeout=60)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def memory(contenders: dict[str, Contender]) -> list[Figure]:
    """What each holds after all of it."""
    return [Figure(name, [settled_kib(at.pid) / 1024]) for name, at in contenders.items()]
