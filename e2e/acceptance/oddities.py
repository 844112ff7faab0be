"""Archives with a bad entry or a bad file among good ones: what apt can still install, it installs from us too."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from .apt import Apt
from .debian import DebianArchive, Package, Suite
from .keys import Signers
from .place import Place
from .registry import story

SUITE = Suite("stable", suite="stable", codename="stable")
#: How a stanza is spoiled; each costs its own package only.
BAD: dict[str, Callable[[str], str]] = {
    "no-digest": lambda stanza: re.sub(r"(?m)^SHA(256|512): .*\n", "", stanza),
    "no-size": lambda stanza: re.sub(r"(?m)^Size: .*\n", "", stanza),
    "odd-size": lambda stanza: re.sub(r"(?m)^Size: .*\n", "Size: some\n", stanza),
    "no-filename": lambda stanza: re.sub(r"(?m)^Filename: .*\n", "", stanza),
    "upwards": lambda stanza: stanza.replace("Filename: ", "Filename: ../../"),
    "twice": lambda stanza: stanza.replace("Section: ", "Section: misc\nsection: "),
    "joined": lambda stanza: stanza.rstrip("\n") + "\n" + stanza,
    "no-colon": lambda stanza: stanza.replace("Section: ", "junk\nSection: "),
}
#: How apt takes it as if nothing were.
GOOD: dict[str, Callable[[str], str]] = {
    "plain": lambda stanza: stanza,
    "leading-slash": lambda stanza: stanza.replace("Filename: ", "Filename: /"),
    "slashes": lambda stanza: stanza.replace("Filename: pool/main/", "Filename: .//pool///main/./"),
    "blank-before-colon": lambda stanza: stanza.replace("Filename:", "Filename :").replace("SHA256:", "SHA256\t:"),
    "next-line": lambda stanza: stanza.replace("SHA256: ", "SHA256:\n "),
    "crlf": lambda stanza: stanza.replace("\n", "\r\n"),
}


def spoil(archive: DebianArchive, how: dict[str, Callable[[str], str]]) -> None:
    def spoilt(package: Package) -> Package:
        return dataclasses.replace(package, stanza=how[package.name](package.stanza)) if package.name in how else package

    archive.packages[SUITE.name] = [spoilt(package) for package in archive.packages[SUITE.name]]


def answer(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as found:
            return found.status, ""
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@story("several bad stanzas at once cost their own packages, in apt's eyes and in ours, and are named")
def bad_stanzas_cost_their_own_packages(place: Place) -> None:
    archive = DebianArchive(place.upstreams / "vendor", place.signers)
    archive.add_many(SUITE, [*BAD, *GOOD], kilobytes=1)
    spoil(archive, BAD | GOOD)
    archive.publish(SUITE)
    mirror = place.mirror("vendor", "vendor", ("stable",))
    first, again = place.sync(mirror), place.sync(mirror)
    for run in (first, again):
        [suite] = run.report["suites"]
        assert suite["leftOut"]["entries"] == len(BAD), suite
        assert len(suite["leftOut"]["sample"]) == 5 and all(name.split(" ")[0] in BAD for name in suite["leftOut"]["sample"]), suite
        assert f"{len(BAD)} entries of its indices are left out" in suite["message"], suite
    server = place.serve()
    place.wait_until_served(server, mirror)
    direct = Apt(place.workdir / "apt-direct", place.keyring, f"deb {place.url('vendor')} stable main")
    apt = Apt(place.workdir / "apt", place.keyring, f"deb {server.url('vendor')} stable main")
    for client in (direct, apt):
        client.update()
        for name in GOOD:
            client.download(name)
    # What a client can ask for says why it is not there.
    status, said = answer(server.url("vendor/pool/main/n/no-size/no-size_1.0_amd64.deb"))
    assert (status, "its entry in the upstream's index cannot be used" in said) == (404, True), said
    for path in ("vendor//pool/main/p/plain/plain_1.0_amd64.deb", "vendor/./pool//main/p/plain/plain_1.0_amd64.deb"):
        assert answer(server.url(path))[0] == 200, path

    left_out = dataclasses.replace(mirror, debian={"packages": {"exclude": [{"name": name} for name in BAD]}})
    [suite] = place.sync(left_out).report["suites"]
    assert "leftOut" not in suite and not suite["message"], suite


@story("where listed files never come, the message's own rule lets the rest through, to the checker and to apt")
def listed_files_never_there(place: Place) -> None:
    archive = DebianArchive(place.upstreams / "vendor", place.signers)
    archive.add_many(SUITE, ["one", "gone", "other"], kilobytes=1)
    archive.add(SUITE, "odd", kilobytes=1, file_name="odd_[1]+{a,b}_amd64.deb")
    archive.publish(SUITE)
    by_name = {package.name: package.file for package in archive.packages["stable"]}
    by_name["gone"].unlink()
    by_name["odd"].unlink()
    by_name["other"].write_bytes(by_name["other"].read_bytes() + b"x")
    mirror = place.mirror("vendor", "vendor", ("stable",))
    done = place.sync(mirror, expect=None)
    assert done.code != 0, done
    found = re.search(r'content\.exclude: (\[.*?"\])', done.report["message"])
    assert found, done.report
    without = dataclasses.replace(mirror, exclude=tuple(json.loads(found[1])))
    assert len(without.exclude) == 3, without.exclude
    place.sync(without)
    server = place.serve()
    place.wait_until_served(server, without)
    apt = Apt(place.workdir / "apt", place.keyring, f"deb {server.url('vendor')} stable main")
    apt.install_from("one")
    assert apt.run("apt-get", "install", "--download-only", "gone").returncode != 0


class OddForms(DebianArchive):
    """Of each index one compressed form, by a program of the system, with something behind it."""

    def __init__(self, *arguments, pack: list[str], suffix: str, behind: bytes) -> None:
        super().__init__(*arguments)
        self.pack, self.suffix, self.behind = pack, suffix, behind

    def _write_index(self, folder: Path, name: str, text: str, suite: Suite) -> None:
        super()._write_index(folder, name, text, suite)
        packed = subprocess.run(self.pack, input=text.encode(), capture_output=True, check=True).stdout
        (folder / f"{name}{self.suffix}").write_bytes(packed + self.behind)

    def publish(self, suite: Suite, signers: Signers | None = None) -> None:
        super().publish(suite, signers)
        for plain in self.folder(suite).rglob("Packages"):
            plain.unlink()


#: Program, suffix, what stands behind the end, and whether apt takes it.
FORMS: dict[str, tuple[list[str], str, bytes, bool]] = {
    "gz-zeros": (["gzip", "-9nc"], ".gz", bytes(17), True),
    "gz-garbage": (["gzip", "-9nc"], ".gz", b"garbage", True),
    "gz-none": (["cat"], ".gz", b"", True),
    "xz-zeros": (["xz", "-c"], ".xz", bytes(17), True),
    "bz2-garbage": (["bzip2", "-c"], ".bz2", b"\0garbage", True),
    "lzma-zeros": (["xz", "--format=lzma", "-c"], ".lzma", bytes(17), True),
    "lz4": (["lz4", "-qc"], ".lz4", b"", True),
    "lz4-zeros": (["lz4", "-qc"], ".lz4", bytes(17), True),
    "zst": (["zstd", "-qc"], ".zst", b"", True),
    "zst-zeros": (["zstd", "-qc"], ".zst", bytes(17), False),
    "gz-without-trailer": (["sh", "-c", "gzip -9nc | head -c -8"], ".gz", b"", True),
    "gz-cut-off": (["sh", "-c", "gzip -9nc | head -c -30"], ".gz", b"", False),
    "lz4-without-mark": (["sh", "-c", "lz4 -qc | head -c -8"], ".lz4", b"", False),
    "lz4-legacy": (["lz4", "-qlc"], ".lz4", b"", False),
    "lzma-is-xz": (["xz", "-c"], ".lzma", b"", True),
    "xz-is-lzma": (["xz", "--format=lzma", "-c"], ".xz", b"", True),
    "xz-of-nothing": (["head", "-c0"], ".xz", b"", False),
}


@story("index forms that apt reads are read: lz4, zeros and more behind the end; those that it refuses are refused")
def index_forms_are_read_as_apt_reads_them(place: Place) -> None:
    suite = dataclasses.replace(SUITE, compressions=(), by_hash=False)
    for name, (pack, suffix, behind, works) in FORMS.items():
        archive = OddForms(place.upstreams / name, place.signers, pack=pack, suffix=suffix, behind=behind)
        archive.add(suite, "one", kilobytes=1)
        archive.publish(suite)
        direct = Apt(place.workdir / f"apt-direct-{name}", place.keyring, f"deb {place.url(name)} stable main")
        taken = direct.run("apt-get", "update", "--error-on=any").returncode == 0
        assert taken == works, f"{name}: apt itself {'takes' if taken else 'refuses'} it"
        mirror = place.mirror(name, name, ("stable",))
        done = place.sync(mirror, expect=None)
        assert (done.code == 0) == works, f"{name}: {done.report}"
    server = place.serve()
    for name in (name for name, form in FORMS.items() if form[3]):
        Apt(place.workdir / f"apt-{name}", place.keyring, f"deb {server.url(name)} stable main").install_from("one")
