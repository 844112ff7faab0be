"""npm's registry, filled on demand by `mirrorfleet local`: real clients, what they ask for besides, and an upstream on bad days."""

from __future__ import annotations

import concurrent.futures
import gzip
import hashlib
import http.client
import json
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from lab.waiting import wait_until
from npm_registry import ABBREVIATED, Registry, integrity, tarball

from .npm_clients import CLIENTS, project, required
from .place import API_VERSION, Place, end
from .registry import story

FULL = "application/json"
DAY = 86_400


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return self.json["error"]


class Copy:
    """`mirrorfleet local` with one npm registry, below `npm` and below the paths of other products."""

    aliases = ("repository/npm", "artifactory/api/npm/npm")

    def __init__(self, place: Place, upstream: Registry, before: tuple[str | Path, ...] = (), **spec: object) -> None:
        """`before` is what the program is started by."""
        self.place, self.upstream, self.spec, self.before = place, upstream, spec, before
        self.content: dict = {}
        self.start()

    def manifest(self) -> Path:
        documents = [
            {"apiVersion": API_VERSION, "kind": "Upstream", "metadata": {"name": "npmjs"}, "spec": {"type": "Npm", "authority": {"url": self.upstream.url}}},
            {
                "apiVersion": API_VERSION, "kind": "Mirror", "metadata": {"name": "npm"},
                "spec": {
                    "upstreamRef": {"name": "npmjs"}, "mode": "PullThrough", "content": {"npm": self.content}, "regions": [{"name": "here"}],
                    "serving": {"aliases": list(self.aliases)}, **self.spec,
                },
            },
        ]  # fmt: skip
        file = self.place.workdir / "npm.yaml"
        file.write_text("\n---\n".join(map(json.dumps, documents)))
        return file

    def start(self) -> None:
        out = self.place.workdir / "local.out"
        out.write_text("")
        self.process = self.place.start("local", [*self.before, *self.command()], out=out)

        def port(word: str) -> int:
            assert self.process.poll() is None, f"the program ended; see {self.place.workdir}/local.log"
            found = [line for line in out.read_text().splitlines() if line.startswith(f"{word} on ")]
            return int(found[0].rpartition(":")[2]) if found else 0

        self.port = wait_until(lambda: port("listening"), 90, "the server to listen", interval=0.02)
        self.metrics_port = wait_until(lambda: port("metrics"), 90, "the metrics' address", interval=0.02)

    def command(self) -> list[str | Path]:
        return [self.place.binary, "local", "-f", self.manifest(), "--data", self.place.data, "--status-listen", "none", "--metrics-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]

    def again(self) -> None:
        """The manifests are read again."""
        self.manifest()
        told = self.log().count("filled on demand")
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.log().count("filled on demand") > told, 90, "the registry to be served anew", interval=0.02)

    def log(self) -> str:
        return (self.place.workdir / "local.log").read_text()

    def url(self, path: str = "npm") -> str:
        return f"http://127.0.0.1:{self.port}/{path}/"

    def get(self, path: str, method: str = "GET", body: bytes | None = None, below: str = "npm", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, f"/{below}/{path}", body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=10)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        found = [float(line.rpartition(" ")[2]) for line in lines if line.startswith(name) and all(label in line for label in wanted)]
        return sum(found) if found else None

    def let_time_pass(self, seconds: int) -> None:
        """As if the upstream had been asked so long ago: the program ends, what it noted is older, it begins again."""
        end(self.process)
        for head in (self.place.data / "npm" / "heads").rglob("*"):
            if head.is_file():
                told = json.loads(head.read_text())
                for form in ("full", "abbreviated"):
                    if form in told:
                        told[form]["checked"] -= seconds
                head.write_text(json.dumps(told))
        self.start()


