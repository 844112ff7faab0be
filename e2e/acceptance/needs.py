"""What an apt never asks for, or can do without, decides about no suite: the shapes of bookworm-security and of
bookworm-updates with differences, as they were met on a machine of ours."""

from __future__ import annotations

import hashlib
import shutil
from datetime import datetime
from pathlib import Path

from .apt import Apt
from .debian import DebianArchive, Suite
from .place import Place
from .registry import story

SECURITY = Suite("bookworm-security", suite="oldstable-security", codename="bookworm-security", says_components=("updates/main",))
UPDATES = Suite("bookworm-updates", suite="oldstable-updates", codename="bookworm-updates", pdiffs=14)


class WithBinaryAll(DebianArchive):
    """`binary-all` is listed, and `all` is not among the Architectures, so that apt does not ask for it."""

    def _component(self, suite: Suite, fresh: Path, component: str, date: datetime) -> None:
        super()._component(suite, fresh, component, date)
        text = self._text(suite, lambda package: package.component == component and package.architecture == "all")
        self._write_index(fresh / component / "binary-all", "Packages", text, suite)


@story("binary-all of another state, which no apt asks for, keeps nobody from a suite of bookworm-security's shape")
def a_stale_binary_all_refuses_nothing(place: Place) -> None:
    archive = WithBinaryAll(place.upstreams / "debian-security", place.signers)
    archive.add(SECURITY, "tool")
    archive.add(SECURITY, "documents", architecture="all")
    archive.publish(SECURITY)
    folder = archive.folder(SECURITY) / "main" / "binary-all"
    shutil.rmtree(folder / "by-hash")
    for form in folder.iterdir():
        form.write_bytes(form.read_bytes() + b"of another state")
    straight = Apt(place.workdir / "straight", place.keyring, f"deb {place.url('debian-security')} {SECURITY.name} main")
    straight.install_from("tool")

    mirror = place.mirror("security", "debian-security", (SECURITY.name,))
    first = place.sync(mirror)
    assert first.reason == "Published" and "binary-all" in first.text, first.text
    server = place.serve()
    client = Apt(place.workdir / "apt", place.keyring, f"deb {server.url('security')} {SECURITY.name} main")
    for package in ("tool", "documents"):
        client.install_from(package)
    again = place.sync(mirror)
    assert again.reason == "Unchanged" and again.report["snapshot"] == first.report["snapshot"], again.text


@story("differences of which a patch is missing are left out as a whole: apt takes the whole index, and patches when they are back")
def differences_with_a_missing_patch(place: Place) -> None:
    archive = DebianArchive(place.upstreams / "debian", place.signers)
    archive.add_many(UPDATES, [f"tool{number}" for number in range(20)], kilobytes=1)
    archive.publish(UPDATES)
    mirror = place.mirror("updates", "debian", (UPDATES.name,), include=("pdiffs",))
    place.sync(mirror)
    server = place.serve()
    source = f"deb {server.url('updates')} {UPDATES.name} main"
    clients = [Apt(place.workdir / f"apt-{name}", place.keyring, source, Acquire__PDiffs="true", Debug__pkgAcquire__Diffs="true") for name in ("one", "two")]
    for client in clients:
        client.update()
    for number in range(3):
        archive.add(UPDATES, f"new{number}", kilobytes=1)
        archive.publish(UPDATES)
    folder = archive.folder(UPDATES) / "main" / "binary-amd64" / "Packages.diff"
    patch = sorted(folder.glob("*.gz"))[1]
    held = patch.read_bytes()
    for name, algorithm in (("SHA256", "sha256"), ("SHA1", "sha1")):
        (folder / "by-hash" / name / hashlib.new(algorithm, held).hexdigest()).unlink(missing_ok=True)
    patch.unlink()

    first = place.sync(mirror)
    assert first.reason == "Published" and "Packages.diff/Index is left out" in first.text, first.text
    said = brought_up(clients[0])
    assert "new2" in index_of(clients[0]) and ".pdiff" not in said, said
    clients[0].download("new2")
    again = place.sync(mirror)
    assert again.reason == "Unchanged" and again.report["snapshot"] == first.report["snapshot"], again.text

    patch.write_bytes(held)
    back = place.sync(mirror)
    assert back.reason == "Published", back.text
    said = brought_up(clients[1])
    assert said.count("pdiff [") + said.count(".pdiff") >= 3, said
    assert index_of(clients[1]) == index_of(clients[0])


def brought_up(client: Apt) -> str:
    """An update that apt itself calls whole; that it was told of something that is not there is a line of its own."""
    done = client.run("apt-get", "update", "--error-on=any")
    assert done.returncode == 0, f"see {client.log}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def index_of(client: Apt) -> str:
    [lists] = client.lists.glob("*_Packages")
    return lists.read_text()
