"""`mirrorfleet prewarm`: what a list or a lock file names is there before the upstream goes away."""

from __future__ import annotations

from npm_registry import Registry

from .arch import ArchMirror, an_upstream
from .manners import ask
from .npm import Copy
from .npm_clients import CLIENTS, project, required
from .place import Mirror, Place
from .pull_through import HOUR, PULL, SUITE, Leaving, an_archive, apt_of, lazily
from .registry import story


@story("prewarm: a list of packages, or what dpkg has selected, is there when the upstream goes away; what cannot be had is told with why")
def warmed_for_apt(place: Place) -> None:
    archive = an_archive(place, ["wanted", "held", "removed", "other"])
    archive.add(SUITE, "wanted", "2.0", kilobytes=2)
    archive.publish(SUITE)
    upstream = Leaving(place)
    mirror = Mirror("debian", f"http://127.0.0.1:{upstream.port}/debian/", place.keyring, ("stable",), spec={**PULL, "sync": HOUR})
    place.sync(mirror)
    server = lazily(place, mirror)
    url = server.url("debian")
    selections = place.workdir / "selections"
    selections.write_text("held:amd64\t\thold\nremoved\t\tdeinstall\nwanted\t\tinstall\n")
    done = place.mirrorfleet("prewarm", url, selections, "--suite", "stable")
    assert done.returncode == 0, done.stdout + done.stderr
    fetched = {path.split("/")[-1].split("_")[0] for path in (line.split('"')[1].split(" ")[1] for line in upstream.payload_requests())}
    assert fetched == {"wanted", "held"}, upstream.payload_requests()
    assert "can be had from the mirror" in done.stdout
    exact = place.workdir / "exact"
    exact.write_text("other=1.0 # of which there is this one\nwanted=9.9\nnobody\n")
    done = place.mirrorfleet("prewarm", url, exact, "--suite", "stable", "--arch", "amd64")
    assert done.returncode == 1 and "wanted 9.9: the mirror lists no such package" in done.stdout and "nobody: the mirror" in done.stdout, done
    gone = next(package.file for package in archive.packages["stable"] if package.name == "removed")
    gone.unlink()
    exact.write_text("removed\n")
    done = place.mirrorfleet("prewarm", url, exact, "--suite", "stable")
    assert done.returncode == 2 and "404" in done.stdout and gone.name in done.stdout, done
    for wrong, why in (("two words here\n", "line 1"), ("", "no package is named")):
        exact.write_text(wrong)
        done = place.mirrorfleet("prewarm", url, exact, "--suite", "stable")
        assert done.returncode == 1 and why in done.stderr, done
    none = place.mirrorfleet("prewarm", url, selections, "--suite", "unstable")
    assert none.returncode == 2 and "dists/unstable/" in none.stderr, none
    upstream.leave()
    apt = apt_of(place, server)
    apt.update()
    apt.download("wanted")
    apt.download("held")
    apt.download("other")


@story("prewarm: packages of pacman's repositories by name")
def warmed_for_pacman(place: Place) -> None:
    upstream = an_upstream(place, ring=place.ring)
    for repo, name in (("core", "base"), ("core", "unwanted"), ("extra", "tool")):
        upstream.add(repo, name)
    mirror = ArchMirror("arch", place.url("arch"), ("core", "extra"), spec={**PULL, "sync": HOUR})
    place.sync(mirror)
    server = lazily(place, mirror)
    names = place.workdir / "names"
    names.write_text("base\ntool 1-1\n")
    done = place.mirrorfleet("prewarm", server.url("arch/$repo/os/$arch"), names, "--repo", "core", "--repo", "extra")
    assert done.returncode == 0, done.stdout + done.stderr
    fetched = sorted(path.split("/")[-1].split("-")[0] for path in place.requests() if path.endswith(".zst"))
    assert fetched == ["base", "tool"], fetched
    assert ask(server, "arch/core/os/x86_64/base-1-1-any.pkg.tar.zst").status == 200


@story("prewarm: lock files of npm, pnpm and Yarn; the clients install from them while the upstream is gone")
def warmed_for_npm(place: Place) -> None:
    upstream = Registry()
    for version in ("1.0.0", "1.1.0"):
        upstream.publish("left", version)
    upstream.publish("@scope/inner", "3.0.0", dependencies={"left": "~1.0.0"})
    upstream.publish("top", "0.1.0", dependencies={"@scope/inner": "^3.0.0", "left": "^1.0.0"})
    upstream.publish("alone", "1.0.0")
    try:
        for name in ("npm12", "pnpm", "yarn1", "yarn4"):
            client = CLIENTS[name]
            client.program()
            folder = project(place.workdir, name, {"top": "^0.1.0"})
            client.run(folder, *client.install, registry=f"{upstream.url}/")
            client.forget(folder)
        copy = Copy(place, upstream)
        asked = upstream.count(".tgz")
        for name in ("npm12", "pnpm", "yarn1", "yarn4"):
            done = place.mirrorfleet("prewarm", copy.url().removesuffix("/"), place.workdir / name / CLIENTS[name].lock)
            assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
            assert upstream.count(".tgz") == asked + 4, f"{name}: each of the four tarballs came once: {upstream.asked_paths()}"
        names = place.workdir / "names"
        names.write_text("alone\n@scope/inner@3.0.0\n")
        done = place.mirrorfleet("prewarm", copy.url(), names)
        assert done.returncode == 0 and upstream.count("alone-1.0.0.tgz") == 1, done
        names.write_text("nobody\nleft@9.9.9\n")
        done = place.mirrorfleet("prewarm", copy.url(), names)
        assert done.returncode == 2 and "nobody: the mirror lists" in done.stdout and "no version of left has a tarball" in done.stdout, done
        copy.content = {"deny": [{"package": "alone", "reason": "it is lonely"}]}
        copy.again()
        names.write_text("alone@1.0.0\n")
        done = place.mirrorfleet("prewarm", copy.url(), names)
        assert done.returncode == 3 and "it is lonely" in done.stdout, done
        upstream.stop()
        for name in ("npm12", "pnpm", "yarn1", "yarn4"):
            client, folder = CLIENTS[name], place.workdir / name
            # Their lock files name the upstream itself.
            lock = folder / client.lock
            lock.write_text(lock.read_text().replace(f"{upstream.url}/", copy.url()))
            client.run(folder, *client.repeat, registry=copy.url())
            assert required(folder, "top") == "top@0.1.0"
    finally:
        upstream.stop()
