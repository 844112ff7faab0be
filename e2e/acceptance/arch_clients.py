"""How clients and mirrors of pacman's repositories are written down: what we read of a machine, and what we print for one."""

from __future__ import annotations

import json
import platform
import re
import urllib.error
import urllib.request

from lab.waiting import wait_until

from .arch import ArchMirror, an_upstream, arch_mirror, begun, checked, servers
from .manners import ask
from .pacman import Pacman
from .place import Place, Server, free_port
from .registry import story


@story("`mirrorfleet init` reads a pacman.conf with its mirrorlist, and what it writes works")
def init_reads_a_pacman_conf(place: Place) -> None:
    upstream = an_upstream(place, ring=place.ring)
    upstream.add("core", "one")
    upstream.add("extra", "two")
    etc = place.workdir / "machine" / "etc"
    (etc / "pacman.d").mkdir(parents=True)
    (etc / "pacman.d" / "mirrorlist").write_text(f"# a comment\nServer = {place.url('arch')}$repo/os/$arch\n")
    sections = "".join(f"[{repo}]\nInclude = /etc/pacman.d/mirrorlist\n" for repo in ("core", "extra"))
    (etc / "pacman.conf").write_text(f"[options]\nArchitecture = x86_64\nSigLevel = Required DatabaseOptional\n{sections}")
    name, _, _ = begun(place, etc / "pacman.conf")
    server = place.serve()
    mirror = ArchMirror(name, place.url("arch"), ("core", "extra"))
    checked(place, server, mirror)


@story("`mirrorfleet init` makes a mirror of core and extra of a mirrorlist alone, from which pacman installs")
def init_reads_a_mirrorlist_alone(place: Place) -> None:
    machine = platform.machine()
    upstream = an_upstream(place, ring=place.ring, architecture=machine)
    for repo in ("core", "extra"):
        upstream.add(repo, f"tool-{repo}")
    mirrorlist = place.workdir / "mirrorlist"
    mirrorlist.write_text(f"## Arch Linux repository mirrorlist\n\n## Worldwide\n#Server = https://example.org/$repo/os/$arch\nServer = {place.url('arch')}$repo/os/$arch\n")
    name, _, said = begun(place, mirrorlist)
    assert "core and extra" in said, said
    server = place.serve()
    mirror = ArchMirror(name, place.url("arch"), ("core", "extra"), architectures=(machine,))
    checked(place, server, mirror)
    pacman = Pacman(place.workdir / "pacman", servers(server, mirror), ring=place.ring, architecture=machine)
    pacman.clean("-Sy")
    pacman.clean("-S", "tool-core", "tool-extra")


@story("what the status page prints for clients is all that a pacman needs, with a mirrorlist and with the section of a repository that lies elsewhere; what content.exclude names is asked for by nobody")
def the_printed_configuration_works(place: Place) -> None:
    upstream = an_upstream(place, ring=place.ring, paths={"own": "custom/$arch"})
    for repo, name in (("core", "one"), ("core", "left-out"), ("extra", "two"), ("own", "three")):
        upstream.add(repo, name)
    rules = {"arch": {"layout": {"paths": [{"repo": "own", "path": "custom/$arch"}]}}, "content": {"exclude": ["core/os/*/left-out-*"]}}
    mirror = arch_mirror(place, "arch", "core", "extra", "own", **rules)
    served, page = free_port(), free_port()
    listen = ["--listen", f"127.0.0.1:{served}", "--status-listen", f"127.0.0.1:{page}"]
    process = place.start("local", [place.binary, "local", "-f", place.manifest_file(mirror), "--data", place.data, *listen])
    server = Server(served, process.pid)

    def printed() -> list[dict]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{page}/mirrors/-/arch.json", timeout=20) as answer:
                told = json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            return []
        return told["copies"][0]["clients"] if told.get("snapshot") else []

    files = {file["path"]: file for file in wait_until(printed, 90, "the page to print what clients need", interval=0.05)}
    pacman = Pacman(place.workdir / "pacman", {}, ring=place.ring)
    conf = pacman.root / "pacman.conf"
    text = conf.read_text()
    for path, file in files.items():
        if path == "/etc/pacman.conf":
            text += file["text"]
            continue
        place_of_it = pacman.root / path.lstrip("/")
        place_of_it.parent.mkdir(parents=True, exist_ok=True)
        place_of_it.write_text(file["text"])
        sections = re.search(r"For the sections (.+) of /etc/pacman\.conf: Include = (\S+)\.(?: |$)", file["note"])
        assert sections and sections[2] == path, file
        text += "".join(f"\n[{repo}]\nInclude = {place_of_it}\n" for repo in sections[1].split(", "))
    conf.write_text(text)
    pacman.clean("-Sy")
    assert set(pacman.offered()) == {"core/one", "core/left-out", "extra/two", "own/three"}, pacman.offered()
    pacman.clean("-S", "one", "two", "three")
    left_out = "core/os/x86_64/left-out-1-1-any.pkg.tar.zst"
    for name in (left_out, f"{left_out}.sig"):
        answer = ask(server, f"arch/{name}")
        assert answer.status == 404 and b"manifest" in answer.body, answer
    assert not [path for path in place.requests() if "left-out" in path], place.requests()
