"""What an npm registry keeps and what it does not: large tarballs on their way, a folder with a bound, a volume without room."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import random
import stat
import subprocess
import threading
import time
from pathlib import Path

from lab.waiting import wait_until
from npm_registry import Registry

from .npm import FULL, Copy
from .npm_clients import CLIENTS, project, required
from .place import Place
from .registry import Skipped, story

MIB = 1 << 20
#: What is held back of a large tarball.
HELD_BACK = 64 << 10


def filling(kibibytes: int, seed: int) -> dict[str, str]:
    """A file of a package that no compression makes much smaller than so many kibibytes."""
    return {"data": random.Random(seed).randbytes(kibibytes * 512 + kibibytes * 64).hex()}


class Reading:
    """A client in the middle of an answer."""

    def __init__(self, copy: Copy, path: str, **headers: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", copy.port, timeout=60)
        self.connection.request("GET", f"/npm/{path}", headers={name.replace("_", "-"): value for name, value in headers.items()})
        self.answer = self.connection.getresponse()
        self.body = b""

    def some(self, size: int) -> int:
        """Reads until it has so many bytes."""
        while len(self.body) < size:
            self.body += self.answer.read(size - len(self.body))
        return len(self.body)

    def rest(self) -> bytes | None:
        """None where the connection was cut."""
        try:
            self.body += self.answer.read()
        except http.client.IncompleteRead as cut:
            self.body += cut.partial
            return None
        except ConnectionError:
            return None
        finally:
            self.connection.close()
        return self.body

    def leave(self) -> None:
        self.connection.close()


@story("a large tarball is sent while it comes, by one request for all; one whose end is wrong, or is cut off, nobody has as a whole")
def large_tarballs_on_their_way(place: Place) -> None:
    upstream = Registry()
    for seed, name in enumerate(("large", "wrong", "short")):
        upstream.publish(name, "1.0.0", content=filling(24 * 1024, seed))
    try:
        copy = Copy(place, upstream)
        path = "large/-/large-1.0.0.tgz"
        whole = upstream.tarballs[f"/{path}"]
        assert len(whole) > 12 * MIB, len(whole)
        gate = threading.Event()
        upstream.gates[f"/{path}"] = (10 * MIB, gate)
        first, second = Reading(copy, path), Reading(copy, path)
        part = Reading(copy, path, Range=f"bytes={2 * MIB}-{3 * MIB - 1}")
        assert (part.answer.status, part.rest()) == (206, whole[2 * MIB : 3 * MIB]), "a range of what is there already"
        end = Reading(copy, path, Range="bytes=-100")
        leaving = Reading(copy, path)
        assert first.some(9 * MIB) == 9 * MIB and leaving.some(MIB) == MIB
        leaving.leave()
        assert int(first.answer.getheader("Content-Length")) == len(whole)
        gate.set()
        assert first.rest() == whole and second.rest() == whole and end.rest() == whole[-100:]
        assert upstream.count("large-1.0.0.tgz") == 1, upstream.asked_paths()
        kept = copy.get(path)
        assert kept.body == whole and kept.headers["etag"] == first.answer.getheader("ETag")
        assert upstream.count("large-1.0.0.tgz") == 1, "it is kept"

        for name in ("wrong", "short"):
            path = f"{name}/-/{name}-1.0.0.tgz"
            right = upstream.tarballs[f"/{path}"]
            if name == "wrong":
                upstream.lies[f"/{path}"] = right[:-1] + bytes([right[-1] ^ 1])
            else:
                upstream.cut[f"/{path}"] = len(right) - 10
            gate = threading.Event()
            upstream.gates[f"/{path}"] = (9 * MIB, gate)
            with concurrent.futures.ThreadPoolExecutor(32) as pool:
                readers = list(pool.map(lambda _, path=path: Reading(copy, path), range(32)))
                gate.set()
                assert {reader.rest() for reader in readers} == {None}
            assert all(len(reader.body) <= len(right) - HELD_BACK for reader in readers)
            assert upstream.count(f"{name}-1.0.0.tgz") == 1, upstream.asked_paths()
            upstream.lies.clear()
            upstream.cut.clear()
            wait_until(lambda path=path, right=right: copy.get(path).body == right, 90, "the right one", interval=0.2)
        for shelf in (place.data / "npm" / "tarballs").rglob("*"):
            assert not shelf.is_file() or shelf.read_bytes() in upstream.tarballs.values(), shelf
        # npm's own way with it: an installation of the package from the lock file.
        client = CLIENTS["npm12"]
        client.program()
        folder = project(place.workdir, "large", {"large": "1.0.0"})
        client.run(folder, "install", registry=copy.url())
        assert required(folder, "large") == "large@1.0.0"
    finally:
        upstream.stop()


def kept_bytes(place: Place) -> int:
    folder = place.data / "npm"
    return sum(-(-size // 4096) * 4096 for shelf in ("heads", "bodies", "tarballs", "passed", "shown") for size in map(size_of, (folder / shelf).rglob("*")))


def size_of(file: Path) -> int:
    """None of what is no file, nor of what has been given up since it was listed."""
    try:
        known = file.stat()
    except FileNotFoundError:
        return 0
    return known.st_size if stat.S_ISREG(known.st_mode) else 0


def keeps_to(place: Place, bound: int, what: str) -> None:
    """Who asked has the answer before what it made necessary is done."""
    wait_until(lambda: kept_bytes(place) <= bound, 60, f"the folder to keep to its bound {what}", detail=lambda: kept_bytes(place))


@story("a registry's folder keeps to its bound: what was used longest ago goes and comes again, and what was first promised stays")
def a_registry_with_a_bound(place: Place) -> None:
    upstream = Registry()
    names = [f"tool{number}" for number in range(14)]
    for seed, name in enumerate(names):
        upstream.publish(name, "1.0.0", content=filling(400, seed))
    tarballs = {name: upstream.tarballs[f"/{name}/-/{name}-1.0.0.tgz"] for name in names}
    bound = 2 * MIB
    try:
        copy = Copy(place, upstream, storage={"cache": {"maxBytes": str(bound)}})

        def fetch(name: str) -> None:
            assert copy.get(f"{name}/-/{name}-1.0.0.tgz").body == tarballs[name], name

        for name in names:
            assert copy.get(name, Accept=FULL).status == 200
            fetch(name)
            # The first one is always in use.
            fetch(names[0])
            keeps_to(place, bound, f"with {name}")
        assert copy.metric("mirrorfleet_registry_evicted_files_total") > 0
        assert copy.metric("mirrorfleet_registry_cached_bytes") <= bound
        # The upstream changes its mind about a version whose document and tarball went long ago.
        dist = upstream.packages[names[2]].versions["1.0.0"]["dist"]
        before = dict(dist)
        dist.update(integrity=upstream.packages[names[3]].versions["1.0.0"]["dist"]["integrity"], shasum="0" * 40)
        upstream.lies[f"/{names[2]}/-/{names[2]}-1.0.0.tgz"] = tarballs[names[3]]
        copy.let_time_pass(400)
        fetch(names[-1])
        fetch(names[1])
        counts = upstream.asked_paths()
        of = lambda name: counts[f"/{name}/-/{name}-1.0.0.tgz"]  # noqa: E731
        assert (of(names[-1]), of(names[1])) == (1, 2), counts
        assert "1.0.0" not in copy.get(names[2]).json["versions"]
        other = copy.get(f"{names[2]}/-/{names[2]}-1.0.0.tgz")
        assert other.status == 502 and "not what was promised" in other.error, other
        dist.update(before)
        upstream.lies.clear()
        wait_until(lambda: copy.get(f"{names[2]}/-/{names[2]}-1.0.0.tgz").status == 200, 30, "the failure to be forgotten", interval=0.2)
        fetch(names[2])
        # What an earlier process has left counts as well.
        for name in names[4:]:
            fetch(name)
        keeps_to(place, bound, "with what an earlier process has left")
        # A smaller bound counts from the next fetch on.
        copy.spec["storage"] = {"cache": {"maxBytes": str(MIB)}}
        copy.again()
        fetch(names[4])
        fetch(names[5])
        keeps_to(place, MIB + 400 * 1024, "that is smaller now")
    finally:
        upstream.stop()


@story("a registry on a full volume answers with all that it is asked for, says that it keeps nothing, and heals by itself")
def a_registry_on_a_full_volume(place: Place) -> None:
    # Twelve mebibytes that only this process sees.
    room = 'mount -t tmpfs -o size=12m none "$0" && exec "$@"'
    if subprocess.run(["unshare", "-m", "sh", "-c", room, place.data, "true"], capture_output=True, check=False).returncode:
        raise Skipped("a file system cannot be mounted here")
    upstream = Registry()
    upstream.publish("before", "1.0.0", content=filling(200, 1))
    upstream.publish("small", "1.0.0", content=filling(700, 2))
    upstream.publish("large", "1.0.0", content=filling(36 * 1024, 3))
    upstream.publish("wrong", "1.0.0", content=filling(36 * 1024, 4))
    try:
        copy = Copy(place, upstream, before=("unshare", "-m", "sh", "-c", room, place.data))
        seen = Path(f"/proc/{copy.process.pid}/root{place.data}")
        assert copy.get("before/-/before-1.0.0.tgz").status == 200
        full = "mirrorfleet_registry_full_since_timestamp_seconds"
        assert copy.metric(full) is None

        def fill() -> None:
            for held in ("tarballs", "shown", "bodies", "heads", "passed"):
                for file in (seen / "npm" / held).rglob("*"):
                    if file.is_file():
                        file.unlink()
            with contextlib.suppress(OSError), (seen / "ballast").open("wb", buffering=0) as ballast:
                while True:
                    ballast.write(bytes(4096))

        began = time.time()
        fill()
        for _ in range(2):
            assert copy.get("small", Accept=FULL).json["versions"]["1.0.0"]["name"] == "small"
            small = copy.get("small/-/small-1.0.0.tgz")
            assert small.status == 200 and small.body == upstream.tarballs["/small/-/small-1.0.0.tgz"]
        whole = upstream.tarballs["/large/-/large-1.0.0.tgz"]
        assert len(whole) > 16 * MIB, "larger than the volume"
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: copy.get("large/-/large-1.0.0.tgz").body, range(4)))
        assert all(answer == whole for answer in answers)
        part = Reading(copy, "large/-/large-1.0.0.tgz", Range="bytes=10000000-10000099")
        assert (part.answer.status, part.rest()) == (206, whole[10_000_000:10_000_100])
        right = upstream.tarballs["/wrong/-/wrong-1.0.0.tgz"]
        upstream.lies["/wrong/-/wrong-1.0.0.tgz"] = right[:-1] + bytes([right[-1] ^ 1])
        wrong = Reading(copy, "wrong/-/wrong-1.0.0.tgz")
        assert wrong.rest() is None and len(wrong.body) <= len(right) - HELD_BACK
        assert copy.metric(full) >= int(began) and copy.metric("mirrorfleet_registry_not_kept_files_total") >= 4
        assert "the volume is full" in copy.log()
        # First promises count although there was no room to write them down.
        upstream.packages["small"].versions["1.0.0"]["dist"]["integrity"] = upstream.packages["large"].versions["1.0.0"]["dist"]["integrity"]
        assert "1.0.0" not in copy.get("small", Accept=FULL).json["versions"]
        client = CLIENTS["npm12"]
        client.program()
        folder = project(place.workdir, "full", {"before": "1.0.0"})
        client.run(folder, "install", registry=copy.url())
        assert required(folder, "before") == "before@1.0.0"

        (seen / "ballast").unlink()
        asked = upstream.count("small-1.0.0.tgz")
        for _ in range(2):
            assert copy.get("small/-/small-1.0.0.tgz").status == 200
        assert upstream.count("small-1.0.0.tgz") == asked + 1, "it is kept again"
        assert copy.metric(full) is None and "has room again" in copy.log()
        upstream.publish("after", "1.0.0")
        assert copy.get("after").status == 200
        promised = [file for file in (seen / "npm" / "pins").rglob("*") if file.is_file() and file.stat().st_size]
        assert len(promised) == 5, f"promises that waited for room are written down with the next ones: {promised}"
    finally:
        upstream.stop()
