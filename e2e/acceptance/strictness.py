"""Rows of docs/strictness.md that no other story tells: what a fresh apt makes of an archive, straight and through us."""

from __future__ import annotations

import copy
import dataclasses
import gzip
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .apt import Apt
from .debian import DebianArchive, Suite
from .identity import RFC_1123, STABLE, Edited, archive_of, ask_apt, edit, line, printed, same_through_us
from .keys import Signers
from .place import Place
from .registry import story

INDEX = "main/binary-amd64/Packages"
Harm = Callable[[Place, DebianArchive], object]


@dataclasses.dataclass(frozen=True)
class Row:
    """What is done to an archive that was in order."""

    harm: Harm
    #: Whether a fresh apt works straight.
    apt: bool = True
    #: What we say of it, and a part of the note or the message.
    reason: str = "Published"
    says: str = ""


def release(archive: DebianArchive) -> Path:
    return archive.folder(STABLE) / "Release"


def signed(change: Callable[[str], str]) -> Harm:
    """Another Release, signed."""

    def harm(place: Place, archive: DebianArchive) -> None:
        release(archive).write_text(change(release(archive).read_text()))
        place.signers.sign(release(archive), inline=True, detached=True)

    return harm


def field(name: str, value: str) -> Harm:
    return lambda place, archive: edit(place, archive, STABLE, name, value)


def with_file(path: str, content: bytes | None) -> Harm:
    """Another file in the place of one, or none."""

    def harm(_place: Place, archive: DebianArchive) -> None:
        file = archive.folder(STABLE) / path
        file.unlink() if content is None else file.write_bytes(content)

    return harm


def folder_in_its_place(path: str) -> Harm:
    """nginx answers 403 for a folder."""

    def harm(_place: Place, archive: DebianArchive) -> None:
        (archive.folder(STABLE) / path).unlink()
        (archive.folder(STABLE) / path).mkdir()

    return harm


def like(archive: DebianArchive, name: str) -> DebianArchive:
    """A copy: making packages and signatures anew takes longer than all else."""
    copied = copy.copy(archive)
    copied.root = archive.root.with_name(name)
    copied.packages = {suite: list(packages) for suite, packages in archive.packages.items()}
    shutil.copytree(archive.root, copied.root, symlinks=True)
    return copied


def each(*harms: Harm) -> Harm:
    return lambda place, archive: [harm(place, archive) for harm in harms]


def of_another_state(place: Place, archive: DebianArchive) -> None:
    """Release and Release.gpg are validly signed, and say something else than InRelease."""
    release(archive).write_text(f"Description: another\n{release(archive).read_text()}")
    place.signers.sign(release(archive), inline=False, detached=True)


def stranger_too(place: Place, archive: DebianArchive) -> None:
    archive.publish(STABLE, Signers(place.ring, (*place.signers.owners, place.ring.make("stranger"))))


def stanza(change: Callable[[str], str]) -> Harm:
    """Another stanza beside the good one."""

    def harm(_place: Place, archive: DebianArchive) -> None:
        archive.add(STABLE, "other", kilobytes=1)
        listed = archive.packages["stable"]
        listed[:] = [dataclasses.replace(one, stanza=change(one.stanza)) if one.name == "other" else one for one in listed]
        archive.publish(STABLE)

    return harm


def other_digests(text: str) -> str:
    """Of the uncompressed index, which nobody serves, in all lists."""
    return re.sub(rf"(?m)^ [0-9a-f]+( +\d+ {INDEX})$", lambda found: f" {'1' * len(found[0].split()[0])}{found[1]}", text)


IN_DAYS = lambda days: (datetime.now(UTC) + timedelta(days=days)).strftime(RFC_1123)  # noqa: E731

