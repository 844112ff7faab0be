"""What a run leaves alone where pacman's repositories have nothing new, or little."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .arch import ArchMirror, an_upstream, arch_mirror, checked
from .arch_trust import of_a_packager
from .manners import ask
from .place import Place
from .registry import story

#: What a run says of itself each time, below `state/`; and what is remembered of the clocks, where they moved.
OF_EACH_RUN = {"report.json", "success.json", "trace.json", "own-files.json"}
CLOCKS = {"units.json", "units.copy.json"}


def tree(folder: Path) -> dict[str, tuple]:
    """What tells of each file and folder whether anybody wrote there."""
    found = {}
    for path in folder.rglob("*"):
        known = path.lstat()
        sums = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(folder))] = (known.st_ino, known.st_mtime_ns, known.st_ctime_ns, known.st_size, sums)
    return found


@story("a run that finds nothing new writes nothing but the clocks and its own report: not a file, not a folder of the store is touched")
def an_unchanged_run_writes_the_clocks(place: Place) -> None:
    web, upstream = of_a_packager(place, signs_databases=True, pool="pool/packages")
    for repo in ("core", "extra"):
        upstream.add(repo, f"tool-{repo}")
    mirror = ArchMirror(
        "arch", place.url("arch"), ("core", "extra"), arch={"layout": {"pool": "pool/packages"}}, trust=web.trust(databases="Required"), keys=web.files()
    )
    place.sync(mirror)
    store = place.data / "arch"

    def written() -> set[str]:
        before = tree(store)
        assert place.sync(mirror).reason == "Unchanged"
        after = tree(store)
        # The clocks as they are served have the second in which that was confirmed, so that two runs of one second leave them.
        return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} | {"state/own-files.json"}

    state = lambda *names: {"state", *(f"state/{name}" for name in names)}  # noqa: E731
    assert written() == state(*OF_EACH_RUN)
    upstream.beat()
    assert written() == state(*OF_EACH_RUN, *CLOCKS)
    # What is new is nothing that is copied.
    upstream.add("testing", "other")
    assert written() == state(*OF_EACH_RUN, *CLOCKS)
    upstream.add("core", "another")
    before = tree(store)
    place.sync(mirror)
    assert {path for path in before if tree(store).get(path) != before[path]} > state("units.json"), "somebody would see what is written"


@story("where a database changes, packages and signatures that it had before are neither asked for nor read again")
def what_a_database_had_before_is_not_read_again(place: Place) -> None:
    web, upstream = of_a_packager(place)
    package = upstream.add("core", "large", content="x" * 100_000)
    upstream.add("core", "tool")
    mirror = ArchMirror("arch", place.url("arch"), ("core",), trust=web.trust(), keys=web.files())
    place.sync(mirror)
    blobs = {file.read_bytes(): file for file in (place.data / "arch" / "blobs").rglob("*") if file.is_file()}
    spoiled = {blobs[file.read_bytes()]: file.read_bytes() for file in (package.file, package.signature)}

    def write(contents: dict[Path, bytes]) -> None:
        for blob, content in contents.items():
            blob.chmod(0o644)
            blob.write_bytes(content)

    # Whoever read them would find them to be other ones.
    write({blob: bytes(len(content)) for blob, content in spoiled.items()})
    for change in (lambda: upstream.add("core", "new"), lambda: upstream.add("core", "tool", "2-1"), lambda: upstream.remove("core", "new")):
        change()
        seen = len(place.requests())
        place.sync(mirror)
        asked = [path for path in place.requests()[seen:] if "large" in path]
        assert not asked, asked
        assert all(not any(blob.read_bytes()) for blob in spoiled), "mended, so read"
    assert place.mirrorfleet("verify", "--data", place.data).returncode == 4, "who reads them sees it"
    write(spoiled)
    checked(place, place.serve(), mirror)


@story("an upstream that has a clock and does not renew it is believed to stand still, until the manifest says that its clock says nothing")
def a_clock_that_nobody_renews(place: Place) -> None:
    upstream = an_upstream(place)
    upstream.add("core", "one")
    believed, not_believed = (
        arch_mirror(place, "arch", "core", arch={"include": {"signatures": False}, "layout": layout}) for layout in ({}, {"clock": "none"})
    )
    place.sync(believed)
    stood = (upstream.root / "lastupdate").read_text()
    upstream.add("core", "two")
    (upstream.root / "lastupdate").write_text(stood)
    assert place.sync(believed).reason == "Unchanged"
    server = place.serve()
    seen = len(place.requests())
    place.sync(not_believed)
    checked(place, server, not_believed, signed=False)
    assert ask(server, "arch/core/os/x86_64/two-1-1-any.pkg.tar.zst").status == 200
    assert ask(server, "arch/lastupdate").status == 404, "what nobody believes is handed on to nobody"
    assert not [path for path in place.requests()[seen:] if path.startswith("/arch/last")], place.requests()[seen:]
    assert place.sync(not_believed).reason == "Unchanged"
