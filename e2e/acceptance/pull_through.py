"""Mirrors that fetch what they are asked for, with a real apt and a real pacman before them."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import random
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from archive import run
from lab.nginx import nginx
from lab.waiting import wait_until

from .apt import Apt
from .arch import ArchMirror, an_upstream, servers
from .arch_trust import Web
from .debian import DebianArchive, Suite
from .manners import ask
from .pacman import Pacman
from .place import FILES, Mirror, Place, Server, complete_access_log, end, free_port, wait_for_port
from .registry import Skipped, story

SUITE = Suite("stable", suite="stable", codename="stable")
PULL = {"mode": "PullThrough"}
HOUR = {"schedule": "0 4 1 1 *"}


def pulled(place: Place, name: str = "debian", **spec) -> Mirror:
    """A Mirror that a person syncs: `local` has nothing to do before next year."""
    return place.mirror(name, "debian", ("stable",), spec={**PULL, "sync": HOUR, **spec})


def an_archive(place: Place, names: list[str], kilobytes: int = 2) -> DebianArchive:
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    archive.add_many(SUITE, names, kilobytes=kilobytes)
    archive.publish(SUITE)
    return archive


def apt_of(place: Place, server: Server, name: str = "apt", mirror: str = "debian") -> Apt:
    return Apt(place.workdir / name, place.keyring, f"deb {server.url(mirror)} stable main")


def lazily(place: Place, *mirrors: Mirror | ArchMirror) -> Server:
    """`mirrorfleet local`, with its metrics."""
    return Server(*place._listening("local", "local", "-f", place.manifest_file(*mirrors), "--data", place.data, "--metrics-listen", "127.0.0.1:0"))  # noqa: SLF001


def payload_requests(place: Place) -> list[str]:
    return [path for path in place.requests() if "/pool/" in path]


class Leaving:
    """The upstreams at another address, until they are away."""

    def __init__(self, place: Place) -> None:
        self.prefix, self.port = place.workdir / "nginx-leaving", free_port()
        self.process = place.start("nginx-leaving", nginx(self.prefix, FILES.format(port=self.port, root=place.upstreams)))
        wait_for_port(self.port)

    def payload_requests(self) -> list[str]:
        with contextlib.suppress(ConnectionError):
            complete_access_log(self.port)
        lines = (self.prefix / "access.log").read_text().splitlines()
        return [line for line in lines if "/pool/" in line]

    def leave(self) -> None:
        end(self.process)


@story("apt goes on where Nexus and Artifactory were, by the paths of both, from a lazy mirror and from a full one")
def apt_by_the_paths_of_other_products(place: Place) -> None:
    archive = an_archive(place, ["first"])
    lazy = pulled(place, "lazy", serving={"path": "repository/debian-proxy"})
    full = place.mirror("full", "debian", ("stable",), spec={"sync": HOUR, "serving": {"path": "artifactory/debian-remote"}})
    for mirror in (lazy, full):
        place.sync(mirror)
    server = place.local(lazy, full)
    content = archive.packages["stable"][0].file.read_bytes()
    for mirror in (lazy, full):
        assert apt_of(place, server, f"apt-{mirror.name}", mirror.path).install_from("first").read_bytes() == content


@story("a lazy Debian mirror: apt installs, each package is fetched once, and what is stored is served while the upstream is away")
def apt_from_a_lazy_mirror(place: Place) -> None:
    archive = an_archive(place, ["first", "second", "third", "warmed"])
    upstream = Leaving(place)
    mirror = Mirror("debian", f"http://127.0.0.1:{upstream.port}/debian/", place.keyring, ("stable",), spec={**PULL, "sync": HOUR})
    place.sync(mirror)
    assert not upstream.payload_requests(), "a run fetches no packages"
    server = lazily(place, mirror)
    apt = apt_of(place, server)
    file = next(package.file for package in archive.packages["stable"] if package.name == "first")
    path = f"debian/{file.relative_to(archive.root)}"
    assert ask(server, path, "HEAD").headers["Content-Length"] == str(file.stat().st_size)
    assert not upstream.payload_requests(), "HEAD needs no bytes"
    assert apt.install_from("first").read_bytes() == file.read_bytes()
    apt.download("first")
    part = ask(server, path, Range="bytes=10-19")
    assert (part.status, part.body) == (206, file.read_bytes()[10:20])
    apt.download("second")
    assert len(upstream.payload_requests()) == 2, upstream.payload_requests()
    # As the documentation has it: what a client would ask for.
    wanted = apt.clean("apt-get", "install", "--yes", "--print-uris", "warmed")
    warm = """grep -o "http[^']*" | xargs -n 1 curl -sSf -o /dev/null"""
    run(["sh", "-c", warm], input=wanted)
    assert len(upstream.payload_requests()) == 3, upstream.payload_requests()
    foreseen = place.mirrorfleet("plan", "-f", place.manifest_file(mirror), "--data", place.data)
    assert foreseen.returncode == 0, foreseen.stdout + foreseen.stderr
    upstream.leave()
    # The upstream is away.
    apt.forget_lists()
    apt.update()
    apt.download("first")
    apt.download("warmed")
    refused = apt.run("apt-get", "install", "--download-only", "third")
    assert refused.returncode != 0 and "504" in refused.stdout + refused.stderr, refused.stdout + refused.stderr
    third = next(package.file for package in archive.packages["stable"] if package.name == "third")
    told = ask(server, f"debian/{third.relative_to(archive.root)}")
    assert told.status == 504 and b"UpstreamUnreachable" in told.body, told
    exported = place.mirrorfleet("export", "--data", place.data, "debian", place.workdir / "tree")
    assert exported.returncode != 0 and "mode: PullThrough" in exported.stderr, exported.stderr
    verified = place.mirrorfleet("verify", "--data", place.data)
    assert verified.returncode == 0, verified.stdout + verified.stderr


@story("apts update and install from a lazy mirror while the upstream changes, and see nothing of it")
def apt_from_a_lazy_mirror_under_churn(place: Place) -> None:
    names = [f"tool{number}" for number in range(12)]
    archive = an_archive(place, names, kilobytes=40)
    # Room for a third of it.
    mirror = pulled(place, storage={"cache": {"maxBytes": "200Ki"}}, snapshots={"keep": 2, "minAge": "1h"})
    place.sync(mirror)
    server = lazily(place, mirror)
    over = threading.Event()

    def client(number: int) -> int:
        apt, chance, installed = apt_of(place, server, f"apt-{number}"), random.Random(number), 0
        while not over.is_set() or installed < 5:
            apt.update()
            apt.download(chance.choice(names))
            installed += 1
        return installed

    with ThreadPoolExecutor(3) as pool:
        clients = [pool.submit(client, number) for number in range(3)]
        try:
            for version in range(2, 8):
                for name in random.Random(version).sample(names, 4):
                    archive.add(SUITE, name, f"{version}.0", kilobytes=40)
                archive.publish(SUITE)
                place.sync(mirror)
                rot_one(place)
        finally:
            over.set()
        assert sum(one.result() for one in clients) >= 15
    counted = dict(line.rsplit(" ", 1) for line in metrics_of(place, server).splitlines() if line.startswith("mirrorfleet_"))
    total = lambda name, label="": sum(float(value) for series, value in counted.items() if series.startswith(name) and label in series)  # noqa: E731
    assert total("mirrorfleet_fill_evicted_files_total") > 0, counted
    assert total("mirrorfleet_fill_cached_bytes") <= 300 << 10, counted
    assert total("mirrorfleet_http_on_demand_requests_total", "nowhere") == 0, counted


def rot_one(place: Place) -> None:
    """Spoils a byte of a package that is stored, as a disk may."""
    for file in sorted((place.data / "debian" / "blobs").rglob("*")):
        # One that is given up at this moment cannot rot any more.
        with contextlib.suppress(FileNotFoundError):
            if not file.is_file() or file.stat().st_size <= 30_000:
                continue
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 1
            spoiled = file.with_name("spoiled")
            spoiled.write_bytes(content)
            spoiled.replace(file)
            return


def metrics_of(place: Place, server: Server) -> str:
    return told_to_operators(place, "/metrics")


def told_to_operators(place: Place, path: str) -> str:
    """At the port for metrics."""
    out = (place.workdir / "local.out").read_text()
    port = next(line.rpartition(":")[2] for line in out.splitlines() if line.startswith("metrics on "))
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
    connection.request("GET", path)
    return connection.getresponse().read().decode()


def not_kept(place: Place) -> dict | None:
    """Why the mirror cannot keep what it fetches, as it tells the controller."""
    return json.loads(told_to_operators(place, "/.mirrorfleet/status/debian"))["notKept"]


@story("64 who want a large package cost the upstream one request, and a killed mirror goes on where it was")
def many_want_one_and_a_kill(place: Place) -> None:
    archive = an_archive(place, ["large"], kilobytes=24 * 1024)
    mirror = pulled(place)
    place.sync(mirror)
    server = lazily(place, mirror)
    file = archive.packages["stable"][0].file
    path, content = f"debian/{file.relative_to(archive.root)}", file.read_bytes()
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda _: ask(server, path), range(64)))
    assert all(answer.status == 200 and answer.body == content for answer in answers)
    assert len(payload_requests(place)) == 1, payload_requests(place)
    # Killed in the middle of what it fetches.
    (place.data / "debian" / "blobs").joinpath(*blob_of(content)).unlink()
    killing = threading.Timer(0.05, os.kill, (server.pid, signal.SIGKILL))
    killing.start()
    try:
        assert ask(server, path).body == content
    except (OSError, http.client.HTTPException):
        """It was killed before all of it was sent."""
    killing.join()
    again = lazily(place, mirror)
    apt = apt_of(place, again)
    assert apt.install_from("large").read_bytes() == content


def blob_of(content: bytes) -> tuple[str, str]:
    name = hashlib.sha256(content).hexdigest()
    return name[:2], name[2:]


@story("a package that an upstream has with other content, or no longer has, is refused and nothing of it is kept")
def wrong_content_is_never_served(place: Place) -> None:
    archive = an_archive(place, ["wrong", "gone", "good"], kilobytes=12 * 1024)
    mirror = pulled(place, pullThrough={"negativeAge": "1s"})
    place.sync(mirror)
    server = lazily(place, mirror)
    files = {package.name: package.file for package in archive.packages["stable"]}
    paths = {name: f"debian/{file.relative_to(archive.root)}" for name, file in files.items()}
    good = files["wrong"].read_bytes()
    files["wrong"].write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    gone = files["gone"].read_bytes()
    files["gone"].unlink()
    for _ in range(3):
        try:
            answer = ask(server, paths["wrong"])
            assert answer.status == 502, answer
        except http.client.IncompleteRead as cut:
            assert len(cut.partial) < len(good)
    assert ask(server, paths["gone"]).status == 404
    apt = apt_of(place, server)
    assert apt.install_from("good").read_bytes() == files["good"].read_bytes()
    # As soon as the upstream is right again.
    files["wrong"].write_bytes(good)
    files["gone"].write_bytes(gone)
    wait_until(lambda: ask_or_nothing(server, paths["gone"]) == gone, 90, "what was gone to be there again")
    wait_until(lambda: ask_or_nothing(server, paths["wrong"]) == good, 90, "what was wrong to be right")


def ask_or_nothing(server: Server, path: str) -> bytes:
    try:
        answer = ask(server, path)
    except http.client.IncompleteRead:
        return b""
    return answer.body if answer.status == 200 else b""


@story("a lazy mirror of pacman's repositories: packages come with their signatures, and are judged when they come")
def pacman_from_a_lazy_mirror(place: Place) -> None:
    web = Web(place.ring)
    for name, masters in (("trusted", 3), ("unknown", 0)):
        web.packager(name, masters)
    upstream = an_upstream(place, ring=place.ring, owner="trusted")
    for number in range(6):
        upstream.add("core", f"tool{number}")
    upstream.owner = "unknown"
    upstream.add("core", "strange")
    upstream.owner = "trusted"
    mirror = ArchMirror("arch", place.url("arch"), ("core",), trust=web.trust(), keys=web.files(), spec={**PULL, "sync": HOUR})
    place.sync(mirror)
    assert not [path for path in place.requests() if path.endswith(".zst")], "a run fetches no packages"
    server = lazily(place, mirror)
    pacman = Pacman(place.workdir / "pacman", servers(server, mirror), ring=place.ring)
    for owner in web.packagers:
        run_trust(pacman, place, owner)
    pacman.clean("-Sy")
    pacman.clean("-S", "tool0", "tool1")
    assert set(pacman.installed()) == {"tool0", "tool1"}
    assert len([path for path in place.requests() if path.endswith(".zst")]) == 2
    refused = ask(server, "arch/core/os/x86_64/strange-1-1-any.pkg.tar.zst")
    assert refused.status == 502 and b"KeyUnknown" in refused.body, refused
    # Under churn.
    for version in range(2, 6):
        upstream.add("core", f"tool{version}", f"{version}-1")
        place.sync(mirror)
        pacman.clean("-Syu")
        pacman.clean("-Sw", f"tool{version}")


def run_trust(pacman: Pacman, place: Place, owner: str) -> None:
    """The packager's key, as one that the client trusts."""
    keys = pacman.root / f"{owner}.asc"
    keys.write_text(place.ring.public(owner))
    gpg = ["gpg", "--homedir", pacman.gpgdir, "--batch", "--quiet", "--no-autostart"]
    run([*gpg, "--import", keys])
    run([*gpg, "--import-ownertrust"], input=f"{place.ring.fingerprints(owner)[0]}:6:\n")