ROWS: dict[str, Row] = {
    "unsigned": Row(each(with_file("InRelease", None), with_file("Release.gpg", None)), apt=False, reason="SignatureMissing"),
    "by-a-stranger-too": Row(stranger_too),
    "odd-release-gpg": Row(with_file("Release.gpg", b"no signature\n"), says="Release.gpg is not served"),
    "pair-of-two-states": Row(of_another_state, reason="ReleasePairMismatch", says="of different states"),
    "inrelease-forbidden": Row(folder_in_its_place("InRelease"), apt=False),
    "from-the-future": Row(field("Date", IN_DAYS(2)), apt=False, reason="IndexFromFuture"),
    "another-version": Row(each(field("Version", "9.1"), field("Suite", "oldstable"))),
    "line-without-colon": Row(signed(lambda text: f"Version 1.0\nDescription: x\n{text}"), says="a line that is no field"),
    "second-stanza": Row(signed(lambda text: f"{text}\nSuite: another\n"), says="stanza"),
    "lines-that-nobody-needs": Row(signed(lambda text: f"{text} {'0' * 128} 5 ../../etc/passwd\n 00 5 main/short\n {'0' * 128} odd main/odd\n")),
    "other-components": Row(field("Components", "testing")),
    "form-of-another-state": Row(with_file(f"{INDEX}.gz", gzip.compress(b"of another state")), says="another form of it is served"),
    "form-is-a-page": Row(with_file(f"{INDEX}.gz", b"<!DOCTYPE html><title>Hello</title>"), says="another form of it is served"),
    "form-is-forbidden": Row(folder_in_its_place(f"{INDEX}.gz"), says="another form of it is served"),
    "no-form": Row(each(with_file(f"{INDEX}.gz", None), with_file(f"{INDEX}.xz", None)), apt=False, reason="UpstreamIncomplete", says=INDEX),
    "other-bytes-inside": Row(signed(other_digests), apt=False, reason="DigestMismatch", says=INDEX),
    "huge-stanza": Row(stanza(lambda text: text.replace("Section:", f"X-Long: {'x' * (1 << 20)}\nSection:")), apt=False, reason="TooLarge"),
    "no-package": Row(stanza(lambda text: re.sub(r"(?m)^Package: .*\n", "", text)), apt=False, reason="IndexMalformed"),
}


@story("as strict as apt, row by row: what a fresh apt takes we take, with a note where it warns; what it refuses we refuse")
def as_strict_as_apt(place: Place) -> None:
    server, in_order = None, archive_of(place, "in-order")
    for name, row in ROWS.items():
        archive = like(in_order, name)
        row.harm(place, archive)
        straight = ask_apt(place.workdir / f"apt-{name}", place, line(place.url(name), STABLE))
        assert straight.works == row.apt, f"{name}: {straight}"
        mirror = place.mirror(name, name, ("stable",))
        done = place.sync(mirror, expect=None)
        assert done.reason == row.reason, f"{name}: {done.report}"
        said = [suite["message"] for suite in done.report["suites"]]
        assert row.says in said[0] and (row.says or done.code or not said[0]), f"{name}: {said}"
        if done.code:
            assert "nothing was served yet" in done.report["message"], f"{name}: {done.report}"
            continue
        server = server or place.serve()
        same_through_us(place, server, mirror, STABLE, dataclasses.replace(straight, works=True))
    mirror = place.mirror("pair-of-two-states", "pair-of-two-states", ("stable",))
    refused = place.sync(mirror, expect=3)
    without = dataclasses.replace(mirror, exclude=tuple(re.findall(r'content\.exclude: \["(.*?)"\]', refused.report["message"])))
    place.sync(without)
    straight = ask_apt(place.workdir / "apt-pair", place, line(place.url("pair-of-two-states"), STABLE))
    same_through_us(place, server, without, STABLE, straight)


class SourcesAlone(DebianArchive):
    def _write_index(self, folder: Path, name: str, text: str, suite: Suite) -> None:
        if suite.flat:
            name, text = "Sources", "".join(self._sources[suite.name].values())
        super()._write_index(folder, name, text, suite)

    def _component(self, suite: Suite, fresh: Path, component: str, date: datetime) -> None:
        self._write_index(fresh / component / "source", "Sources", "".join(self._sources[suite.name].values()), suite)


