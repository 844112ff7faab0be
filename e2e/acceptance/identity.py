"""Of which suite a Release is, and from when: what apt takes straight, and through us with the field that a refusal prints."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from .apt import Apt
from .debian import DebianArchive, Suite
from .place import Mirror, Place, Run, Server
from .registry import story

STABLE = Suite("stable", suite="stable", codename="stable", by_hash=False)
#: Names as other people's archives have them, and what the refusal has one paste.
NAMES = {
    "nested": (Suite("bionic/snapshots/5.12", suite="bionic", codename="bionic", by_hash=False), 'name: "bionic"'),
    "nameless": (Suite("all", by_hash=False), 'name: ""'),
    "flat": (Suite("repo/", suite="stretch", by_hash=False), 'name: "stretch"'),
}
RFC_1123 = "%a, %d %b %Y %H:%M:%S UTC"
#: Forms of Date, and whether apt is silent about them.
DATES: dict[str, tuple[Callable[[datetime], str], bool]] = {
    "offset": (lambda at: at.astimezone(timezone(timedelta(hours=-5))).strftime("%a, %d %b %Y %H:%M:%S %z"), False),
    "asctime": (lambda at: at.strftime("%a %b %e %H:%M:%S %Y"), True),
    "rfc-850": (lambda at: at.strftime("%A, %d-%b-%y %H:%M:%S GMT"), True),
    "no-zone": (lambda at: at.strftime("%a, %d %b %Y %H:%M:%S"), False),
    "with-dot": (lambda at: at.strftime("%a., %d %b %Y %H:%M:%S UTC"), False),
}


def edit(place: Place, archive: DebianArchive, suite: Suite, field: str, value: str | None) -> None:
    """Another value of one field of the Release, or none, signed anew."""
    release = archive.folder(suite) / "Release"
    lines = [line for line in release.read_text().splitlines() if not line.startswith(f"{field}:")]
    head = [f"{field}: {value}"] if value is not None else []
    release.write_text("\n".join(head + lines) + "\n")
    place.signers.sign(release, inline=True, detached=True)


def archive_of(place: Place, name: str, suite: Suite = STABLE) -> DebianArchive:
    archive = DebianArchive(place.upstreams / name, place.signers)
    archive.add(suite, "one", kilobytes=1)
    archive.publish(suite)
    return archive


def line(url: str, suite: Suite) -> str:
    return f"deb {url} {suite.name}" + ("" if suite.flat else " main")


@dataclasses.dataclass(frozen=True)
class Told:
    """What a fresh apt makes of a repository."""

    works: bool
    warnings: tuple[str, ...]


def ask_apt(root: Path, place: Place, source: str, **settings: str) -> Told:
    apt = Apt(root, place.keyring, source, **settings)
    done = apt.run("apt-get", "update", "--error-on=any")
    works = done.returncode == 0 and bool(apt.download("one"))
    # Addresses and file names differ between straight and through us.
    kinds = ("Conflicting distribution", "Invalid 'Date' entry", "expired", "not valid yet")
    said = done.stdout + done.stderr
    return Told(works, tuple(kind for kind in kinds if kind in said))


@dataclasses.dataclass(frozen=True)
class Edited:
    """A Mirror into whose manifest people paste what refusals print: manifests are YAML, and so is that text."""

    mirror: Mirror
    spec: str = ""
    debian: str = ""

    def sync(self, place: Place, *, expect: int = 0) -> Run:
        file = place.manifest_file(self.mirror)
        text = file.read_text()
        for place_of, yaml in (('"spec": {"upstreamRef"', self.spec), ('"debian": {"suites"', self.debian)):
            begin, separator, rest = place_of.partition("{")
            assert text.count(place_of) == 1, text
            text = text.replace(place_of, f"{begin}{separator}{yaml}, {rest}" if yaml else place_of)
        file.write_text(text)
        done = place.mirrorfleet("sync", "-f", file, "--mirror", self.mirror.name, "--data", place.data, "-o", "json")
        assert done.returncode == expect, f"{self} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return Run(done.returncode, json.loads(done.stdout), done.stdout + done.stderr)


def printed(run: Run, part: str) -> str:
    """What a refusal has one paste: its text between backticks."""
    text = re.findall(r"`([^`]*)`", run.report["message"])[0]
    assert part in text, run.report["message"]
    return text


def same_through_us(place: Place, server: Server, mirror: Mirror, suite: Suite, straight: Told, **settings: str) -> None:
    place.wait_until_served(server, mirror)
    ours = ask_apt(place.workdir / f"apt-{mirror.name}-ours-{len(settings)}", place, line(server.url(mirror.path), suite), **settings)
    assert ours == straight, f"{mirror.name}: {ours} through us, {straight} straight"


@story("a Release that bears another name, or none, is served once the manifest says what the refusal prints")
def names_of_suites(place: Place) -> None:
    server = None
    for name, (suite, part) in NAMES.items():
        archive_of(place, name, suite)
        straight = ask_apt(place.workdir / f"apt-{name}", place, line(place.url(name), suite))
        assert straight == Told(True, ("Conflicting distribution",)) or name == "nameless" and straight.works, f"{name}: {straight}"
        mirror = place.mirror(name, name, (suite.name,))
        refused = place.sync(mirror, expect=3)
        assert refused.reason == "SuiteMismatch" and "nothing was served yet" in refused.report["message"], refused.report
        done = Edited(mirror, debian=printed(refused, part)).sync(place)
        assert "apt warns" in json.dumps(done.report["suites"]), done.report
        server = server or place.serve()
        same_through_us(place, server, mirror, suite, straight)


@story("dates are read as the instants that they are, and Valid-Until as apt reads it")
def dates_of_states(place: Place) -> None:
    server = None
    for name, (written, silent) in DATES.items():
        archive = archive_of(place, name)
        edit(place, archive, STABLE, "Date", written(datetime.now(UTC) - timedelta(days=1)))
        straight = ask_apt(place.workdir / f"apt-{name}", place, line(place.url(name), STABLE))
        assert straight == Told(True, () if silent else ("Invalid 'Date' entry",)), f"{name}: {straight}"
        mirror = place.mirror(name, name, ("stable",))
        done = place.sync(mirror)
        age = datetime.now(UTC).timestamp() - done.report["revision"][0]["date"]
        assert 86_000 < age < 90_000, f"{name}: read as {age} seconds ago"
        assert ("not in a form that apt reads" in json.dumps(done.report["suites"])) != silent, done.report
        server = server or place.serve()
        same_through_us(place, server, mirror, STABLE, straight)
    later = datetime.now(UTC) + timedelta(days=1)
    for name, until in {"never": "never", "until-offset": later.strftime("%a, %d %b %Y %H:%M:%S +0000").replace("+0000", "+0200")}.items():
        archive = archive_of(place, name)
        edit(place, archive, STABLE, "Valid-Until", until)
        assert not ask_apt(place.workdir / f"apt-{name}", place, line(place.url(name), STABLE)).works
        refused = place.sync(place.mirror(name, name, ("stable",)), expect=3)
        assert refused.reason == "IndexMalformed" and "apt refuses it too" in refused.report["message"], refused.report
    archive = archive_of(place, "undated")
    edit(place, archive, STABLE, "Date", None)
    assert place.sync(place.mirror("undated", "undated", ("stable",)), expect=3).reason == "IndexMalformed"


@story("a state that was refused is served after what the refusal prints was pasted, and it alone")
def states_that_a_person_allows(place: Place) -> None:
    archive = archive_of(place, "debian")
    mirror = Edited(place.mirror("debian", "debian", ("stable",)))
    mirror.sync(place)
    first = (archive.folder(STABLE) / "Release").read_text()
    date = next(text.partition(": ")[2] for text in first.splitlines() if text.startswith("Date:"))
    server = place.serve()

    def republish(package: str, **fields: str) -> None:
        archive.add(STABLE, package, kilobytes=1)
        archive.publish(STABLE)
        for field, value in fields.items():
            edit(place, archive, STABLE, field.replace("_", "-"), value)

    def takes(case: str, mirror: Edited) -> Edited:
        refused = mirror.sync(place, expect=3)
        assert refused.reason == case and "goes on being served" in refused.report["message"], refused.report
        allowing = dataclasses.replace(mirror, spec=printed(refused, case))
        done = allowing.sync(place)
        assert [mark["allowed"] for mark in done.report["accepted"]] == [[case]], done.report
        assert allowing.sync(place).reason == "Unchanged"
        return allowing

    # Tools that take Date from SOURCE_DATE_EPOCH.
    republish("two", Date=date)
    mirror = takes("Equivocation", mirror)
    republish("three", Date=(datetime.now(UTC) - timedelta(days=2)).strftime(RFC_1123))
    mirror = takes("RollbackDetected", mirror)
    straight = ask_apt(place.workdir / "apt-debian", place, line(place.url("debian"), STABLE))
    same_through_us(place, server, mirror.mirror, STABLE, straight)

    # Who it is: an apt that has lists refuses the change too.
    apt = Apt(place.workdir / "apt-old", place.keyring, line(place.url("debian"), STABLE))
    # Two states of one second are the same to an apt that asks the upstream itself.
    a_minute_ago = time.time() - 60
    os.utime(archive.folder(STABLE) / "InRelease", (a_minute_ago, a_minute_ago))
    apt.update()
    republish("four", Label="Another")
    changed = apt.run("apt-get", "update", "--error-on=any")
    assert changed.returncode and "changed its 'Label' value from '' to 'Another'" in changed.stdout + changed.stderr, changed
    mirror = takes("ReleaseInfoChanged", mirror)

    # Frozen: apt refuses it as well, but for those who say that it may be old.
    republish("five", Label="Another", Valid_Until=(datetime.now(UTC) - timedelta(hours=1)).strftime(RFC_1123))
    source = line(place.url("debian"), STABLE)
    old = {"Acquire__Check-Valid-Until": "false"}
    assert not ask_apt(place.workdir / "apt-expired", place, source).works
    straight = ask_apt(place.workdir / "apt-frozen", place, source, **old)
    assert straight.works
    mirror = takes("IndexExpired", mirror)
    same_through_us(place, server, mirror.mirror, STABLE, straight, **old)
    done = dataclasses.replace(mirror, spec="verification: {expired: [{unit: stable, rule: Allow}]}").sync(place)
    assert "Check-Valid-Until: no" in json.dumps(done.report["suites"]), done.report
