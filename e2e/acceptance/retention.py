"""Clients that began before a publish and go on after it."""

from __future__ import annotations

from repository import parse_release, wants

from .apt import Apt
from .debian import DebianArchive, Suite
from .interposer import Interposer
from .manners import ask
from .place import Mirror, Place
from .registry import story

SUITE = Suite("stable", suite="stable", codename="stable")


class Upstream:
    """An archive that changes with every publish: one package comes, one goes, and its file goes too."""

    def __init__(self, place: Place, suite: Suite) -> None:
        self.place, self.suite, self.number = place, suite, 0
        self.archive = DebianArchive(place.upstreams / "debian", place.signers)
        self.archive.add_many(suite, ["kept", "tool0"])
        self.archive.publish(suite)

    def mirror(self, **spec) -> Mirror:
        return self.place.mirror("debian", "debian", ("stable",), spec=spec)

    def advance(self, mirror: Mirror) -> None:
        """The upstream publishes, and we follow."""
        self.archive.remove(self.suite, f"tool{self.number}").file.unlink()
        self.number += 1
        self.archive.add(self.suite, f"tool{self.number}")
        self.archive.publish(self.suite)
        self.place.sync(mirror)


@story("a client that holds the InRelease of three publishes ago still gets every index by hash and every package")
def an_earlier_in_release_is_completed(place: Place) -> None:
    upstream = Upstream(place, SUITE)
    mirror = upstream.mirror()
    place.sync(mirror)
    server = place.serve()
    apt = Apt(place.workdir / "apt", place.keyring, f"deb {server.url('debian')} stable main")
    apt.update()
    held = parse_release(ask(server, "debian/dists/stable/Release").body.decode())
    for _ in range(3):
        upstream.advance(mirror)
    wanted = {name: promise for name, promise in held.files.items() if wants(name, held, mirror.options())}
    assert any(name.endswith("Packages.xz") for name in wanted)
    packed = {name: promise for name, promise in wanted.items() if name.endswith((".xz", ".gz"))}
    for name, promise in packed.items():
        folder = name.rpartition("/")[0]
        path = f"debian/dists/stable/{folder}/by-hash/SHA256/{dict(promise.digests)['sha256']}"
        answer = ask(server, path)
        assert answer.status == 200 and not promise.broken_by(answer.body), f"{path}: {answer.status} {promise.broken_by(answer.body)}"
    # Its package has left the upstream's indices and pool.
    assert apt.download("tool0").name == "tool0_1.0_amd64.deb"
    place.wait_until_served(server, mirror)
    assert apt.install_from("tool3").name == "tool3_1.0_amd64.deb"


def update_across_a_publish(place: Place, suite: Suite, *, spec: dict, **settings: str) -> None:
    """Between InRelease and the indices that it names, the upstream publishes and we follow."""
    upstream = Upstream(place, suite)
    mirror = upstream.mirror(**spec)
    place.sync(mirror)
    server = place.serve()
    with Interposer(after="InRelease", then=lambda: upstream.advance(mirror)) as between:
        apt = Apt(place.workdir / "apt", place.keyring, f"deb {server.url('debian')} stable main", Acquire__http__Proxy=between.url, **settings)
        for _ in range(3):
            apt.forget_lists()
            apt.update()
            apt.download("kept")
    assert upstream.number >= 3, f"only {upstream.number} publishes came in between"


@story("apt that asks by hash does not notice a publish in the middle of its update")
def by_hash_survives_a_publish_in_the_middle(place: Place) -> None:
    update_across_a_publish(place, SUITE, spec={})


@story("apt without by-hash does not notice one either, by the transaction redirect")
def without_by_hash_survives_a_publish_in_the_middle(place: Place) -> None:
    always = {"serving": {"transactions": "Always"}}
    update_across_a_publish(place, SUITE, spec=always, **{"Acquire__By-Hash": "no"})


@story("nor does apt at an archive that offers no by-hash, without being told to")
def an_archive_without_by_hash_survives_a_publish_in_the_middle(place: Place) -> None:
    update_across_a_publish(place, Suite("stable", suite="stable", codename="stable", by_hash=False), spec={})
