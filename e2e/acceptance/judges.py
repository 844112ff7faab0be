"""The checker itself: it passes an archive that is in order, and finds each thing that is not."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

from checker import Checker
from repository import Options

from .debian import DebianArchive
from .layout import EVERYTHING, TRIXIE
from .place import Place
from .registry import story

SUITE = dataclasses.replace(TRIXIE, components=("main",), architectures=("amd64",))
Harm = Callable[[Path], object]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@contextlib.contextmanager
def harmed(root: Path, pattern: str, harm: Harm) -> Iterator[None]:
    before = {path: path.read_bytes() for path in root.glob(pattern)}
    assert before, f"nothing is called {pattern}"
    for path, content in before.items():
        # A file of its own: its by-hash names are links to it.
        path.unlink()
        path.write_bytes(content)
        harm(path)
    yield
    for path, content in before.items():
        path.write_bytes(content)


#: What is done to the files of the suite, and a word of what the checker must say of it.
HARMS: dict[str, tuple[str, Harm, str]] = {
    "a package is absent": ("pool/main/t/tool3/tool3_1.0_amd64.deb", Path.unlink, "answered with 404"),
    "a package is cut": ("pool/main/t/tool3/tool3_1.0_amd64.deb", cut, "bytes, promised were"),
    "a package has a wrong bit": ("pool/main/t/tool3/tool3_1.0_amd64.deb", flip, "another md5"),
    "a udeb is absent": ("pool/main/n/netcfg/netcfg_1.0_amd64.udeb", Path.unlink, "answered with 404"),
    "a part of a source is absent": ("pool/main/t/tool0/tool0_1.0.orig.tar.gz", Path.unlink, "answered with 404"),
    "all of an index is absent": ("dists/trixie/main/binary-amd64/Packages.[gx]z", Path.unlink, "no other compression"),
    "a by-hash name is absent": ("dists/trixie/main/binary-amd64/by-hash/SHA256/*", Path.unlink, "answered with 404"),
    "a translation is cut": ("dists/trixie/main/i18n/Translation-de.xz", cut, "bytes, promised were"),
    "Contents is absent": ("dists/trixie/main/Contents-amd64.*", Path.unlink, "no other compression"),
    "icons are absent": ("dists/trixie/main/dep11/icons-64x64.tar.gz", Path.unlink, "no other compression"),
    "an image is absent": ("dists/trixie/main/installer-amd64/current/images/netboot/mini.iso", Path.unlink, "answered with 404"),
    "an image has a wrong bit": ("dists/trixie/main/installer-amd64/current/images/netboot/mini.iso", flip, "another sha256"),
    "a patch is absent": ("dists/trixie/main/binary-amd64/Packages.diff/*.gz", Path.unlink, "answered with 404"),
    "InRelease has a wrong bit": ("dists/trixie/InRelease", flip, "gpgv does not accept it"),
}


def archive_with_everything(place: Place) -> DebianArchive:
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    archive.add_many(SUITE, ["tool1", "tool2", "tool3"])
    archive.add(SUITE, "netcfg", udeb=True, section="debian-installer")
    archive.add_source(SUITE, "tool0")
    for name in ("tool4", "tool5"):
        archive.add(SUITE, name)
        archive.publish(SUITE)
    return archive


@story("the independent checker finds everything that is taken away or changed")
def the_checker_finds_every_harm(place: Place) -> None:
    archive = archive_with_everything(place)
    keys = place.ring.export(place.workdir / "keys.gpg", "archive")
    options = Options(("trixie",), **dict.fromkeys(EVERYTHING, True))
    sound = Checker(place.url("debian"), keys, options).check()
    assert not sound.misses, sound.misses[:10]
    for what, (pattern, harm, words) in HARMS.items():
        with harmed(archive.root, pattern, harm):
            result = Checker(place.url("debian"), keys, options).check()
        assert any(words in miss for miss in result.misses), f"{what}: the checker says {result}: {result.misses[:3]}"
