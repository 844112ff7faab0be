"""How regions answer, in archweb's shape and in MirrorZ's, for a real pacman to choose by."""

from __future__ import annotations

import calendar
import json
import re
import subprocess
import time
import urllib.error
import urllib.request

from lab.waiting import wait_until

from .arch import an_upstream, arch_mirror
from .debian import DebianArchive, Suite
from .manners import ask
from .pacman import Pacman
from .place import Place, Server, end, free_port
from .registry import story

#: As archlinux.org/mirrors/status/json has them.
KEYS = {"cutoff", "last_check", "num_checks", "check_frequency", "urls", "version"}
OF_URLS = {
    "url", "protocol", "last_sync", "completion_pct", "delay", "duration_avg", "duration_stddev", "score", "active",
    "country", "country_code", "isos", "ipv4", "ipv6", "details",
}  # fmt: skip
#: How programs that read archweb's instants take them apart.
INSTANT = "%Y-%m-%dT%H:%M:%SZ"
MIRRORZ_STATUS = re.compile(r"[SDYFPCRU]\d*(?:[XNO]\d*)*")
STABLE = Suite("stable", suite="stable", codename="stable")
HOUR = 3600


class Scored:
    """A `mirrorfleet local` with a Mirror of Arch Linux, one of Debian, and one whose upstream is not there."""

    def __init__(self, place: Place) -> None:
        self.place = place
        # The tier 1 stopped two hours ago.
        self.upstream = an_upstream(place, now=int(time.time()) - 2 * HOUR)
        self.upstream.add("core", "tool")
        archive = DebianArchive(place.upstreams / "debian", place.signers)
        archive.add(STABLE, "tool")
        archive.publish(STABLE)
        self.mirrors = [
            arch_mirror(place, "arch", "core", arch={"include": {"signatures": False}}),
            place.mirror("debian", "debian", ("stable",)),
            place.mirror("nowhere", "nowhere", ("stable",)),
        ]
        self.served, self.page, self.metrics = free_port(), free_port(), free_port()
        self.began = int(time.time())
        self.process = self.start()

    def start(self) -> subprocess.Popen:
        ports = {"--listen": self.served, "--status-listen": self.page, "--metrics-listen": self.metrics}
        listen = [part for option, port in ports.items() for part in (option, f"127.0.0.1:{port}")]
        manifests = self.place.manifest_file(*self.mirrors)
        return self.place.start("local", [self.place.binary, "local", "-f", manifests, "--data", self.place.data, *listen])

    @property
    def server(self) -> Server:
        return Server(self.served, self.process.pid)

    def get(self, path: str) -> dict:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.page}/{path}", timeout=20) as answer:
            assert answer.headers["content-type"] == "application/json", answer.headers
            return json.load(answer)

    def archweb(self, mirror: str) -> dict:
        """Nothing while it is not known there."""
        try:
            return self.get(f"mirrors/-/{mirror}/archweb.json")
        except (urllib.error.URLError, ConnectionError):
            return {"urls": [], "num_checks": 0}

    def one(self, mirror: str) -> dict:
        (url,) = self.archweb(mirror)["urls"]
        return url

    def measured(self) -> dict[str, float]:
        """What metrics tell of the region of `arch`, by the end of the name."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        found = (re.fullmatch(r"mirrorfleet_region_(\w+)\{(.*)\} (\S+)", line) for line in lines)
        return {match[1]: float(match[3]) for match in found if match and 'mirror="arch"' in match[2]}

    def wait_for_checks(self, mirror: str, least: int) -> None:
        wait_until(lambda: self.archweb(mirror)["num_checks"] >= least, 180, f"{mirror} to be checked {least} times", interval=0.5)


@story("regions are scored by archweb's formula from checks of what clients get: its JSON ranks them for a real pacman, which takes the page's own mirrorlist, too; MirrorZ's tells of the site, metrics say the same")
def regions_are_scored_as_archweb_does(place: Place) -> None:
    scored = Scored(place)
    wait_until(lambda: any(url["score"] for url in scored.archweb("arch")["urls"]), 180, "a check of arch to succeed", interval=0.5)
    says_what_archweb_would(scored)
    is_what_debian_was_found_to_be(scored)
    is_nothing_where_nothing_is_served(scored)
    metrics_say_the_same(scored)
    pacman_takes_the_best(scored)
    pacman_is_configured_by_the_page(scored)
    is_read_by_mirrorz(scored)
    page = urllib.request.urlopen(f"http://127.0.0.1:{scored.page}/mirrors/-/arch", timeout=20).read().decode()
    assert re.search(r"score \d+\.\d, \d+\.\d % of \d+ checks? answered", page), page

    # What checks came to is in memory: another process begins anew, and says so.
    end(scored.process)
    scored.process = scored.start()
    wait_until(lambda: scored.archweb("arch")["urls"], 120, "the page to be there again", interval=0.05)
    before = scored.measured()
    if scored.archweb("arch")["num_checks"] == 0:
        assert all(scored.one("arch")[key] is None for key in ("last_sync", "completion_pct", "delay", "duration_avg", "duration_stddev", "score"))
        assert "score" not in before and "checks" not in before, before


def says_what_archweb_would(scored: Scored) -> None:
    """The delay is that of the `lastsync` which clients get, as archweb would compute it."""
    lastsync = int(ask(scored.server, "arch/lastsync").body)
    assert lastsync == scored.upstream.now, lastsync
    scored.wait_for_checks("arch", 2)
    told = scored.archweb("arch")
    (url,) = told["urls"]
    assert set(told) == KEYS and set(url) == OF_URLS, told
    assert (told["version"], told["cutoff"]) == (3, 24 * HOUR)
    assert calendar.timegm(time.strptime(url["last_sync"], INSTANT)) == lastsync, url
    assert scored.began <= calendar.timegm(time.strptime(told["last_check"], INSTANT)) <= time.time() + 1
    assert (url["url"], url["protocol"], url["ipv4"], url["ipv6"], url["active"]) == (f"http://127.0.0.1:{scored.served}/arch/", "http", True, False, True)
    assert scored.began - lastsync <= url["delay"] <= time.time() - lastsync, url
    assert 0 < url["completion_pct"] <= 1 and url["duration_avg"] > 0, url
    score = (url["delay"] / HOUR + url["duration_avg"] + (url["duration_stddev"] or 0)) / url["completion_pct"]
    assert abs(url["score"] - score) < 1e-6 and url["score"] >= 2, (url, score)


def is_what_debian_was_found_to_be(scored: Scored) -> None:
    """An upstream without a heartbeat: what counts is when a run last found what is served to be what it has."""
    wait_until(lambda: scored.one("debian")["score"] is not None, 180, "a check of debian to succeed", interval=0.5)
    served = json.loads(ask(scored.server, ".mirrorfleet/status/debian").body)
    url = scored.one("debian")
    assert "lastSync" not in served or served["lastSync"] is None, served
    assert calendar.timegm(time.strptime(url["last_sync"], INSTANT)) == served["confirmedAt"], (url, served)
    assert scored.began <= served["confirmedAt"] and 0 <= url["delay"] <= time.time() - scored.began, url


def is_nothing_where_nothing_is_served(scored: Scored) -> None:
    """What answers and serves nothing has failed, and has no score that could be taken for a good one."""
    scored.wait_for_checks("nowhere", 1)
    url = scored.one("nowhere")
    assert (url["completion_pct"], url["score"], url["delay"], url["last_sync"]) == (0, None, None, None), url
    assert url["duration_avg"] > 0, url


def metrics_say_the_same(scored: Scored) -> None:
    names = {
        "check_completion_ratio": "completion_pct", "check_delay_seconds": "delay", "check_duration_mean_seconds": "duration_avg",
        "check_duration_stddev_seconds": "duration_stddev", "score": "score",
    }  # fmt: skip

    def alike() -> bool:
        """Between two checks."""
        url, measured = scored.one("arch"), scored.measured()
        return all(abs(measured[name] - url[key]) < 1e-9 for name, key in names.items())

    wait_until(alike, 120, "metrics to say what the JSON does", interval=0.2)
    assert scored.measured()["checks"] >= 2


def pacman_takes_the_best(scored: Scored) -> None:
    """As programs that write a mirrorlist choose: by protocol, completion and score."""
    urls = [url for mirror in ("arch", "nowhere") for url in scored.archweb(mirror)["urls"]]
    usable = [url for url in urls if url["active"] and url["protocol"] in ("http", "https") and url["completion_pct"] and url["last_sync"]]
    best = min(usable, key=lambda url: url["score"])
    pacman = Pacman(scored.place.workdir / "pacman", {"core": f"{best['url']}$repo/os/$arch"})
    pacman.clean("-Sy")
    pacman.clean("-S", "tool")
    assert pacman.installed() == {"tool": "1-1"}


def pacman_is_configured_by_the_page(scored: Scored) -> None:
    """With the mirrorlist that is there to copy, but for where it lies."""
    (file,) = scored.get("mirrors/-/arch.json")["copies"][0]["clients"]
    assert file["path"] == "/etc/pacman.d/arch-mirrorlist" and f"Include = {file['path']}" in file["note"], file
    mirrorlist = scored.place.workdir / "arch-mirrorlist"
    mirrorlist.write_text(file["text"])
    pacman = Pacman(scored.place.workdir / "pacman-by-the-page", {"core": "in the mirrorlist"})
    pacman.include(mirrorlist)
    pacman.clean("-Sy", "tool")
    assert pacman.installed() == {"tool": "1-1"}


def is_read_by_mirrorz(scored: Scored) -> None:
    told = scored.get("mirrorz.json")
    assert told["version"] == 1.7 and told["site"]["url"] == f"http://127.0.0.1:{scored.served}" and told["site"]["abbr"], told
    mirrors = {mirror["cname"]: mirror for mirror in told["mirrors"]}
    assert set(mirrors) == {"arch", "debian", "nowhere"}, mirrors
    for name, mirror in mirrors.items():
        assert mirror["url"] == f"/{name}" and mirror["upstream"] == scored.place.url(name), mirror
        assert MIRRORZ_STATUS.fullmatch(mirror["status"]), mirror
    success = re.match(r"S(\d+)", mirrors["debian"]["status"])
    assert success and scored.began <= int(success[1]) <= time.time(), mirrors
    assert mirrors["nowhere"]["status"][0] in "FYD", mirrors
