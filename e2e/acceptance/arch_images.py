"""Installation images: a release is served as a whole, and `latest` is another one only when all of that is here."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from archive import run

from .arch import an_upstream, arch_mirror, checked
from .arch_checker import fetch
from .arch_trust import MASTERS, Web
from .arch_upstream import ArchUpstream
from .keys import KeyRing, address
from .manners import ask
from .place import Place, Server
from .registry import story

LATEST = "iso/latest"
SUMS = ("sha256sums.txt", "b2sums.txt")


@dataclass
class Releases:
    """`iso/` as Arch Linux publishes it, by its own tools."""

    upstream: ArchUpstream
    ring: KeyRing

    def folder(self, date: str) -> Path:
        return self.upstream.root / "iso" / date

    def make(self, date: str, by: str, *, content: str = "") -> Path:
        """A release, to which nothing leads yet."""
        folder = self.folder(date)
        folder.mkdir(parents=True)
        names = []
        for name, dated in (("archlinux-x86_64.iso", f"archlinux-{date}-x86_64.iso"), ("archlinux-bootstrap-x86_64.tar.zst", f"archlinux-bootstrap-{date}-x86_64.tar.zst")):
            (folder / dated).write_text(f"{dated} {content}\n" * 20_000)
            self.ring.sign_file(address(by), folder / dated, folder / f"{dated}.sig")
            for suffix in ("", ".sig"):
                (folder / f"{name}{suffix}").symlink_to(f"{dated}{suffix}")
            names += [dated, name]
        for tool, sums in zip(("sha256sum", "b2sum"), SUMS, strict=True):
            (folder / sums).write_text(run([tool, *names], cwd=folder))
        return folder

    def lead_to(self, date: str) -> None:
        latest = self.upstream.root / LATEST
        latest.unlink(missing_ok=True)
        latest.symlink_to(date)
        self.upstream.publish()


def downloaded(server: Server, folder: str, where: Path) -> Iterator[str]:
    """What a person does who follows the download page: the sums, what they name, and the signatures; the names."""
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir()
    for sums in SUMS:
        (where / sums).write_bytes(fetch(server.url(f"arch/{folder}/{sums}")) or b"")
    for line in (where / SUMS[0]).read_text().splitlines():
        name = line.split()[1]
        for suffix in ("", ".sig"):
            (where / f"{name}{suffix}").write_bytes(fetch(server.url(f"arch/{folder}/{name}{suffix}")) or b"")
        yield name


def is_whole(place: Place, server: Server, folder: str) -> list[str]:
    where = place.workdir / "download"
    names = list(downloaded(server, folder, where))
    for tool, sums in zip(("sha256sum", "b2sum"), SUMS, strict=True):
        run([tool, "--check", "--strict", "--quiet", sums], cwd=where)
    for name in names:
        run(["gpg", "--homedir", place.ring.home, "--batch", "--quiet", "--verify", f"{name}.sig", name], cwd=where)
    return names


@story("installation images come as whole releases: `iso/latest` is another one when all of that is here, and each thing that is wrong has its reason")
def images_come_as_whole_releases(place: Place) -> None:
    web = Web(place.ring)
    web.packager("packager", 3)
    web.packager("nobody", 0)
    upstream = an_upstream(place, ring=place.ring, owner="packager")
    upstream.add("core", "one")
    releases = Releases(upstream, place.ring)
    releases.make("2024.05.01", "packager")
    releases.lead_to("2024.05.01")
    mirror = arch_mirror(place, "arch", "core", arch={"include": {"iso": True}}, trust=web.trust(), keys=web.files())
    place.sync(mirror)
    server = place.serve()
    checked(place, server, mirror)
    for folder in (LATEST, "iso/2024.05.01"):
        names = is_whole(place, server, folder)
        assert len(names) == 4 and "archlinux-2024.05.01-x86_64.iso" in names, names
    # Four names each, of which two have one content.
    assert len([path for path in place.requests() if path.endswith(".iso")]) == 1, place.requests()
    seen = len(place.requests())
    assert place.sync(mirror).report["reason"] == "Unchanged"
    assert sorted(place.requests()[seen:]) == ["/arch/lastsync", "/arch/lastupdate"]

    numbers = itertools.count(1)

    def refused(reason: str, *, says: str = "2024.06.01") -> None:
        """The repository goes on, and the images stay what they were."""
        name = f"package{next(numbers)}"
        upstream.add("core", name)
        held = place.sync(mirror, expect=None)
        assert held.code in (2, 3) and held.reason == reason and says in held.text, f"{reason}: {held.text}"
        place.wait_until_served(server, mirror)
        assert ask(server, f"arch/core/os/x86_64/{name}-1-1-any.pkg.tar.zst").status == 200, reason
        assert "archlinux-2024.05.01-x86_64.iso" in is_whole(place, server, LATEST), reason
        assert ask(server, "arch/iso/2024.06.01/archlinux-2024.06.01-x86_64.iso").status == 404, reason

    june = releases.make("2024.06.01", "packager")
    image = june / "archlinux-2024.06.01-x86_64.iso"
    signature = june / f"{image.name}.sig"
    releases.lead_to("2024.06.01")
    good, good_signature = image.read_bytes(), signature.read_bytes()

    # It has not arrived there yet; it has other bytes; it was altered, and so were the sums.
    image.unlink()
    refused("UpstreamIncomplete")
    image.write_bytes(good.replace(b"iso", b"ISO"))
    refused("DigestMismatch")
    sums = {name: (june / name).read_text() for name in SUMS}
    for tool, name in zip(("sha256sum", "b2sum"), SUMS, strict=True):
        (june / name).write_text(run([tool, *(line.split()[1] for line in sums[name].splitlines())], cwd=june))
    refused("SignatureBad")
    image.write_bytes(good)
    for name, text in sums.items():
        (june / name).write_text(text)
    signature.unlink()
    refused("SignatureMissing")
    place.ring.sign_file(address("nobody"), image, signature)
    refused("KeyUnknown")
    signature.write_bytes(good_signature)
    (june / SUMS[0]).write_text(sums[SUMS[0]].replace("archlinux-bootstrap-x86_64.tar.zst", "../../lastsync"))
    refused("UnsafePath", says="../../lastsync")
    (june / SUMS[0]).write_text("<html>Not Found</html>\n")
    refused("IndexMalformed", says="sha256sums.txt")
    (june / SUMS[0]).write_text(sums[SUMS[0]])
    (june / SUMS[1]).write_text(sums[SUMS[1]].replace("2024.06.01", "2024.07.01"))
    refused("IndexMalformed", says="name different files")
    (june / SUMS[1]).write_text(sums[SUMS[1]])

    # Whole: in one step, and who was in the middle of the old one finds the rest of it.
    upstream.publish()
    place.sync(mirror)
    checked(place, server, mirror)
    assert "archlinux-2024.06.01-x86_64.iso" in is_whole(place, server, LATEST)
    assert "archlinux-2024.05.01-x86_64.iso" in is_whole(place, server, "iso/2024.05.01")
    assert ask(server, f"arch/{LATEST}/archlinux-2024.05.01-x86_64.iso").status == 200

    # Back again, which only a person may say; and the same release anew with other bytes.
    releases.lead_to("2024.05.01")
    back = place.sync(mirror, expect=3)
    assert back.reason == "RollbackDetected" and "2024.05.01" in back.text, back.text
    shutil.rmtree(june)
    releases.make("2024.06.01", "packager", content="made again")
    releases.lead_to("2024.06.01")
    assert place.sync(mirror, expect=3).reason == "ContentMutated"
    assert "archlinux-2024.06.01-x86_64.iso" in is_whole(place, server, LATEST)
    releases.make("2024.07.01", MASTERS[0])
    releases.lead_to("2024.07.01")
    place.sync(mirror)
    place.wait_until_served(server, mirror)
    assert "archlinux-2024.07.01-x86_64.iso" in is_whole(place, server, LATEST)

    # A tree that others copy has each image once.
    tree = place.workdir / "tree"
    done = place.mirrorfleet("export", "--data", place.data, "arch", tree)
    assert done.returncode == 0, done.stdout + done.stderr
    links = [file.readlink() for file in (tree / LATEST).iterdir() if file.is_symlink()]
    assert len(links) == 8 and all(str(link).startswith("../2024.07.01/") for link in links), links
    run(["sha256sum", "--check", "--strict", "--quiet", SUMS[0]], cwd=tree / LATEST)


@story("an upstream without images says so, and leaving them out is the remedy")
def an_upstream_without_images(place: Place) -> None:
    upstream = an_upstream(place)
    upstream.add("core", "one")
    include = {"iso": True, "signatures": False}
    refused = place.sync(arch_mirror(place, "arch", "core", arch={"include": include}), expect=2)
    assert refused.reason == "UpstreamIncomplete" and "iso/latest/sha256sums.txt" in refused.text, refused.text
    place.sync(arch_mirror(place, "arch", "core", arch={"include": {"signatures": False}}))