def stocked() -> Registry:
    """Packages as people have them: with a scope, with dependencies, with a tag."""
    upstream = Registry()
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        upstream.publish("left", version)
    upstream.publish("left", "2.0.0-rc.1", latest=False)
    upstream.packages["left"].tags["next"] = "2.0.0-rc.1"
    upstream.publish("@scope/inner", "3.0.0", dependencies={"left": "~1.1.0"})
    upstream.publish("top", "0.1.0", dependencies={"@scope/inner": "^3.0.0", "left": "^1.0.0"}, bin={"top": "index.js"})
    return upstream


def wide(upstream: Registry) -> str:
    """A package that needs sixteen others, as people write them: with scopes, peers, an alias, what other systems need alone."""
    upstream.publish("only-elsewhere", "1.0.0", os=["win32"], cpu=["arm64"])
    shapes = (
        {"dependencies": {"left": "^1.0.0"}, "engines": {"node": ">=1"}},
        {"peerDependencies": {"left": "^1.0.0"}},
        {"optionalDependencies": {"only-elsewhere": "^1.0.0"}},
        {"dependencies": {"older-left": "npm:left@1.0.0"}, "bin": "index.js"},
    )
    names = [f"@parts/number.{number}" if number % 2 else f"part_{number}" for number in range(16)]
    for number, part in enumerate(names):
        upstream.publish(part, "1.0.0-beta.1", latest=False)
        upstream.publish(part, f"1.0.{number}", keywords=["é"], **shapes[number % len(shapes)])
    upstream.publish("wide", "2.0.0", dependencies={part: "^1.0.0" for part in names})
    return names[-1]


def installs(place: Place, name: str, *more: str) -> None:
    """A first install, one from the lock file alone while the upstream is gone, and both below paths of other products."""
    client = CLIENTS[name]
    client.program()  # skips where it cannot be had
    upstream = stocked()
    last = wide(upstream)
    try:
        copy = Copy(place, upstream)
        paths = ("npm", "repository/npm", *more)
        for below in paths:
            folder = project(place.workdir, f"{name}-{below.replace('/', '-')}", {"top": "^0.1.0", "left": "^1.0.0", "wide": "2.0.0", last: "1.0.15"})
            client.run(folder, *client.install, registry=copy.url(below))
            assert required(folder, "left") == "left@1.2.0"
            assert required(folder, "top") == "top@0.1.0"
            assert (required(folder, "wide"), required(folder, last)) == ("wide@2.0.0", f"{last}@1.0.15")
            assert (folder / client.lock).exists(), f"{name} wrote no {client.lock}: {sorted(path.name for path in folder.iterdir())}"
        tarballs = {path: count for path, count in upstream.asked_paths().items() if path.endswith(".tgz")}
        assert len(tarballs) >= 20 and set(tarballs.values()) == {1}, f"each tarball came once: {tarballs}"
        upstream.stop()
        for below in paths:
            folder = place.workdir / f"{name}-{below.replace('/', '-')}"
            client.forget(folder)
            client.run(folder, *client.repeat, registry=copy.url(below))
            assert required(folder, "top") == "top@0.1.0" and required(folder, "left") == "left@1.2.0"
            assert required(folder, "wide") == "wide@2.0.0"
    finally:
        upstream.stop()


@story("npm 11 installs through us, and again from its lock file while the upstream is gone")
def npm_11_installs(place: Place) -> None:
    installs(place, "npm11")


@story("npm 12, which takes tarballs only from below the registry's own path, does the same")
def npm_12_installs(place: Place) -> None:
    installs(place, "npm12", "artifactory/api/npm/npm")


@story("pnpm 12 does the same")
def pnpm_installs(place: Place) -> None:
    installs(place, "pnpm")


@story("yarn 1 does the same")
def yarn_1_installs(place: Place) -> None:
    installs(place, "yarn1")


@story("yarn 4, which looks at the time of each version, does the same")
def yarn_4_installs(place: Place) -> None:
    installs(place, "yarn4")


@story("bun does the same")
def bun_installs(place: Place) -> None:
    installs(place, "bun")


