"""How packages of pacman's repositories come: by rsync, and large ones."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
import time
import urllib.request
from pathlib import Path

from .arch import ArchMirror, an_upstream, arch_mirror, checked, servers
from .arch_trust import Web
from .arch_upstream import ArchUpstream, Package
from .pacman import Pacman
from .place import Place, plain_environment
from .probing import rsync_daemon
from .registry import story

GIB, MIB = 1 << 30, 1 << 20
#: What a run may take more for a package of a gigabyte, in MiB: a part of what it would be in memory.
MORE = 32


@story("packages, signatures and databases come from an rsync endpoint; the authority is asked by HTTP for what is new, and for nothing else")
def packages_come_by_rsync(place: Place) -> None:
    upstream = an_upstream(place, pool="pool/packages", ring=place.ring)
    upstream.add("core", "glibc", "2.38-7", architecture="x86_64")
    upstream.add("core", "c++utils", "1:0.1.r5-1")
    endpoint = {"name": "near", "url": f"{rsync_daemon(place, arch=place.upstreams / 'arch')}/arch/", "priority": 1}
    mirror = arch_mirror(place, "arch", "core", endpoints=(endpoint,))
    place.sync(mirror)
    server = place.serve()
    result = checked(place, server, mirror)
    assert (result.packages, result.signatures) == (2, 2), result
    pacman = Pacman(place.workdir / "pacman", servers(server, mirror), ring=place.ring)
    pacman.clean("-Sy")
    pacman.clean("-S", "glibc", "c++utils")

    upstream.add("core", "glibc", "2.39-1", architecture="x86_64")
    place.sync(mirror)
    place.wait_until_served(server, mirror)
    pacman.clean("-Syu")
    assert pacman.installed()["glibc"] == "2.39-1", pacman.installed()
    by_http = [path for path in place.requests() if "pkg.tar" in path]
    assert not by_http, f"packages came by HTTP although an rsync endpoint has them: {by_http}"


@story("a package of a gigabyte is fetched, checked and judged in the memory that small ones take")
def a_package_of_a_gigabyte(place: Place) -> None:
    web = Web(place.ring)
    packager = web.packager("three", 3)
    upstream = an_upstream(place, ring=place.ring, owner=packager)
    upstream.add("small", "tool")
    large = enlarged(upstream, "large", "game", GIB)
    peaks = {}
    for repo in ("small", "large"):
        mirror = ArchMirror(repo, place.url("arch"), (repo,), trust=web.trust(), keys=web.files())
        peaks[repo] = peak_of_run(place, mirror)
    assert peaks["large"] <= peaks["small"] + MORE, f"MiB at most: {peaks}"
    server = place.serve()
    place.wait_until_served(server, mirror)
    assert sum_of(server.url(f"large/large/os/x86_64/{large.file.name}")) == sum_of(large.file.as_uri())


def enlarged(upstream: ArchUpstream, repo: str, name: str, size: int) -> Package:
    """A package with one file of so many zeros, of which the disk holds none."""
    package = upstream.build(repo, name, "1-1")
    described = subprocess.run(["bsdtar", "-xOf", package.file, ".PKGINFO"], check=True, capture_output=True).stdout
    with package.file.open("wb") as file:
        for path, length, content in ((".PKGINFO", len(described), described), ("usr/share/game", size, b"")):
            head = tarfile.TarInfo(path)
            head.size = length
            file.write(head.tobuf(tarfile.GNU_FORMAT) + content)
            file.write(bytes(-len(content) % tarfile.BLOCKSIZE))
        file.truncate(file.tell() + size + 2 * tarfile.BLOCKSIZE)
    return upstream.list(package)


def peak_of_run(place: Place, mirror: ArchMirror) -> int:
    """MiB that a run had in memory at most."""
    argv = [place.binary, "sync", "-f", place.manifest_file(mirror), "--mirror", mirror.name, "--data", place.data]
    process = subprocess.Popen([str(part) for part in argv], stdin=subprocess.DEVNULL, stdout=place.log, stderr=place.log, env=plain_environment())
    status, peak = Path(f"/proc/{process.pid}/status"), 0
    while process.poll() is None:
        lines = status.read_text().splitlines()
        # Between its end and our asking it has no memory.
        peak = next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), peak)
        time.sleep(0.01)
    assert process.returncode == 0 and peak, f"the run of {mirror.name} ended with {process.returncode}; see mirrorfleet.log"
    return peak


def sum_of(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as content:
        sums = hashlib.sha256()
        while chunk := content.read(MIB):
            sums.update(chunk)
        return sums.hexdigest()
