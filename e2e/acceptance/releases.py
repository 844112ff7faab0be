"""Releases and indices as odd tools write them: what a real apt takes is taken, and what it refuses is refused."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from .apt import Apt
from .debian import DebianArchive, Suite
from .place import Place
from .registry import story

SUITE = Suite("stable", suite="stable", codename="stable", compressions=(".gz",), by_hash=False)
NOBODY = "0" * 64


class Odd(DebianArchive):
    """An archive whose Release, or whose index, is altered before it is signed."""

    def __init__(self, *arguments, release: Callable[[str], str] = str, index: Callable[[str], str] = str) -> None:
        super().__init__(*arguments)
        self.alter_release, self.alter_index = release, index

    def _release(self, suite: Suite, fresh: Path, date: datetime) -> None:
        super()._release(suite, fresh, date)
        text = (fresh / "Release").read_text()
        (fresh / "Release").write_bytes(self.alter_release(text).encode("latin-1"))

    def _write_index(self, folder: Path, name: str, text: str, suite: Suite) -> None:
        super()._write_index(folder, name, self.alter_index(text), suite)


def sha256_list_only(text: str) -> str:
    """apt-ftparchive writes four lists."""
    return re.sub(r"(?ms)^(MD5Sum|SHA1|SHA512):\n( .*?\n)+", "", text)


def behind(line: str) -> Callable[[str], str]:
    """A line more in the list of SHA-256."""
    return lambda text: sha256_list_only(text).rstrip("\n") + "\n" + line


def nobody(name: str) -> str:
    return f" {NOBODY} 5 main/binary-amd64/{name}\n"


#: What is altered, and whether apt takes it.
RELEASES: dict[str, tuple[Callable[[str], str], bool]] = {
    "suite-twice": (lambda text: "Suite: other\n" + text, True),
    "date-twice": (lambda text: "Date: Thu, 01 Jan 2015 00:00:00 UTC\n" + text, True),
    "never-ends": (lambda text: re.sub("(?m)^Valid-Until: .*", "Valid-Until: Fri, 31 Dec 9999 23:59:59 UTC", text), True),
    "latin-1": (lambda text: "Label: K\xf6ln\n" + text, True),
    "listed-twice": (behind(nobody("Packages") + nobody("Packages.gz")), True),
    "other-size-by-md5": (lambda text: re.sub(r"(?m)^ ([0-9a-f]{32}) +\d+ ", r" \1 4 ", text), True),
    "list-twice": (behind("SHA256:\n"), False),
    "empty-lines": (lambda text: "\n\n" + text, False),
    "no-sums": (lambda text: sha256_list_only(text).split("SHA256:")[0], False),
    "listed-wrongly-first": (lambda text: sha256_list_only(text).replace("SHA256:\n", "SHA256:\n" + nobody("Packages") + nobody("Packages.gz")), False),
}
INDICES: dict[str, tuple[Callable[[str], str], bool]] = {
    "end-mark": (lambda text: text + "\x1a", True),
    "comment": (lambda text: "# made by hand\n" + text, False),
    "byte-order-mark": (lambda text: "\ufeff\n" + text, False),
    "empty-line": (lambda text: "\n", False),
}


@story("Releases and indices of odd tools: doubled fields and sums, dates far off, empty lines, comments, as apt takes them")
def odd_files_are_taken_as_apt_takes_them(place: Place) -> None:
    alterations = {name: ({"release": alter}, works) for name, (alter, works) in RELEASES.items()}
    alterations |= {name: ({"index": alter}, works) for name, (alter, works) in INDICES.items()}
    for name, (alter, works) in alterations.items():
        archive = Odd(place.upstreams / name, place.signers, **alter)
        archive.add(SUITE, "one", kilobytes=1)
        archive.publish(SUITE)
        direct = Apt(place.workdir / f"apt-direct-{name}", place.keyring, f"deb {place.url(name)} stable main")
        taken = direct.run("apt-get", "update", "--error-on=any").returncode == 0
        assert taken == works, f"{name}: apt itself {'takes' if taken else 'refuses'} it, see {direct.log}"
        done = place.sync(place.mirror(name, name, ("stable",)), expect=None)
        assert done.code == (0 if works else 3), f"{name}: {done.report}"
    server = place.serve()
    for name in (name for name, (_, works) in alterations.items() if works):
        Apt(place.workdir / f"apt-{name}", place.keyring, f"deb {server.url(name)} stable main").install_from("one")


@story("an archive of nothing but packages for all architectures is had by those who declare their own")
def packages_for_all_are_for_each(place: Place) -> None:
    suite = dataclasses.replace(SUITE, architectures=("all",))
    archive = DebianArchive(place.upstreams / "vendor", place.signers)
    archive.add(suite, "one", architecture="all", kilobytes=1)
    archive.publish(suite)
    place.sync(place.mirror("vendor", "vendor", ("stable",)))
    server = place.serve()
    Apt(place.workdir / "apt", place.keyring, f"deb {server.url('vendor')} stable main").install_from("one")
