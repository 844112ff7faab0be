"""What a registry's upstream does from one day to the next, where it cannot be reached, and who may ask it."""

from __future__ import annotations

import concurrent.futures
import json
import re
import threading
from dataclasses import dataclass
from pathlib import Path

from lab.waiting import wait_until
from npm_registry import ABBREVIATED, Registry

from .npm import FULL, Answer, Copy, stocked
from .npm_clients import CLIENTS, project, required
from .place import Place
from .registry import story

TOKEN = "Bearer npm_of_ours"
REPOSITORY = Path(__file__).resolve().parents[2]


@story("what the upstream says later comes through: deprecations, versions and packages that are gone, one that appears; what is the same costs a 304")
def a_registry_changes(place: Place) -> None:
    client = CLIENTS["npm12"]
    client.program()
    upstream = stocked()
    try:
        copy = Copy(place, upstream, pullThrough={"negativeAge": "1s"})
        for accept in (FULL, ABBREVIATED):
            assert {"1.0.0", "1.1.0", "1.2.0"} <= copy.get("left", Accept=accept).json["versions"].keys()
        gone = copy.get("left/-/left-1.1.0.tgz").body
        assert copy.get("top").status == 200

        # Nothing is new: both forms are asked for on conditions.
        sent = upstream.answered[200]
        copy.let_time_pass(400)
        assert all(copy.get("left", Accept=accept).status == 200 for accept in (FULL, ABBREVIATED))
        assert (upstream.answered[304], upstream.answered[200]) == (2, sent), upstream.answered
        assert copy.metric("mirrorfleet_registry_upstream_requests_total", result="unchanged") == 2
        for _ in range(3):
            copy.get("left", Accept=FULL)
        assert upstream.answered[304] == 2, "it is believed for five minutes again"

        left = upstream.packages["left"]
        left.versions["1.2.0"]["deprecated"] = "it leaks; use right"
        del left.versions["1.1.0"], left.time["1.1.0"], upstream.packages["top"]
        copy.let_time_pass(400)
        for accept in (FULL, ABBREVIATED):
            shown = copy.get("left", Accept=accept).json["versions"]
            assert "1.1.0" not in shown and shown["1.2.0"]["deprecated"] == "it leaks; use right", (accept, shown.keys())
        assert copy.get("left/-/left-1.1.0.tgz").body == gone, "lock files that have it go on"
        assert copy.get("top").status == 404
        folder = project(place.workdir, "warned", {"left": "1.2.0"})
        installed = client.run(folder, *client.install, registry=copy.url())
        assert "it leaks; use right" in installed.stderr and required(folder, "left") == "left@1.2.0", installed.stderr

        assert copy.get("late").status == 404
        upstream.publish("late", "1.0.0")
        wait_until(lambda: copy.get("late").status == 200, 60, "the package that came late", interval=0.2)
    finally:
        upstream.stop()


def never_had(copy: Copy, name: str) -> Answer:
    """What the answer for a package is that nobody has asked for."""
    answer = copy.get(name)
    assert answer.status == 504 and answer.json.keys() == {"error"}, answer
    return answer


@dataclass(frozen=True)
class Nowhere:
    url: str


@story("an upstream registry that hangs, before an answer or in its middle, or whose name is none: it is said what is wrong, and what is kept is served")
def a_registry_that_is_not_reached(place: Place) -> None:
    upstream = stocked()
    gate = threading.Event()
    try:
        copy = Copy(place, upstream)
        assert copy.get("left").status == 200 and copy.get("left/-/left-1.2.0.tgz").status == 200
        upstream.publish("left", "1.3.0")
        upstream.gates |= {"/left": (20, gate), "/top": (0, gate), "/@scope/inner": (20, gate)}
        copy.spec["sync"] = {"stallTimeout": "1s"}
        copy.let_time_pass(400)
        for accept in (FULL, ABBREVIATED):
            # Of the second form nothing is kept: the middle of an answer is none.
            answer = copy.get("left", Accept=accept)
            if accept == FULL:
                assert answer.status == 200 and "mirrorfleet-stale-since" in answer.headers and "1.3.0" not in answer.json["versions"], answer
            else:
                assert answer.status == 504 and "arrived within 1 s" in answer.error, answer
        assert copy.get("left/-/left-1.2.0.tgz").status == 200
        assert "arrived within 1 s" in never_had(copy, "top").error
        # By then it is left alone: for some seconds, and longer where that was not seen in time.
        blocked = wait_until(lambda: (answer := copy.get("@scope%2finner")).status == 503 and answer, 90, "the upstream to be left alone", interval=0.1)
        assert "left alone" in blocked.error, blocked
        gate.set()
        upstream.gates.clear()
        wait_until(lambda: "1.3.0" in copy.get("left").json["versions"], 90, "the upstream to be asked again", interval=0.3)
        wait_until(lambda: copy.get("top").status == 200, 90, "the failure to be forgotten", interval=0.3)
    finally:
        gate.set()
        upstream.stop()


@story("an upstream registry whose host's name is none: it is said")
def a_registry_without_a_name(place: Place) -> None:
    # A name that no server is asked for: one part of it has more than 63 letters.
    copy = Copy(place, Nowhere(f"http://{'a' * 64}.example.org"))
    assert "the host's name cannot be resolved" in never_had(copy, "left").error


