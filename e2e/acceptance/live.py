"""This machine's own apt sources, whatever they are: a few of their bytes, and only where they can be reached."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from lab.waiting import wait_until

from .apt import Apt
from .place import Place, Server
from .registry import Skipped, story

#: Small suites of a Debian release; their indices are what is fetched.
SUITES = ("updates", "security")
MOST_BYTES = 64 << 20
MOST_SECONDS = 300
NOTHING = "no-package-has-this-name"


@dataclass(frozen=True)
class Written:
    """What `init` wrote of one archive."""

    name: str
    url: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    keyring: bytes


def words(document: str, field: str) -> tuple[str, ...]:
    found = re.search(rf"^ *{field}:\n((?: *- .*\n)+)", document, re.MULTILINE)
    return tuple(re.findall(r"- (\S+)", found[1])) if found else ()


def read(manifests: str) -> list[Written]:
    documents = manifests.split("---\n")

    def of(kind: str, name: str) -> str:
        return next(text for text in documents if f"kind: {kind}\n" in text and f"\n  name: {name}\n" in text)

    written = []
    for mirror in (text for text in documents if "kind: Mirror\n" in text):
        name = re.search(r"^metadata:\n  name: (\S+)", mirror, re.MULTILINE)[1]
        url = re.search(r"^    url: (\S+)", of("Upstream", name), re.MULTILINE)[1]
        keys = re.search(r"keyring\.gpg:([^-].*?)(?:\n\S|\Z)", of("Secret", f"{name}-keyring"), re.DOTALL)[1]
        keyring = base64.b64decode(re.sub(r"^ *[|>][-+]?", "", keys))
        written.append(Written(name, url, words(mirror, "suites"), words(mirror, "components"), keyring))
    return written


def init(place: Place, out: Path) -> list[Written]:
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    codename = release.get("VERSION_CODENAME", "").strip('"')
    for wanted in (SUITES, SUITES[:1]):
        chosen = [f"--suite={codename}-{suite}" for suite in wanted]
        if place.mirrorfleet("init", "--out", out, *chosen).returncode == 0:
            return read(out.read_text())
    raise Skipped(f"this machine has no apt source of {codename}-{SUITES[0]}")


def can_be_reached(archive: Written) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{archive.url}dists/{archive.suites[0]}/InRelease", timeout=10) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


def sync(place: Place, manifests: Path, packages: list[str]) -> int:
    """Bytes that were fetched for the indices and these packages."""
    rules = json.dumps({"include": [{"name": name} for name in packages]})
    sliced = place.workdir / "sliced.yaml"
    sliced.write_text(manifests.read_text().replace("    debian:\n", f"    debian:\n      packages: {rules}\n"))
    command = [place.binary, "local", "--once", "-o", "json", "-f", sliced, "--data", place.data]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=MOST_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return sum(json.loads(line)["bytesFetched"] for line in done.stdout.splitlines())


def client(place: Place, archive: Written, server: Server) -> Apt:
    apt = Apt(place.workdir / f"apt-{archive.name}", "")
    keyring = apt.root / "keyring.gpg"
    keyring.write_bytes(archive.keyring)
    where = f"[signed-by={keyring}] {server.url(archive.name)}"
    lines = (f"deb {where} {suite} {' '.join(archive.components)}\n" for suite in archive.suites)
    (apt.root / "etc" / "sources.list").write_text("".join(lines))
    return apt


def smallest(apt: Apt) -> tuple[str, str]:
    """The smallest package of the lists, and its digest."""
    stanzas = apt.clean("apt-cache", "dumpavail").split("\n\n")
    fields = (dict(re.findall(r"^(Package|Size|SHA256): (\S+)", text, re.MULTILINE)) for text in stanzas)
    package = min((each for each in fields if "SHA256" in each), key=lambda each: int(each["Size"]))
    return package["Package"], package["SHA256"]


@story("this machine's own apt sources: init, a small slice of them, and a real apt that downloads from it")
def live_sources(place: Place) -> None:
    manifests = place.workdir / "live.yaml"
    archives = init(place, manifests)
    if not all(can_be_reached(archive) for archive in archives):
        raise Skipped("this machine's apt sources cannot be reached")
    fetched = sync(place, manifests, [NOTHING])
    server = place.serve()
    packages = {}
    for archive in archives:
        apt = client(place, archive, server)
        apt.update()
        packages[archive] = (apt, *smallest(apt))
    fetched += sync(place, manifests, [name for _, name, _ in packages.values()])
    assert fetched < MOST_BYTES, f"{fetched} bytes were fetched for the indices of two small suites"
    for archive, (apt, package, digest) in packages.items():
        current = (place.data / archive.name / "current").read_text().strip()
        wait_until(lambda name=archive.name, now=current: server.snapshot(name) == now, 90, "the server to serve it", interval=0.02)
        apt.update()
        apt.clean("apt-get", "download", package, cwd=apt.root)
        got = subprocess.run(["sha256sum", *apt.root.glob("*.deb")], capture_output=True, text=True, check=True)
        assert got.stdout.startswith(digest), f"{package}: {got.stdout} instead of {digest}"
