"""Tarballs that an npm registry does not get, and others than were promised."""

from __future__ import annotations

import concurrent.futures
import json

from lab.waiting import wait_until
from npm_registry import ABBREVIATED, integrity

from .npm import FULL, Copy, stocked
from .npm_clients import CLIENTS, project
from .place import Place
from .registry import story


@story("a tarball that the upstream does not have, or forbids, is asked for once in a while however many clients want it, and is had once it is there")
def a_tarball_that_is_not_there(place: Place) -> None:
    upstream = stocked()
    path = "/left/-/left-1.2.0.tgz"
    try:
        copy = Copy(place, upstream, pullThrough={"negativeAge": "1h"})
        right = upstream.tarballs.pop(path)
        for _ in range(5):
            answer = copy.get(path[1:])
            assert answer.status == 404 and answer.json["error"], answer
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            assert {answer.status for answer in pool.map(lambda _: copy.get(path[1:]), range(40))} == {404}
        assert upstream.count("left-1.2.0.tgz") == 1, upstream.asked_paths()
        assert copy.get("left/-/left-1.1.0.tgz").status == 200 and copy.get("left").status == 200, "others of the package can be had"
        upstream.refused[path] = 403
        copy.again()  # what could not be had is asked for anew by other manifests
        assert [copy.get(path[1:]).status for _ in range(5)] == [403] * 5
        assert upstream.count("left-1.2.0.tgz") == 2, upstream.asked_paths()

        upstream.refused.clear()
        copy.spec["pullThrough"] = {"negativeAge": "1s"}
        copy.again()
        assert copy.get(path[1:]).status == 404
        upstream.tarballs[path] = right
        wait_until(lambda: copy.get(path[1:]).body == right, 30, "the tarball that came late", interval=0.2)
    finally:
        upstream.stop()


@story("an upstream gives a version other bytes: it is not shown, until a person names just these bytes; without that the first ones count again")
def new_bytes_of_an_old_version(place: Place) -> None:
    client = CLIENTS["npm12"]
    client.program()
    upstream = stocked()
    first = upstream.tarballs["/left/-/left-1.2.0.tgz"]
    try:
        copy = Copy(place, upstream)
        path = "left/-/left-1.2.0.tgz"
        assert copy.get(path).body == first
        second = upstream.publish("left", "1.2.0", content={"README.md": "republished"})
        copy.let_time_pass(400)
        for accept in (FULL, ABBREVIATED):
            shown = copy.get("left", Accept=accept).json
            assert "1.2.0" not in shown["versions"] and shown["dist-tags"]["latest"] == "1.1.0", shown["dist-tags"]
        held = copy.get("left/1.2.0")
        assert held.status == 403 and integrity(second) in held.error and "guard.allowMutations" in held.error, held
        assert copy.get(path).body == first, "what is here stays"
        trail = [json.loads(line) for line in (place.data / "npm" / "trail.jsonl").read_text().splitlines()]
        assert any(line["rule"] == "mutation" and integrity(second) in line["reason"] for line in trail), trail

        def approve(*bytes_of: bytes) -> None:
            copy.spec["guard"] = {"allowMutations": [{"package": "left", "version": "1.2.0", "integrity": integrity(one)} for one in bytes_of]}
            copy.again()

        approve(b"something else")
        assert "1.2.0" not in copy.get("left").json["versions"], "only what was approved"
        approve(second)
        for accept in (FULL, ABBREVIATED):
            assert copy.get("left", Accept=accept).json["versions"]["1.2.0"]["dist"]["integrity"] == integrity(second)
        assert copy.get(path).body == second
        folder = project(place.workdir, "approved", {"left": "1.2.0"})
        client.run(folder, *client.install, registry=copy.url())
        assert (folder / "node_modules" / "left" / "README.md").read_text() == "republished"
        # It changes its mind once more.
        upstream.publish("left", "1.2.0", content={"README.md": "again"})
        copy.let_time_pass(400)
        assert "1.2.0" not in copy.get("left").json["versions"] and copy.get(path).body == second
        approve()
        assert copy.get(path).body == first, "its first promise counts again"
    finally:
        upstream.stop()