@story("from Full to PullThrough and back: what is stored stays, and only what lacks is fetched")
def from_full_to_lazy_and_back(place: Place) -> None:
    archive = an_archive(place, ["first", "second"])
    full = place.mirror("debian", "debian", ("stable",), spec={"sync": HOUR})
    lazy = pulled(place)
    place.sync(lazy)
    server = lazily(place, lazy)
    apt = apt_of(place, server)
    apt.install_from("first")
    before = len(payload_requests(place))
    place.sync(full)
    assert len(payload_requests(place)) - before == 1, payload_requests(place)
    place.wait_until_served(server, full)
    apt.update()
    apt.download("second")
    archive.add(SUITE, "third")
    archive.publish(SUITE)
    place.sync(lazy)
    place.wait_until_served(server, lazy)
    apt.install_from("third")
    assert len(payload_requests(place)) - before == 2, payload_requests(place)


@story("on a full disk what was used longest ago goes, and what is asked for is answered all the same, also what is larger than the disk")
def a_full_disk_under_a_lazy_mirror(place: Place) -> None:
    names = [f"tool{number}" for number in range(12)]
    archive = an_archive(place, names, kilobytes=700)
    archive.add(SUITE, "large", kilobytes=19 * 1024)
    archive.publish(SUITE)
    files = {package.name: package.file for package in archive.packages["stable"]}
    mirror = pulled(place)
    # Six mebibytes that only this process sees.
    room = 'mount -t tmpfs -o size=6m none "$0" && exec "$@"'
    if subprocess.run(["unshare", "-m", "sh", "-c", room, place.data, "true"], capture_output=True, check=False).returncode:
        raise Skipped("a file system cannot be mounted here")
    out = place.workdir / "local.out"
    local = [place.binary, "local", "-f", place.manifest_file(mirror), "--data", place.data, "--listen", "[::]:0", "--metrics-listen", "127.0.0.1:0"]
    process = place.start("local", ["unshare", "-m", "sh", "-c", room, place.data, *local], out=out)
    port = wait_until(lambda: [line.rpartition(":")[2] for line in out.read_text().splitlines() if line.startswith("listening on ")], 90, "the server to listen", interval=0.02)
    server = Server(int(port[0]), process.pid)
    wait_until(lambda: server.snapshot("debian"), 90, "the first snapshot", interval=0.05)
    apt = apt_of(place, server)
    apt.update()
    for name in [*names, *names[:3]]:
        assert apt.download(name).read_bytes() == files[name].read_bytes(), name

    # What is given up takes its room for as long as it is open: ten seconds after it was asked for last.
    def is_kept() -> bool:
        assert apt.download(names[3]).read_bytes() == files[names[3]].read_bytes()
        return "mirrorfleet_fill_full_since_timestamp_seconds{" not in metrics_of(place, server)

    wait_until(is_kept, 120, "what was given up to be closed, and something to be kept", interval=1)
    # No room at all, and nothing to give up.
    seen = Path(f"/proc/{process.pid}/root{place.data}")
    for stored in (seen / "debian" / "blobs").rglob("*"):
        if stored.is_file() and stored.stat().st_size > 300_000:
            stored.unlink()
    with contextlib.suppress(OSError), (seen / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))
    assert "mirrorfleet_fill_full_since_timestamp_seconds{" not in metrics_of(place, server)
    before = len(payload_requests(place))
    large, content = f"debian/{files['large'].relative_to(archive.root)}", files["large"].read_bytes()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(server, large), range(4)))
    assert all(answer.status == 200 and answer.body == content for answer in answers)
    part = ask(server, large, Range="bytes=9000000-9000099")
    assert (part.status, part.body) == (206, content[9_000_000:9_000_100])
    assert len(payload_requests(place)) - before <= 6, "each of the five has it pass by a request of its own"
    assert apt.download("large").read_bytes() == content
    assert "mirrorfleet_fill_full_since_timestamp_seconds{" in metrics_of(place, server)
    told = not_kept(place)
    assert told["reason"] == "StorageFull" and "and not kept" in told["message"], told
    assert apt.download("tool5").read_bytes() == files["tool5"].read_bytes()
    assert "the volume is full" in (place.workdir / "local.log").read_text()
    # A lie is cut off before its end.
    files["large"].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with contextlib.suppress(http.client.IncompleteRead):
        raise AssertionError(f"this came as a whole: {ask(server, large).status}")
    (seen / "ballast").unlink()
    assert apt.download("tool6").read_bytes() == files["tool6"].read_bytes()
    assert "mirrorfleet_fill_full_since_timestamp_seconds{" not in metrics_of(place, server)
    assert not_kept(place) is None


