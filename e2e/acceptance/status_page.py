"""The status page of `mirrorfleet local`, as programs, a browser, a judge for screen readers and a keyboard have it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from urllib.parse import urljoin

from browser import PROGRAM, Browser
from environment import cache_root
from lab.waiting import wait_until

from .apt import Apt
from .debian import DebianArchive, Suite
from .place import Place, end, free_port
from .registry import Skipped, story

AXE = "4.14.1"
#: The judge's script, as npm has it.
AXE_CORE = cache_root() / f"axe-core-{AXE}" / "node_modules" / "axe-core" / "axe.min.js"
STABLE = Suite("stable", suite="stable", codename="stable")
UPDATES = Suite("updates", suite="updates", codename="updates")
LARGE = Suite("large", suite="large", codename="large")
MOST_BYTES = 100_000
#: As phones, tablets and desks have it.
WIDTHS = (360, 768, 1280)


class Page:
    """A `mirrorfleet local` with a Mirror that holds one suite back, one that is suspended and one that is being fetched."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.archive = DebianArchive(place.upstreams / "debian", place.signers)
        for suite, name in ((STABLE, "tool"), (UPDATES, "fix")):
            self.archive.add(suite, name)
            self.archive.publish(suite)
        large = DebianArchive(place.upstreams / "large", place.signers)
        large.add_many(LARGE, [f"heavy{number}" for number in range(4)], kilobytes=4000)
        large.publish(LARGE)
        self.mirrors = [
            place.mirror("debian", "debian", ("stable", "updates")),
            place.mirror("asleep", "debian", ("stable",), spec={"suspend": True}),
        ]
        self.port, self.served = free_port(), free_port()
        self.manifests = place.workdir / "fleet.yaml"
        self.write()
        self.process = self.start()

    def write(self) -> None:
        documents = [document for mirror in self.mirrors for document in mirror.manifests()]
        for document in documents:
            if document["kind"] == "Upstream" and document["metadata"]["name"] == "large":
                # Some minutes for what is looked at in seconds.
                document["spec"]["politeness"] = {"bandwidth": "100k"}
        self.manifests.write_text("\n---\n".join(map(json.dumps, documents)))

    def start(self) -> subprocess.Popen:
        listen = ["--listen", f"127.0.0.1:{self.served}", "--status-listen", f"127.0.0.1:{self.port}"]
        out = self.place.workdir / "local.out"
        process = self.place.start("local", [self.place.binary, "local", "-f", self.manifests, "--data", self.place.data, *listen], out=out)
        wait_until(lambda: f"status page on http://127.0.0.1:{self.port}/\n" in out.read_text(), 90, "the page's address to be printed", interval=0.05)
        return process

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def get(self, path: str = "", method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        request = urllib.request.Request(self.url(path), method=method, headers={name.replace("_", "-"): value for name, value in headers.items()})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, {name.lower(): value for name, value in refused.headers.items()}, refused.read()

    def told(self, mirror: str) -> dict:
        status, _, body = self.get(f"mirrors/-/{mirror}.json")
        assert status == 200, f"{mirror}: {status}"
        return json.loads(body)

    def wait_for_trouble(self) -> None:
        """Until one suite of `debian` is held back, and `large` is being fetched."""
        wait_until(lambda: json.loads(self.get("index.json")[2])["all"] == 2, 90, "all mirrors to be there")
        wait_until(lambda: self.told("debian").get("snapshot"), 120, "debian to be served")
        wait_until(lambda: not self.told("debian").get("held"), 30, "nothing of debian to be held any more")
        file = self.archive.folder(UPDATES) / "InRelease"
        file.write_text(file.read_text().replace("mirrorfleet tests", "mirrorfleet-tests"))
        self.mirrors[0].spec["serving"] = {"traceName": "mirror.example.org"}
        self.write()
        self.process.send_signal(signal.SIGHUP)

        def held() -> bool:
            return self.told("debian").get("why", {}).get("reason") == "SignatureBad"

        wait_until(held, 90, "the forged suite to be held back")
        # What a signal changes waits for runs that go on, so the one that lasts comes last.
        self.mirrors.append(self.place.mirror("large", "large", ("large",)))
        self.write()
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: json.loads(self.get("index.json")[2])["all"] == 3, 90, "the large one to be there")
        wait_until(lambda: (self.told("large")["regions"][0].get("run") or {}).get("progress", {}).get("plannedBytes"), 90, "large to be fetched")