@story("npm: lock files that name another registry's host, the audit, the search and signatures' keys; publishing is refused in words")
def npm_asks_for_more(place: Place) -> None:
    client = CLIENTS["npm12"]
    client.program()
    upstream = stocked()
    upstream.publish("rotten", "1.0.0")
    try:
        copy = Copy(place, upstream)
        folder = project(place.workdir, "more", {"top": "^0.1.0", "rotten": "1.0.0"})
        client.run(folder, "install", registry=copy.url())
        lock = folder / "package-lock.json"
        lock.write_text(lock.read_text().replace(copy.url(), "https://mirror.example.org/repository/npm-all/"))
        client.forget(folder)
        client.run(folder, "ci", registry=copy.url())
        assert required(folder, "top") == "top@0.1.0"
        audit = client.run(folder, "audit", "--json", registry=copy.url(), check=False)
        assert "rotten" in json.loads(audit.stdout)["vulnerabilities"], audit.stdout
        assert "found" in client.run(folder, "search", "found", "--json", registry=copy.url()).stdout
        viewed = json.loads(client.run(folder, "view", "left", "dist-tags", "--json", registry=copy.url()).stdout)
        # npm 12 answers with a list, earlier ones with what is in it.
        (viewed,) = viewed if isinstance(viewed, list) else [viewed]
        assert viewed["latest"] == "1.2.0", viewed
        assert "latest: 1.2.0" in client.run(folder, "dist-tag", "ls", "left", registry=copy.url()).stdout
        assert "PONG" in client.run(folder, "ping", registry=copy.url(), check=False).stderr
        mine = project(place.workdir, "mine", {})
        (mine / "package.json").write_text('{"name": "mine", "version": "1.0.0"}')
        refused = client.run(mine, "publish", f"--//127.0.0.1:{copy.port}/npm/:_authToken=x", registry=copy.url(), check=False)
        assert refused.returncode and "only read" in refused.stderr, refused.stderr
        absent = client.run(folder, "install", "nobody-has-this", registry=copy.url(), check=False)
        assert absent.returncode and "is not in this registry" in absent.stderr, absent.stderr
    finally:
        upstream.stop()


def unzstd(body: bytes) -> bytes:
    return subprocess.run(["zstd", "-dc"], input=body, capture_output=True, check=True).stdout