@story("an upstream registry with a login: it is for that origin alone, clients' own logins go nowhere, and a wrong one is told")
def a_registry_with_a_login(place: Place) -> None:
    client = CLIENTS["npm12"]
    client.program()
    upstream, other = stocked(), Registry()
    upstream.login = TOKEN
    for registry in (upstream, other):
        registry.publish("elsewhere", "1.0.0")
    upstream.packages["elsewhere"].versions["1.0.0"]["dist"]["tarball"] = f"{other.url}/elsewhere/-/elsewhere-1.0.0.tgz"
    try:
        copy = WithLogin(place, upstream)
        folder = project(place.workdir, "login", {"top": "^0.1.0", "elsewhere": "1.0.0"})
        client.run(folder, *client.install, f"--//127.0.0.1:{copy.port}/npm/:_authToken=of-the-client", registry=copy.url())
        assert required(folder, "top") == "top@0.1.0"
        assert {headers.get("Authorization") for headers in upstream.headers} == {TOKEN}
        assert not other.asked, "another host is asked for nothing"

        copy.token = "npm_of_nobody"
        copy.again()
        refused = copy.get("right")
        assert refused.status == 403 and "refuses right (401 Unauthorized): who are you?" in refused.error, refused
        assert "npm_of" not in copy.log(), "a token in the log"
    finally:
        upstream.stop()
        other.stop()


class WithLogin(Copy):
    """The same where the upstream has a login."""

    token = TOKEN.removeprefix("Bearer ")

    def manifest(self):
        file = super().manifest()
        documents = [json.loads(document) for document in file.read_text().split("\n---\n")]
        documents[0]["spec"]["access"] = {"credentialsRef": {"name": "login"}}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": {"token": self.token, "hosts": f"http://127.0.0.1:{self.upstream.port}"}}
        file.write_text("\n---\n".join(map(json.dumps, [*documents, secret])))
        return file


@story("a lock file of the public registry, by npm's own rule, and one of another registry, by the .npmrc that we print")
def lock_files_of_the_public_registry(place: Place) -> None:
    for name in ("npm11", "npm12"):
        CLIENTS[name].program()
    upstream = stocked()
    try:
        copy = Copy(place, upstream)
        for name in ("npm11", "npm12"):
            client = CLIENTS[name]
            folder = project(place.workdir, name, {"top": "^0.1.0"})
            public = client.run(folder, "config", "get", "registry", registry=None).stdout.strip()
            assert public.startswith("https://"), public
            client.run(folder, *client.install, registry=copy.url())
            lock = folder / "package-lock.json"
            ours = lock.read_text()
            for host, rule in ((public, "npmjs"), ("https://npm.example.org/repository/all/", "always")):
                lock.write_text(ours.replace(copy.url(), host))
                assert host in lock.read_text() and copy.url() not in lock.read_text()
                client.forget(folder)
                # Who says nothing has npm's own rule, which is about the public registry alone.
                (folder / ".npmrc").write_text(printed(copy.url()) if rule == "always" else f"registry={copy.url()}\n")
                client.run(folder, *client.repeat, registry=None)
                assert required(folder, "top") == "top@0.1.0" and required(folder, "left") == "left@1.2.0", (name, host)
    finally:
        upstream.stop()


def printed(address: str) -> str:
    """The `.npmrc` of docs/npm.md, which is that of the status page, for a registry at this address."""
    text = (REPOSITORY / "docs" / "npm.md").read_text()
    (block,) = re.findall(r"```\n(registry=.*?)```\n", text, re.DOTALL)
    told, count = re.subn(r"(?m)^registry=.*$", f"registry={address}", block)
    assert count == 1, block
    return told


@story("an upstream registry is asked for no more at once than connections are declared, also while tarballs are asked for together with what they must be")
def a_registry_is_polite(place: Place) -> None:
    upstream = Registry()
    for number in range(40):
        upstream.publish(f"many-{number}", "1.0.0")
    upstream.delay = 0.02
    try:
        for connections in (1, 4):
            copy = WithPoliteness(place, upstream, connections)
            upstream.most_waiting = 0
            asked = [f"many-{number}/-/many-{number}-1.0.0.tgz" for number in range(20 * (connections > 1), 20 + 20 * (connections > 1))]
            with concurrent.futures.ThreadPoolExecutor(20) as pool:
                answers = list(pool.map(lambda path, copy=copy: copy.get(path).body, asked))
            assert answers == [upstream.tarballs[f"/{path}"] for path in asked]
            assert upstream.most_waiting == connections, f"{upstream.most_waiting} questions at once instead of {connections}"
            copy.process.kill()
            copy.process.wait()
        asked = upstream.asked_paths()
        assert len(asked) == 80 and set(asked.values()) == {1}, f"each document and each tarball was asked for once: {asked}"
    finally:
        upstream.stop()


class WithPoliteness(Copy):
    """The same with so many connections to the upstream."""

    def __init__(self, place: Place, upstream: Registry, connections: int) -> None:
        self.connections = connections
        super().__init__(place, upstream)

    def manifest(self):
        file = super().manifest()
        documents = [json.loads(document) for document in file.read_text().split("\n---\n")]
        documents[0]["spec"]["politeness"] = {"maxConnections": self.connections}
        file.write_text("\n---\n".join(map(json.dumps, documents)))
        return file