@story("who serves and who fetches are two processes: the one that fetches is killed again and again, and apt sees nothing of it")
def a_filler_of_its_own(place: Place) -> None:
    names = [f"tool{number}" for number in range(30)]
    archive = an_archive(place, names, kilobytes=100)
    mirror = pulled(place)
    place.sync(mirror)
    socket = place.workdir / "fill.sock"
    manifest = place.manifest_file(mirror)

    def fill(turn: int) -> subprocess.Popen:
        return place.start(f"fill-{turn}", [place.binary, "fill", "-f", manifest, "--mirror", "debian", "--data", place.data, "--socket", socket])

    filler = fill(0)
    server = Server(*place._listening("serve-origin", "serve", "--data", place.data, "--origin", socket))  # noqa: SLF001
    over = threading.Event()

    def client(number: int) -> int:
        """New packages and some that are stored, each right; what large files are cut is for whole files no matter."""
        apt, chance, installed = apt_of(place, server, f"apt-two-{number}"), random.Random(number), 0
        apt.update()
        while not over.is_set() or installed < 5:
            apt.download(chance.choice(names))
            installed += 1
        return installed

    with ThreadPoolExecutor(3) as pool:
        clients = [pool.submit(client, number) for number in range(3)]
        try:
            for turn in range(1, 6):
                wait_until(lambda turn=turn: len(payload_requests(place)) >= 4 * turn or all(one.done() for one in clients), 120, "something to be fetched")
                filler.send_signal(signal.SIGKILL)
                filler.wait()
                filler = fill(turn)
        finally:
            over.set()
        assert sum(one.result() for one in clients) >= 15
    # Away for good: what is stored is served.
    path = f"debian/{archive.packages['stable'][0].file.relative_to(archive.root)}"
    ask(server, path)
    filler.send_signal(signal.SIGKILL)
    filler.wait()
    assert ask(server, path).status == 200