@story("documents: both forms byte for byte but for two addresses, each encoding, conditions, every spelling of a name")
def documents_of_a_registry(place: Place) -> None:
    upstream = stocked()
    try:
        copy = Copy(place, upstream)
        for accept, full in ((FULL, True), (f"{ABBREVIATED}; q=1.0, application/json; q=0.8, */*", False)):
            for below in ("npm", *copy.aliases):
                told = json.dumps(upstream.packages["@scope/inner"].document(full=full), ensure_ascii=False)
                expected = told.replace(upstream.url, f"http://127.0.0.1:{copy.port}/{below}")
                for spelled in ("@scope%2finner", "@scope%2Finner", "@scope/inner"):
                    plain = copy.get(spelled, below=below, Accept=accept)
                    assert plain.status == 200 and plain.body.decode() == expected, plain
                    assert plain.headers["content-type"] == (FULL if full else ABBREVIATED)
                    assert plain.headers["vary"] == "accept, accept-encoding"
                    assert int(plain.headers["content-length"]) == len(plain.body)
                for encoding, undo in (("gzip", gzip.decompress), ("zstd", unzstd)):
                    packed = copy.get("@scope%2finner", below=below, Accept=accept, Accept_Encoding=f"{encoding}, deflate")
                    assert packed.headers["content-encoding"] == encoding and undo(packed.body).decode() == expected
                    assert packed.headers["etag"] != plain.headers["etag"], "other bytes have another tag"
                    same = copy.get("@scope%2finner", below=below, Accept=accept, Accept_Encoding=encoding, If_None_Match=packed.headers["etag"])
                    assert (same.status, same.body) == (304, b"") and "content-encoding" not in same.headers
                head = copy.get("@scope%2finner", "HEAD", below=below, Accept=accept)
                assert head.headers["content-length"] == plain.headers["content-length"] and not head.body
        asked = upstream.asked_paths()
        assert asked["/@scope%2finner"] == 2, f"each form was asked for once: {asked}"

        version = copy.get("left/1.1.0").json
        assert version["version"] == "1.1.0" and version["dist"]["tarball"] == f"{copy.url()}left/-/left-1.1.0.tgz"
        assert copy.get("left/latest").json["version"] == "1.2.0" and copy.get("left/next").json["version"] == "2.0.0-rc.1"
        assert copy.get("left/9.9.9").error == "version not found: 9.9.9"
        assert copy.get("-/package/left/dist-tags").json == {"latest": "1.2.0", "next": "2.0.0-rc.1"}
        assert (copy.get("-/ping").status, copy.get("-/whoami").status, copy.get("-/org/x/user").status) == (200, 401, 404)

        path = "@scope%2finner/-/inner-3.0.0.tgz"
        whole = copy.get(path)
        assert whole.body == upstream.tarballs["/@scope/inner/-/inner-3.0.0.tgz"] and "immutable" in whole.headers["cache-control"]
        part = copy.get(path, Range="bytes=2-5")
        assert (part.status, part.body) == (206, whole.body[2:6])
        assert copy.get("@scope/inner/-/@scope/inner-3.0.0.tgz").body == whole.body
        assert copy.get(path, If_None_Match=whole.headers["etag"]).status == 304
        assert copy.get("@scope/inner/-/inner-9.9.9.tgz").status == 404

        keys = copy.get("-/npm/v1/keys")
        assert keys.json["keys"][0]["keyid"] == "SHA256:k"
        attested = copy.get("-/npm/v1/attestations/@scope%2finner@3.0.0")
        assert attested.json == {"attestations": [{"of": "inner@3.0.0"}]}
        assert copy.get("-/v1/search?text=x&size=2").json["objects"][0]["package"]["query"] == "text=x&size=2"
        body = json.dumps({"rotten": ["1.0.0"], "left": ["1.0.0"]}).encode()
        for sent, headers in ((body, {}), (gzip.compress(body), {"Content_Encoding": "gzip"})):
            assert list(copy.get("-/npm/v1/security/advisories/bulk", "POST", sent, **headers).json) == ["rotten"]
        bomb = gzip.compress(b" " * (9 << 20))
        assert copy.get("-/npm/v1/security/advisories/bulk", "POST", bomb, Content_Encoding="gzip").status == 413
        assert "only read" in copy.get("left", "PUT", b"{}").error
        for nowhere in ("..%2f..%2fetc", "left/-/..%2fx", "%zz", "@scope", "a/b/c"):
            assert copy.get(nowhere).status in (400, 404), nowhere
        asked = upstream.asked_paths()
        assert all(count == 1 for path, count in asked.items() if path.endswith(".tgz")), asked
        assert not any("Authorization" in headers for headers in upstream.headers)

        end(copy.process)
        upstream.stop()
        copy.start()
        again = copy.get("@scope%2finner", Accept=FULL)
        assert again.status == 200 and copy.get(path).body == whole.body, "what was kept is served after a restart"
        assert copy.get("-/npm/v1/keys").json == keys.json and copy.get("left/-/left-1.0.0.tgz").status in (503, 504)
    finally:
        upstream.stop()