@story("the status page says what is held and why, what is fetched, and how to configure a client; as JSON too; its hours outlive a restart")
def status_page(place: Place) -> None:
    page = Page(place)
    page.wait_for_trouble()
    debian = page.told("debian")
    assert debian["why"]["wrong"].startswith("Mirror debian"), debian["why"]
    assert "complete, verified state" in debian["why"]["clients"] and "kubectl" not in json.dumps(debian), debian["why"]
    assert page.told("asleep")["held"][0]["reason"] == "Suspended"
    large = page.told("large")
    assert large["regions"][0]["run"]["progress"]["phase"] and large["why"]["reason"] == "FirstSyncRunning", large
    told = json.loads(page.get("index.json")[2])
    assert (told["all"], told["syncing"]) == (3, 1) and told["trouble"] >= 1, told

    everything_leads_somewhere(page)
    is_handed_out_with_care(page)
    a_client_is_configured_by_it(page, debian)

    hours = page.place.data / "debian" / "state" / "hours.json"
    end(page.process)
    assert hours.exists(), "the hours were not kept"
    kept = json.loads(hours.read_text())["lines"]
    (line,) = kept.values()
    line["hours"] = [{"seen": 3600, "late": 0, "down": 0}] * 3 + line["hours"]
    del line
    hours.write_text(json.dumps({"lines": kept}))
    page.process = page.start()
    wait_until(lambda: json.loads(page.get("index.json")[2])["all"] == 3, 90, "all mirrors to be there again")
    wait_until(lambda: page.told("debian")["copies"][0]["hours"].count("g") >= 3, 120, "the hours of before to be shown")


def everything_leads_somewhere(page: Page) -> None:
    """Each link, form and file of each page, and none leads out or is large."""
    known, queue = {page.url()}, [page.url()]
    while queue:
        url = queue.pop()
        status, headers, body = page.get(url.removeprefix(page.url()))
        assert status == 200, f"{url}: {status}"
        assert len(body) < MOST_BYTES, f"{url}: {len(body)} bytes"
        if not headers["content-type"].startswith("text/html"):
            continue
        for address in re.findall(r"""(?:href|src|action)="([^"]*)\"""", body.decode()):
            there = urljoin(url, address.replace("&amp;", "&")).partition("#")[0]
            assert there.startswith(page.url()), f"{url} leads to {there}"
            if there not in known:
                known.add(there)
                queue.append(there)
    assert len(known) > 10, known
    found = page.get("?q=ASLEEP&only=trouble")[2].decode()
    assert found.count('<li class="row') == 1 and ">asleep</a>" in found


def is_handed_out_with_care(page: Page) -> None:
    for path in ("", "index.json"):
        _, headers, body = page.get(path)
        assert headers["content-security-policy"].startswith("default-src 'none'"), headers
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer" and "set-cookie" not in headers
        status, again, nothing = page.get(path, "HEAD")
        assert (status, nothing) == (200, b"") and abs(int(again["content-length"]) - len(body)) < 200
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        status, headers, _ = page.get("", method)
        assert (status, headers["allow"]) == (405, "GET, HEAD"), f"{method}: {status}"
    _, headers, _ = page.get("mirrors/nobody/nothing")
    assert page.get("mirrors/nobody/nothing")[0] == 404 and headers["content-type"].startswith("text/html")


def a_client_is_configured_by_it(page: Page, debian: dict) -> None:
    """A real apt with what the page says, but for the place of the keyring."""
    (file,) = debian["copies"][0]["clients"]
    assert file["path"] == "/etc/apt/sources.list.d/debian.sources"
    apt = Apt(page.place.workdir / "apt", page.place.keyring)
    parts = apt.root / "etc" / "parts"
    parts.mkdir()
    (apt.root / "etc" / "sources.list").unlink()
    text, changed = re.subn(r"(?m)^Signed-By: .*$", f"Signed-By: {apt.root}/keyring.asc", file["text"])
    assert changed == 1, file["text"]
    (parts / "debian.sources").write_text(text)
    apt.config.write_text(apt.config.read_text().replace('Dir::Etc::sourceparts "/dev/null"', f'Dir::Etc::sourceparts "{parts}"'))
    assert apt.install_from("tool").exists() and apt.download("fix").exists()


