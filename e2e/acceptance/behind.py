"""Behind a real nginx at a sub-path, which says by X-Forwarded-* how it was asked: answers lead where the client comes from, and
nobody else's word counts."""

from __future__ import annotations

from archive import run
from lab.nginx import nginx
from lab.waiting import wait_until

from .apt import Apt
from .arch import ArchMirror, an_upstream
from .arch_trust import Web, populated
from .debian import DebianArchive, Suite
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
    wait_until(lambda: server.snapshot("debian") and server.snapshot("arch"), 60, "the first snapshots", interval=0.05)
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