@story("an upstream registry that is slow, cut off, lying or gone: one question for a thousand, nothing wrong is kept, old documents serve on")
def an_upstream_registry_on_bad_days(place: Place) -> None:
    upstream = stocked()
    try:
        copy = Copy(place, upstream)
        upstream.delay = 1.0
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            answers = list(pool.map(lambda _: copy.get("left", Accept=FULL).status, range(1000)))
        assert set(answers) == {200} and upstream.count("/left") == 1, (set(answers), upstream.asked_paths())
        upstream.delay = 0.2
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda _: copy.get("left/-/left-1.2.0.tgz").body, range(50)))
        assert len(set(answers)) == 1 and upstream.count("left-1.2.0.tgz") == 1
        upstream.delay = 0

        # Cut off, and lying: told, and not kept.
        cut, path = "/left/-/left-1.0.0.tgz", "/left/-/left-1.1.0.tgz"
        upstream.cut[cut] = len(upstream.tarballs[cut]) - 1
        assert copy.get(cut[1:]).status in (502, 504)
        upstream.cut.clear()
        upstream.lies[path] = tarball({"package.json": "{}"})
        lie = copy.get(path[1:])
        assert lie.status == 502 and "not what was promised" in lie.error, lie
        upstream.lies.clear()
        for right in (cut, path):
            wait_until(lambda right=right: copy.get(right[1:]).body == upstream.tarballs[right], 30, "the failure to be forgotten", interval=0.2)
        wrong = ("<html>please log in</html>", '{"name":"other","versions":{}}', '{"name":"NAME","versions":{', '{"name":"NAME","name":"NAME"}', '{"name":"NAME","x":' + "[" * 70 + "]" * 70 + "}")
        for number, text in enumerate(wrong):
            upstream.publish(f"liar-{number}", "1.0.0")
            upstream.lies[f"/liar-{number}"] = text.replace("NAME", f"liar-{number}").encode()
            refused = copy.get(f"liar-{number}", Accept=FULL)
            assert refused.status == 502 and "not a document of it" in refused.error, (text, refused)
        upstream.lies.clear()
        for number, _ in enumerate(wrong):
            wait_until(lambda number=number: copy.get(f"liar-{number}").status == 200, 90, "the failure to be forgotten", interval=0.2)

        # Another host's tarball is asked for at the upstream's own, by the usual name.
        packed = upstream.publish("foreign", "1.0.0")
        upstream.packages["foreign"].versions["1.0.0"]["dist"]["tarball"] = "http://169.254.169.254/latest/foreign.tgz"
        assert copy.get("foreign").json["versions"]["1.0.0"]["dist"]["tarball"] == f"{copy.url()}foreign/-/foreign-1.0.0.tgz"
        assert copy.get("foreign/-/foreign-1.0.0.tgz").body == packed

        # Other bytes for an old version: the first ones stay, and no document shows it.
        before = copy.get("left/-/left-1.0.0.tgz").body
        upstream.tarballs["/left/-/left-1.0.0.tgz"] = evil = tarball({"package.json": "{}", "index.js": "evil"})
        upstream.packages["left"].versions["1.0.0"]["dist"].update(integrity=integrity(evil), shasum=hashlib.sha1(evil).hexdigest())
        copy.let_time_pass(400)
        assert "1.0.0" not in copy.get("left").json["versions"] and "1.1.0" in copy.get("left").json["versions"]
        assert "other bytes" in copy.get("left/1.0.0").error
        assert copy.get("left/-/left-1.0.0.tgz").body == before

        # Gone: what is kept serves on and says since when it is old, what is not says why.
        upstream.publish("left", "1.3.0")
        upstream.failing = 500
        copy.let_time_pass(400)
        old = copy.get("left")
        assert old.status == 200 and "1.3.0" not in old.json["versions"]
        assert int(old.headers["age"]) >= 400 and "mirrorfleet-stale-since" in old.headers
        began = time.time()
        assert [copy.get(f"never-{number}").status for number in range(4)][:2] == [504, 504]
        blocked = copy.get("never-5")
        assert blocked.status == 503 and "left alone" in blocked.error and int(blocked.headers["retry-after"]) <= 6, blocked
        assert copy.metric("mirrorfleet_registry_upstream_blocked_until_timestamp_seconds") >= int(began)
        assert copy.get("left").status == 200 and copy.get("left/-/left-1.2.0.tgz").status == 200
        upstream.failing = None
        wait_until(lambda: "1.3.0" in copy.get("left").json["versions"], 90, "the upstream to be asked again", interval=0.3)
        assert copy.metric("mirrorfleet_registry_upstream_blocked_until_timestamp_seconds") is None

        upstream.failing, upstream.retry_after = 429, "120"
        patient = copy.get("never-6")
        assert patient.status == 503 and patient.headers["retry-after"] == "120", patient
        asked = len(upstream.asked)
        assert copy.get("never-7").status == 503 and len(upstream.asked) == asked, "it is left alone when it says so"
        assert copy.metric("mirrorfleet_registry_answers_total", source="stale") >= 1

        copy.spec["pullThrough"] = {"offline": True}
        copy.again()
        offline = copy.get("never-8")
        assert offline.status == 504 and "pullThrough.offline" in offline.error, offline
        assert copy.get("left").status == 200 and copy.get("left/-/left-1.2.0.tgz").status == 200
        assert len(upstream.asked) == asked, "nothing is asked for offline"
    finally:
        upstream.stop()