@story("the status page in a browser: dark and light, a phone, no scripts, a keyboard; nothing from elsewhere; axe finds nothing serious")
def status_page_in_a_browser(place: Place) -> None:
    if shutil.which(PROGRAM) is None:
        raise Skipped(f"no {PROGRAM}")
    axe = axe_core()
    page = Page(place)
    page.wait_for_trouble()
    paths = ["", "?q=nobody", *(f"mirrors/-/{mirror.name}" for mirror in page.mirrors), "mirrors/no/where"]
    with Browser(place.workdir / "profile") as browser:
        for dark in (False, True):
            for width in WIDTHS:
                browser.look(width=width, height=900, dark=dark)
                for path in paths:
                    browser.open(page.url(path))
                    fits(browser, path, width)
                    if width != WIDTHS[1]:
                        is_fit_for_everybody(browser, axe, f"/{path}, {width} wide, {'dark' if dark else 'light'}")
        works_by_keyboard(browser, page)
        renews_itself(browser, page)
        works_without_scripts(browser, page)
        outside = [url for url in browser.asked if not url.startswith((page.url(), "about:"))]
        assert not outside, outside
        complaints = [text for text in browser.complaints if "404" not in text]
        assert not complaints, complaints


def axe_core() -> str:
    """What judges pages; fetched where it is not here yet."""
    if not AXE_CORE.exists():
        folder = AXE_CORE.parents[2]
        if shutil.which("npm") is None:
            raise Skipped("no npm to fetch axe-core with")
        folder.mkdir(parents=True, exist_ok=True)
        options = ["--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
        done = subprocess.run(["npm", "install", *options, f"axe-core@{AXE}"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode or not AXE_CORE.exists():
            raise Skipped(f"npm has no axe-core {AXE} for us: {done.stderr.strip()[-200:]}")
    return AXE_CORE.read_text()


def is_fit_for_everybody(browser: Browser, axe: str, where: str) -> None:
    browser.value(f"{axe}; undefined")
    found = browser.value("axe.run(document, {resultTypes: ['violations']}).then(found => JSON.stringify(found.violations))")
    serious = [
        f"{one['id']} ({one['impact']}): {one['help']}: {one['nodes'][0]['html']}: {one['nodes'][0].get('failureSummary', '')}"
        for one in json.loads(found) if one["impact"] in ("serious", "critical")
    ]  # fmt: skip
    assert not serious, f"{where}:\n" + "\n".join(serious)


def fits(browser: Browser, path: str, width: int) -> None:
    wide = browser.value("document.documentElement.scrollWidth")
    assert wide <= width, f"/{path} is {wide} wide where there is room for {width}"


def works_by_keyboard(browser: Browser, page: Page) -> None:
    """The first key skips to the content; each further one goes to something that can be seen to have the focus."""
    browser.look(width=1280, height=900)
    browser.open(page.url())
    browser.press("Tab", 9)
    assert browser.value("document.activeElement.className") == "skip"
    seen = []
    while "The same as JSON" not in seen:
        assert len(seen) < 40, seen
        browser.press("Tab", 9)
        seen.append(browser.value("document.activeElement.textContent || document.activeElement.id"))
        assert browser.value("getComputedStyle(document.activeElement).outlineStyle") != "none", f"nothing shows that {seen[-1]!r} has the focus"
    assert {"q", "Find", "debian"} <= set(seen), seen


def renews_itself(browser: Browser, page: Page) -> None:
    """While somebody looks, without being asked; and what was folded out stays so."""
    browser.look(width=1280, height=900)
    browser.open(page.url("mirrors/-/debian"))
    assert browser.value("document.querySelectorAll('button.copy').length") >= 1
    browser.value("document.querySelector('h1').textContent = 'before'; document.querySelector('.clients details').open = false; undefined")
    browser.wait_for("document.querySelector('h1').textContent", "debian", 120, "the page to renew itself")
    assert browser.value("document.querySelector('.clients details').open") is False


def works_without_scripts(browser: Browser, page: Page) -> None:
    browser.look(width=360, height=800, scripts=False)
    browser.open(page.url())
    assert browser.value("document.querySelectorAll('li.row').length") == 3
    browser.value("document.querySelector('#q').value = 'asleep'; undefined")
    browser.leave_by("document.querySelector('form button').click()")
    browser.wait_for("document.querySelectorAll('li.row').length", 1, 90, "the form to find one")
    browser.open(page.url("mirrors/-/debian"))
    assert browser.value("document.querySelectorAll('button.copy').length") == 0
    assert "Types: deb" in browser.value("document.querySelector('.clients pre').textContent")
