"""Behind a real nginx at a sub-path, which says by X-Forwarded-* how it was asked: answers lead where the client comes from, and
nobody else's word counts."""

from __future__ import annotations

import json

from archive import run
from lab.nginx import nginx
from lab.waiting import wait_until

from .apt import Apt
from .arch import ArchMirror, an_upstream
from .arch_trust import Web, populated
from .debian import DebianArchive, Suite
from .npm import Copy, stocked
from .npm_clients import CLIENTS, project, required
from .pacman import Pacman
from .place import Place, free_port, wait_for_port
from .registry import story

SUITE = Suite("stable", suite="stable", codename="stable")
#: From where the proxy asks, and below which path it has us.
PROXY, BELOW = "127.0.0.5", "mirrors"
FRONT = """
server {{
    listen 127.0.0.1:{port}; server_name localhost;
    location /{below}/ {{
        proxy_pass http://127.0.0.1:{backend}/; proxy_bind {proxy}; proxy_redirect off;
        proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Prefix /{below};
    }}
    location / {{ return 404; }}
}}
"""
#: What anybody can say.
LIES = ("X-Forwarded-Host: evil.example", "X-Forwarded-Prefix: /evil", "X-Forwarded-Proto: https", "Forwarded: host=evil.example;proto=https")
AGENTS = {"apt": "Debian APT-HTTP/1.3 (2.6.1)", "pacman": "pacman/6.0.2 (Linux x86_64) libalpm/13.0.2"}


class Front:
    """An nginx before a server, which has it below a path."""

    def __init__(self, place: Place, backend: int) -> None:
        self.port = free_port()
        self.prefix = place.workdir / "front"
        place.start("front", nginx(self.prefix, FRONT.format(port=self.port, backend=backend, below=BELOW, proxy=PROXY)))
        wait_for_port(self.port)

    def url(self, path: str, host: str = "localhost") -> str:
        return f"http://{host}:{self.port}/{BELOW}/{path}"

    def failed(self) -> list[str]:
        """Requests that came elsewhere than where they should."""
        lines = (self.prefix / "access.log").read_text().splitlines()
        return [line for line in lines if line.split('"')[2].split()[0] not in ("200", "206", "302", "304")]


def led(url: str, agent: str, *said: str) -> tuple[str, str]:
    """Code and place of an answer, to whoever says so of itself."""
    headers = [part for header in said for part in ("--header", header)]
    code, _, place = run(["curl", "--silent", "--user-agent", agent, "--output", "/dev/null", "--write-out", "%{response_code} %header{location}", *headers, url]).partition(" ")
    return code, place


@story("apt and pacman install through an nginx at a sub-path, and are led to kept snapshots below it; what clients say of themselves leads nowhere")
def apt_and_pacman_come_through_a_sub_path(place: Place) -> None:
    serving = {"transactions": "Always", "trustedProxies": [f"{PROXY}/32"]}
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    archive.add(SUITE, "tool")
    archive.publish(SUITE)
    debian = place.mirror("debian", "debian", ("stable",), spec={"serving": serving})
    web = Web(place.ring)
    web.packager("packager", 3)
    files = web.files()
    upstream = an_upstream(place, ring=place.ring, owner="packager", signs_databases=True)
    upstream.add("core", "wrench", "1-1")
    arch = ArchMirror("arch", place.url("arch"), ("core",), trust=web.trust(databases="Required"), keys=files, spec={"serving": serving})
    server = place.local(debian, arch)
    wait_until(lambda: server.snapshot("debian") and server.snapshot("arch"), 120, "the first snapshots", interval=0.05)
    front = Front(place, server.port)

    apt = Apt(place.workdir / "apt", place.keyring, f"deb {front.url('debian')} stable main", **{"Acquire__By-Hash": "no"})
    said = apt.update()
    assert f"http://Localhost:{front.port}/{BELOW}/.mirrorfleet/s/debian/" in said, f"apt was not led into a snapshot:\n{said}"
    assert apt.download("tool").name == "tool_1.0_amd64.deb"
    listed = Apt(place.workdir / "apt-listed", place.keyring, f"deb mirror+{front.url('.mirrorfleet/mirrorlist/debian')} stable main")
    assert listed.install_from("tool").name == "tool_1.0_amd64.deb"
    with populated(files, place.workdir / "keyring") as gpgdir:
        pacman = Pacman(place.workdir / "pacman", {"core": front.url("arch/$repo/os/$arch")}, gpgdir=gpgdir, level="Required")
        pacman.clean("-Sy")
        pacman.clean("-S", "wrench")
        assert pacman.installed() == {"wrench": "1-1"}
    assert not front.failed(), front.failed()
    log = (front.prefix / "access.log").read_text()
    assert f"GET /{BELOW}/.mirrorfleet/s/arch/" in log, "pacman was not led into a snapshot"
    assert led(front.url("debian/dists"), "curl") == ("301", f"/{BELOW}/debian/dists/")
    lies_lead_nowhere(front, server.url, server.snapshot("arch"))