@story("a registry's process that is killed in the middle of everything leaves nothing wrong behind")
def a_registry_that_is_killed(place: Place) -> None:
    upstream = Registry()
    for number in range(12):
        upstream.publish(f"large{number}", "1.0.0", content={"data": random.Random(number).randbytes(1_500_000).hex()})
    try:
        copy = Copy(place, upstream)
        for number in range(12):
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                asking = pool.submit(copy.get, f"large{number}/-/large{number}-1.0.0.tgz")
                time.sleep(0.004 * number)
                copy.process.kill()
                copy.process.wait()
                try:
                    asking.result()
                except (OSError, http.client.HTTPException):
                    pass
            copy.start()
        for number in range(12):
            path = f"/large{number}/-/large{number}-1.0.0.tgz"
            assert copy.get(path[1:]).body == upstream.tarballs[path]
            assert copy.get(f"large{number}").status == 200
        # A disk that gives back other bytes, and a power cut that left a file short.
        end(copy.process)
        for shelf in ("tarballs", "bodies", "heads", "pins"):
            for damaged in [path for path in (place.data / "npm" / shelf).rglob("*") if path.is_file()][:6]:
                content = damaged.read_bytes()
                damaged.chmod(0o644)
                damaged.write_bytes(content[: len(content) // 2])
        copy.start()
        for number in range(12):
            path = f"/large{number}/-/large{number}-1.0.0.tgz"
            assert copy.get(path[1:]).body == upstream.tarballs[path]
            assert copy.get(f"large{number}").json["versions"]["1.0.0"]["version"] == "1.0.0"
    finally:
        upstream.stop()


def instant(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


@story("the guard: young versions are hidden and tell when they open, lists and reserved names, waivers, a dry run, and a trail")
def the_guard_of_a_registry(place: Place) -> None:
    upstream = stocked()
    now = time.time()
    upstream.publish("left", "1.9.0", at=instant(now - DAY))
    upstream.publish("corp-tool", "1.0.0")
    upstream.publish("left-pad", "1.0.0")
    try:
        guard = {"minimumReleaseAge": "72h", "reserved": ["@corp/*", "corp-*"]}
        copy = Copy(place, upstream, guard=guard)
        copy.content = {"deny": [{"package": "left-pad", "reason": "write it yourself"}, {"package": "top", "version": "0.1.0", "reason": "broken"}]}
        copy.again()

        for accept in (FULL, ABBREVIATED):
            shown = copy.get("left", Accept=accept).json
            assert "1.9.0" not in shown["versions"] and shown["dist-tags"]["latest"] == "1.2.0", (accept, shown["dist-tags"])
            assert accept == ABBREVIATED or "1.9.0" not in shown["time"]
        held = copy.get("left/-/left-1.9.0.tgz")
        opens = instant(int(now) + 2 * DAY)[:15]
        assert held.status == 403 and "younger" in held.error and f"opens at {opens}" in held.error, held
        assert "younger" in copy.get("left/1.9.0").error and copy.get("left/latest").json["version"] == "1.2.0"
        assert copy.metric("mirrorfleet_registry_next_opening_timestamp_seconds") > now

        # What comes later with an old date is as old as its first sight.
        upstream.publish("left", "1.9.1", at="2015-01-01T00:00:00.000Z")
        copy.let_time_pass(400)
        assert "1.9.1" not in copy.get("left").json["versions"]

        denied = copy.get("left-pad")
        assert denied.status == 403 and "write it yourself" in denied.error
        assert "0.1.0" not in copy.get("top").json["versions"] and "broken" in copy.get("top/-/top-0.1.0.tgz").error
        before = len(upstream.asked)
        for path in ("corp-tool", "@corp%2fx", "@corp/x/-/x-1.0.0.tgz", "-/npm/v1/attestations/corp-tool@1.0.0", "-/package/corp-tool/dist-tags"):
            refused = copy.get(path)
            assert refused.status == 403 and "guard.reserved" in refused.error, refused
        assert copy.get("-/v1/search?text=corp-tool").json["total"] == 0 and copy.get("-/v1/search?text=@corp").json["total"] == 0
        assert copy.get("-/npm/v1/security/advisories/bulk", "POST", b'{"corp-tool":["1.0.0"]}').json == {}
        assert len(upstream.asked) == before, f"reserved names were asked for: {upstream.asked[before:]}"
        copy.get("-/npm/v1/security/advisories/bulk", "POST", b'{"corp-tool":["1.0.0"],"rotten":["1.0.0"]}')
        assert json.loads(upstream.bodies[-1]) == {"rotten": ["1.0.0"]}

        # A person lets one in; a dry run lets all in and tells; strictness trusts no date.
        waiver = {"package": "left", "version": "1.9.0", "reason": "mends a hole", "until": instant(now + DAY)}
        copy.spec["guard"] = {**guard, "waivers": [waiver]}
        copy.again()
        shown = copy.get("left").json
        assert shown["dist-tags"]["latest"] == "1.9.0" and "1.9.1" not in shown["versions"]
        assert copy.get("left/-/left-1.9.0.tgz").status == 200
        copy.spec["guard"] = {**guard, "waivers": [{**waiver, "until": instant(now - 1)}]}
        copy.again()
        assert copy.get("left/-/left-1.9.0.tgz").status == 403, "its time is over"
        copy.spec["guard"] = {**guard, "dryRun": True}
        copy.again()
        assert copy.get("left").json["dist-tags"]["latest"] == "1.9.1" and copy.get("left-pad").status == 200
        assert copy.get("corp-tool").status == 403, "a dry run asks for reserved names no more than any other"
        copy.spec["guard"] = {**guard, "trustUpstreamTime": False}
        copy.again()
        assert copy.get("left").json["versions"] == {} and "latest" not in copy.get("left").json["dist-tags"]

        trail = [json.loads(line) for line in (place.data / "npm" / "trail.jsonl").read_text().splitlines()]
        told = {(line["package"], line.get("version"), line["decision"], line["rule"]) for line in trail}
        for line in (
            ("left", "1.9.0", "held", "age"), ("left", "1.9.0", "waived", "age"), ("left", "1.9.1", "would-be-held", "age"),
            ("left-pad", None, "held", "deny"), ("left-pad", None, "would-be-held", "deny"), ("top", "0.1.0", "held", "deny"), ("corp-tool", None, "held", "reserved"),
        ):  # fmt: skip
            assert line in told, f"{line} is not in the trail: {sorted(map(str, told))}"
        assert copy.metric("mirrorfleet_registry_decisions_total", decision="held", rule="age") >= 2

        client = CLIENTS["npm12"]
        client.program()
        copy.spec["guard"] = guard
        copy.again()
        folder = project(place.workdir, "guarded", {"left": "^1.0.0"})
        client.run(folder, "install", registry=copy.url())
        assert required(folder, "left") == "left@1.2.0"
        exact = client.run(folder, "install", "left@1.9.0", registry=copy.url(), check=False)
        assert exact.returncode, "a version that is held back is not there"
    finally:
        upstream.stop()
