"""Databases that nobody's repo-add makes. What readers of them do with single members is in `fleet-formats`; here are whole runs."""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator

from .arch import an_upstream, arch_mirror, checked, servers
from .arch_checker import unpacked
from .manners import ask
from .pacman import Pacman
from .place import Place
from .registry import story

MIB = 1 << 20
#: One more than are read.
MANY = 400_001


def member(name: str, content: bytes = b"", *, size: int | None = None, kind: bytes = tarfile.REGTYPE, **more) -> bytes:
    """A header, which may tell another size, and what follows it."""
    info = tarfile.TarInfo(name)
    info.size, info.type = len(content) if size is None else size, kind
    for key, value in more.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def packed(*members: bytes, whole: bool = True) -> bytes:
    return compressed([*members, bytes(2 * tarfile.BLOCKSIZE) if whole else b""])


def compressed(parts: Iterable[bytes]) -> bytes:
    """As zstd, which makes next to nothing of what repeats."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(["zstd", "-q", "-1", "-c"], stdin=subprocess.PIPE, stdout=out)
        with process.stdin as into:
            for part in parts:
                into.write(part)
        assert process.wait() == 0
        out.seek(0)
        return out.read()


def many() -> Iterator[bytes]:
    """So many packages, each with a file of its own."""
    head = bytearray(member("name-0000000-1-1/x"))
    digits, sums = slice(5, 12), slice(148, 156)
    plain = sum(head) - sum(head[sums]) + 8 * ord(" ") - sum(head[digits])
    for number in range(MANY):
        head[digits] = text = b"%07d" % number
        head[sums] = b"%06o\0 " % (plain + sum(text))
        yield bytes(head)
    yield bytes(2 * tarfile.BLOCKSIZE)


def lies(good: bytes) -> Iterator[tuple[str, bytes, str, str]]:
    """What it is, the database, why it is refused, and a word of the message."""
    desc = unpacked(good)["one-1-1/desc"]
    one = member("one-1-1/desc", desc)
    broken, unsafe, large = "IndexMalformed", "UnsafePath", "TooLarge"
    yield "cut off", good[: len(good) // 2], broken, ""
    yield "a page", b"<html><body>Not Found</body></html>", broken, ""
    yield "packed by compress", b"\x1f\x9d\x90" + bytes(100), broken, ""
    for name in ("../../../etc/x.pkg.tar.zst", "folder/x.pkg.tar.zst", ".x.pkg.tar.zst"):
        yield f"a file {name}", packed(member("one-1-1/desc", desc.replace(b"one-1-1-any.pkg.tar.zst", name.encode()))), unsafe, "illegal"
    yield "a package twice", packed(one, member("two-1-1/desc", desc.replace(b"one", b"two")), one), broken, "twice"
    yield "a file beside packages", packed(one, member("README", b"x")), broken, "README"
    yield "a file above packages", packed(one, member("../one-1-1/desc", desc)), broken, ""
    for what, kind in (("a symbolic link", tarfile.SYMTYPE), ("a hard link", tarfile.LNKTYPE), ("a device", tarfile.CHRTYPE), ("a pipe", tarfile.FIFOTYPE)):
        yield what, packed(member("one-1-1/desc", kind=kind, linkname="/etc/passwd")), broken, "link"
    sparse = b"27 GNU.sparse.realsize=100\n"
    yield "a sparse file by PAX", packed(member("x", sparse, kind=tarfile.XHDTYPE), one), broken, ""
    yield "a sparse file of GNU's", packed(member("one-1-1/desc", desc, kind=tarfile.GNUTYPE_SPARSE)), broken, ""
    yield "another path for all", packed(member("g", b"10 path=b\n", kind=tarfile.XGLTYPE), one), broken, ""
    yield "a member of a terabyte", packed(member("one-1-1/desc", desc, size=1 << 40)), broken, "cut off"
    yield "a description of megabytes", packed(member("one-1-1/desc", bytes(20 * MIB))), large, "bytes"
    yield "a member that is cut off", packed(member("one-1-1/desc", desc, size=len(desc) + tarfile.BLOCKSIZE), whole=False), broken, ""
    yield "a bomb", packed(one, member("one-1-1/wonders", bytes(128 * MIB))), large, ""
    yield "too many packages", compressed(many()), large, "packages"


@story("a database that pacman would refuse, or that is made to harm who reads it, is refused with a reason of its own: what was served stays, and it heals by itself")
def bad_databases_are_refused(place: Place) -> None:
    upstream = an_upstream(place, ring=place.ring)
    upstream.add("core", "one")
    upstream.add("extra", "other")
    mirror = arch_mirror(place, "arch", "core", "extra")
    place.sync(mirror)
    server = place.serve()
    pacman = Pacman(place.workdir / "pacman", servers(server, mirror), ring=place.ring)
    pacman.clean("-Sy")
    database = upstream.database("core")
    good, told = database.read_bytes(), []
    for what, body, reason, word in lies(good):
        database.write_bytes(body)
        upstream.publish()
        refused = place.sync(mirror, expect=3)
        held = next(unit for unit in refused.report["units"] if unit["unit"] == "core/x86_64")
        assert held["reason"] == reason and word in held["message"], f"{what}: {held}"
        told.append(held["message"])
        assert ask(server, "arch/core/os/x86_64/core.db").body == good, what
    assert len(set(told)) > len(told) * 2 / 3, f"messages say nothing of their own: {told}"
    # The other repository goes on.
    upstream.add("extra", "other", "2-1")
    assert place.sync(mirror, expect=3).reason == "TooLarge"
    place.wait_until_served(server, mirror)
    pacman.clean("-Syy")
    assert pacman.offered() == {"core/one": "1-1", "extra/other": "2-1"}, pacman.offered()
    database.write_bytes(good)
    upstream.add("core", "two")
    place.sync(mirror)
    checked(place, server, mirror)
    pacman.clean("-Sy")
    assert {"core/one", "core/two"} < set(pacman.offered()), pacman.offered()
