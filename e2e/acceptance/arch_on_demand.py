"""Lazy mirrors of pacman's repositories with signed databases."""

from __future__ import annotations

from .arch import ArchMirror, an_upstream, servers
from .arch_trust import between, of_a_packager, populated
from .manners import ask
from .pacman import Pacman
from .place import Place
from .pull_through import HOUR, PULL, lazily
from .registry import story


@story("a lazy mirror with signed databases: a database and its signature are of one state also where the next one is published in between; who has no signature is told so at once, without a question to the upstream")
def a_lazy_mirror_with_signed_databases(place: Place) -> None:
    web, upstream = of_a_packager(place, signs_databases=True)
    upstream.add("core", "tool")
    plain = an_upstream(place, "plain", ring=place.ring, owner="packager")
    plain.add("core", "tool")
    files, lazy = web.files(), {**PULL, "sync": HOUR}
    signed = ArchMirror("arch", place.url("arch"), ("core",), trust=web.trust(databases="Required"), keys=files, spec=lazy)
    unsigned = ArchMirror("plain", place.url("plain"), ("core",), trust=web.trust(), keys=files, spec=lazy)
    versions = iter(range(2, 10))
    place.sync(signed)
    place.sync(unsigned)
    server = lazily(place, signed, unsigned)

    def packages() -> list[str]:
        return [path for path in place.requests() if path.endswith(".zst")]

    def publish() -> None:
        upstream.add("core", "tool", f"{next(versions)}-1")
        place.sync(signed)
        place.wait_until_served(server, signed)

    for mirror in (signed, unsigned):
        place.wait_until_served(server, mirror)
    assert not packages(), "a run fetches no packages"
    with populated(files, place.workdir / "keyring") as gpgdir:
        with between(server, publish) as through:
            pacman = Pacman(place.workdir / "pacman", {"core": f"{through}arch/$repo/os/$arch"}, gpgdir=gpgdir, level="Required")
            for _ in range(3):
                pacman.clean("-Sy")
            assert not packages()
            # The database may be of a state that is not the last one any more.
            pacman.clean("-S", "tool")
        assert len(packages()) == 1, packages()
        pacman = Pacman(place.workdir / "pacman-direct", servers(server, signed), gpgdir=gpgdir, level="Required")
        pacman.clean("-Sy")
        pacman.clean("-S", "tool")
        assert len(packages()) == 2, packages()

        # Of a database without a signature, as often as anybody asks.
        optional = Pacman(place.workdir / "pacman-optional", servers(server, unsigned), gpgdir=gpgdir, level="Required DatabaseOptional")
        seen = len(place.requests())
        for _ in range(3):
            optional.clean("-Sy")
            for name in ("core.db.sig", "core.files.sig", "core.db.tar.gz.sig"):
                answer = ask(server, f"plain/core/os/x86_64/{name}")
                assert answer.status == 404 and "max-age" not in answer.headers.get("Cache-Control", ""), (name, answer)
        assert len(place.requests()) == seen, "the upstream was asked for what no run found there"
        optional.clean("-S", "tool")
        # Once it is there, the next run has it, and nobody remembers that it was not.
        plain.signs_databases = True
        plain.add("core", "more")
        place.sync(unsigned)
        place.wait_until_served(server, unsigned)
        assert ask(server, "plain/core/os/x86_64/core.db.sig").body == plain.database("core").with_suffix(".gz.sig").read_bytes()
        strict = Pacman(place.workdir / "pacman-strict", servers(server, unsigned), gpgdir=gpgdir, level="Required")
        strict.clean("-Sy")
        strict.clean("-S", "more")