def lies_lead_nowhere(front: Front, direct, snapshot: str) -> None:
    release, database = "debian/dists/stable/InRelease", "arch/core/os/x86_64/core.db"
    assert led(direct(release), AGENTS["apt"])[0] == "302", "a client that says nothing is led into a snapshot"
    for lie in LIES:
        assert led(direct(release), AGENTS["apt"], lie) == ("200", ""), lie
        assert led(direct(database), AGENTS["pacman"], lie) == ("302", f"/.mirrorfleet/s/{database.replace('arch/', f'arch/{snapshot}/', 1)}"), lie
        assert led(direct("debian/dists"), "curl", lie) == ("301", "/debian/dists/"), lie
        # The proxy writes over the one kind, and lets the other by.
        code, place = led(front.url(release), AGENTS["apt"], lie)
        assert code == "302" and place.startswith(f"http://Localhost:{front.port}/{BELOW}/.mirrorfleet/s/debian/"), f"{lie}: {code} {place}"


@story("npm 12 installs through an nginx at a sub-path: the addresses of tarballs lead below it; where nobody declared it, and for who lies, they lead to where was asked")
def npm_comes_through_a_sub_path(place: Place) -> None:
    client = CLIENTS["npm12"]
    client.program()
    upstream = stocked()
    try:
        copy = Copy(place, upstream, serving={"aliases": list(Copy.aliases), "trustedProxies": [f"{PROXY}/32"]})
        front = Front(place, copy.port)
        for below in ("npm", "repository/npm"):
            folder = project(place.workdir, f"front-{below.replace('/', '-')}", {"top": "^0.1.0", "left": "^1.0.0"})
            client.run(folder, *client.install, registry=front.url(f"{below}/"))
            assert (required(folder, "left"), required(folder, "top")) == ("left@1.2.0", "top@0.1.0")
            # Both ways at once: each has its own addresses, of the same document.
            for url in (front.url(below), copy.url(below).rstrip("/")):
                shown = led_to(f"{url}/left")
                assert shown == {f"{url}/left/-/left-{version}.tgz" for version in ("1.0.0", "1.1.0", "1.2.0", "2.0.0-rc.1")}, shown
        log = (front.prefix / "access.log").read_text()
        assert f"GET /{BELOW}/repository/npm/left/-/left-1.2.0.tgz" in log, log
        assert "x-forwarded-prefix" in copy.get("left").headers["vary"], "a cache in between keeps them apart"

        kept = written(place)
        for lie in LIES:
            assert led_to(f"{copy.url()}left", lie) == led_to(f"{copy.url()}left"), lie
            assert led_to(front.url("npm/left"), lie) == led_to(front.url("npm/left")), lie
        assert written(place) == kept, "no document was written for a lie"
        refused = [copy.get("left", Host=f"host-{number}").status for number in range(40)]
        assert refused.count(200) <= 4 and refused[-1] == 421, refused
        assert written(place) - kept <= 4, "nor more than a few for all hosts that somebody makes up"

        copy.spec["serving"] = {"aliases": list(Copy.aliases)}
        copy.again()
        assert led_to(front.url("npm/left")) == led_to(f"{copy.url()}left"), "nobody declared it"
        assert copy.get("left").headers["vary"] == "accept, accept-encoding"
    finally:
        upstream.stop()


def led_to(url: str, *said: str) -> set[str]:
    """Where the tarballs of a package are, as its document says to who asks so."""
    headers = [part for header in said for part in ("--header", header)]
    document = json.loads(run(["curl", "--silent", "--show-error", "--fail", *headers, url]))
    dists = [version["dist"] for version in document["versions"].values()]
    for dist in dists:
        tarball, attestations = dist["tarball"].split("/left/-/")[0], dist["attestations"]["url"].split("/-/npm/")[0]
        assert tarball == attestations, dist
    return {dist["tarball"] for dist in dists}


def written(place: Place) -> int:
    """Documents that are kept as clients see them."""
    return sum(path.is_file() for path in (place.data / "npm" / "shown").rglob("*"))
