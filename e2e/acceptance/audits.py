"""`mirrorfleet audit` beside the independent checker: it finds what that one finds, and nothing where nothing is wrong."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from .arch import an_upstream, arch_mirror
from .arch_trust import Web
from .judges import HARMS, SUITE, archive_with_everything, harmed
from .layout import EVERYTHING
from .link import Link
from .place import Place, Run, Server
from .registry import story

#: More than any archive of these stories lists.
ALL = 10_000
FEW = 3
#: Far too little for what is asked for in that time.
CRAWLS_BYTES_PER_SECOND = 2_000
PATIENCE_SECONDS = 2


def audit(place: Place, mirror, url: str, *more: object) -> Run:
    command = ("audit", "-f", place.manifest_file(mirror), "--mirror", mirror.name, "--url", url, "-o", "json", *more)
    done: subprocess.CompletedProcess = place.mirrorfleet(*command)
    report = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    return Run(done.returncode, report, done.stdout + done.stderr)


def sound(place: Place, mirror, url: str, *more: object) -> dict:
    """The report of an audit that found nothing."""
    found = audit(place, mirror, url, *more)
    assert (found.code, found.reason, found.report["findingsTotal"]) == (0, "Audited", 0), found.text
    assert found.report["indices"]["files"], found.text
    return found.report


def served(place: Place, mirror) -> Server:
    place.sync(mirror)
    server = place.serve()
    place.wait_until_served(server, mirror)
    return server


@story("an audit finds nothing in a mirror that is served, and in a harmed one everything that the independent checker finds")
def audit_finds_every_harm(place: Place) -> None:
    archive_with_everything(place)
    mirror = place.mirror("debian", "debian", ("trixie",), components=SUITE.components, architectures=SUITE.architectures, include=EVERYTHING)
    server = served(place, mirror)
    here = server.url(f"{mirror.path}/")
    whole = sound(place, mirror, here, "--files", ALL)
    assert whole["sampled"]["files"] and whole["units"] == [{"unit": "trixie", "reason": "Audited"}], whole
    few = [sound(place, mirror, here, "--files", FEW, "--seed", seed)["sampled"]["sample"] for seed in (1, 1, 2, 3, 4)]
    assert [len(drawn) for drawn in few] == [FEW] * 5, few
    assert few[0] == few[1], "the same seed draws the same"
    assert len({tuple(drawn) for drawn in few}) > 1, "each seed draws the same"
    # All that it serves, under a server that gives out whatever is there.
    tree = place.upstreams / "mirror"
    exported = place.mirrorfleet("export", "--data", place.data, "debian", tree)
    assert exported.returncode == 0, exported.stdout + exported.stderr
    there = place.url("mirror")
    sound(place, mirror, there, "--files", ALL)
    for what, (pattern, harm, _) in HARMS.items():
        with harmed(tree, pattern, harm):
            found = audit(place, mirror, there, "--files", ALL)
            said = [unit for unit in found.report["units"] if unit["reason"] != "Audited"]
            assert found.code in (2, 3) and (found.report["findings"] or said), f"{what}: {found.text}"
    sound(place, mirror, there, "--files", ALL)


@story("an audit is bounded in time, draws no file that is larger than it may, and says in words where its URL comes from")
def audit_is_bounded(place: Place) -> None:
    archive = archive_with_everything(place)
    archive.add(SUITE, "large", kilobytes=3 * 1024)
    archive.publish(SUITE)
    mirror = place.mirror("debian", "debian", ("trixie",), components=SUITE.components, architectures=SUITE.architectures)
    server = served(place, mirror)
    drawn = sound(place, mirror, server.url("debian/"), "--files", ALL, "--max-file-size", 1)
    assert drawn["sampled"]["files"] == drawn["listed"]["files"] - 1, drawn
    with Link(server.port, bytes_per_second=CRAWLS_BYTES_PER_SECOND) as link:
        slow = audit(place, mirror, f"http://127.0.0.1:{link.port}/debian/", "--timeout", f"{PATIENCE_SECONDS}s")
    assert (slow.code, slow.reason) == (2, "SyncTimeout") and "more time" in slow.text, slow.text
    nobody = audit(place, mirror, "http://127.0.0.1:9/debian/")
    assert (nobody.code, nobody.reason) == (2, "UpstreamUnreachable"), nobody.text
    nowhere = place.mirrorfleet("audit", "-f", place.manifest_file(mirror), "--mirror", "debian")
    assert nowhere.returncode == 1 and "--url" in nowhere.stdout + nowhere.stderr, nowhere.stdout + nowhere.stderr


@story("an audit judges pacman's databases, packages and the signatures beside them")
def audit_of_packages_and_their_signatures(place: Place) -> None:
    web = Web(place.ring)
    owner = web.packager("three", 3)
    upstream = an_upstream(place, ring=place.ring, owner=owner)
    for name in ("one", "two"):
        upstream.add("core", name)
    mirror = arch_mirror(place, "arch", "core", trust=web.trust(), keys=web.files())
    server = served(place, mirror)
    report = sound(place, mirror, server.url("arch/"), "--files", ALL)
    assert report["sampled"]["files"] == 2, report
    signatures: list[Path] = sorted((place.upstreams / "arch").rglob("*.pkg.tar.zst.sig"))
    assert len(signatures) == 2, signatures
    signatures[0].write_bytes(signatures[1].read_bytes())
    found = audit(place, mirror, place.url("arch"), "--files", ALL)
    assert (found.code, found.reason) == (3, "SignatureBad"), found.text
    assert [finding["path"].rpartition("/")[2] for finding in found.report["findings"]] == [signatures[0].name], found.text