class NothingIn(DebianArchive):
    """An index of 0 bytes under every name."""

    def _write_index(self, folder: Path, name: str, text: str, suite: Suite) -> None:
        super()._write_index(folder, name, text, suite)
        for form in folder.glob(f"{name}*"):
            form.write_bytes(b"")


@story("sources alone, `all` alone, empty indices and components of some suites are served, to an apt that takes them straight")
def suites_that_lack_something(place: Place) -> None:
    sources = SourcesAlone(place.upstreams / "sources", place.signers)
    suite = dataclasses.replace(STABLE, architectures=("source",))
    sources.add_source(suite, "one")
    sources.publish(suite)
    place.sync(place.mirror("sources", "sources", ("stable",), architectures=(), include=("sources",)))
    flat = SourcesAlone(place.upstreams / "flat", place.signers)
    suite = Suite("./", by_hash=False)
    flat.add_source(suite, "one")
    flat.publish(suite)
    place.sync(place.mirror("flat", "flat", ("./",), include=("sources",)))
    for_all = DebianArchive(place.upstreams / "for-all", place.signers)
    suite = dataclasses.replace(STABLE, architectures=("all",))
    for_all.add(suite, "one", architecture="all", kilobytes=1)
    for_all.publish(suite)
    place.sync(place.mirror("for-all", "for-all", ("stable",), architectures=("all",)))
    empty = NothingIn(place.upstreams / "empty", place.signers)
    empty.publish(STABLE)
    place.sync(place.mirror("empty", "empty", ("stable",)))
    holes = DebianArchive(place.upstreams / "holes", place.signers)
    for suite in (STABLE, dataclasses.replace(STABLE, name="other", suite="other", components=("main", "extra"))):
        for component in suite.components:
            holes.add(suite, f"one-{component}", component=component, kilobytes=1)
        holes.publish(suite)
    done = place.sync(place.mirror("holes", "holes", ("stable", "other"), components=("main", "extra")))
    assert "has no component extra" in done.report["suites"][0]["message"], done.report
    server = place.serve()
    for name, kind, suite in (
        ("sources", "deb-src", "stable main"), ("flat", "deb-src", "./"), ("for-all", "deb", "stable main"), ("empty", "deb", "stable main"),
        ("holes", "deb", "stable main extra"),
    ):  # fmt: skip
        for whose, url in (("straight", place.url(name)), ("ours", server.url(name))):
            apt = Apt(place.workdir / f"apt-{name}-{whose}", place.keyring, f"{kind} {url} {suite}")
            assert apt.run("apt-get", "update", "--error-on=any").returncode == 0, f"{name} {whose}: see {apt.log}"
            if name == "for-all":
                apt.download("one")
            if kind == "deb-src":
                apt.clean("apt-get", "source", "--download-only", "one", cwd=apt.root)


@story("new bytes under a known name, and a suite that shrinks, are taken after what the refusal prints was pasted")
def changes_that_a_person_allows(place: Place) -> None:
    archive = DebianArchive(place.upstreams / "vendor", place.signers)
    archive.add_many(STABLE, ["one", *(f"more{number}" for number in range(25))], kilobytes=1)
    archive.publish(STABLE)
    mirror = Edited(place.mirror("vendor", "vendor", ("stable",)))
    mirror.sync(place)
    server = place.serve()

    def takes(case: str, part: str) -> None:
        straight = ask_apt(place.workdir / f"apt-{case}", place, line(place.url("vendor"), STABLE))
        assert straight.works, straight
        refused = mirror.sync(place, expect=3)
        assert refused.reason == case and "goes on being served" in refused.report["message"], refused.report
        dataclasses.replace(mirror, spec=printed(refused, part)).sync(place)
        same_through_us(place, server, mirror.mirror, STABLE, straight, **{"Acquire::Retries": "0"} if part == "shrink" else {})

    archive.remove(STABLE, "one").file.unlink()
    archive.add(STABLE, "one", kilobytes=3)
    archive.publish(STABLE)
    takes("ContentMutated", "allowMutations")
    for number in range(24):
        archive.remove(STABLE, f"more{number}")
    archive.publish(STABLE)
    takes("ShrinkRefused", "shrink")
