"""A real pacman with directories of its own."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from archive import run

from .keys import KeyRing
from .place import plain_environment

#: Lines by which pacman says that something went wrong.
COMPLAINT = re.compile(r"^error:|failed retrieving|failed to|invalid or corrupted|unknown trust|marginal trust|is invalid|inconsistent", re.MULTILINE)


class Pacman:
    def __init__(self, root: Path, servers: dict[str, str], *, ring: KeyRing | None = None, architecture: str = "x86_64", proxy: str = "", enter: Callable[[list], list] | None = None, level: str = "", gpgdir: Path | None = None) -> None:
        """`servers` are the addresses of repositories as they stand in a pacman.conf. With a ring, packages need its signature.
        `gpgdir` is one that pacman-key has made. `enter` makes of a command the one that runs it where it is to run."""
        self.root = root
        self.enter = enter or list
        self.proxy = {"http_proxy": proxy} if proxy else {}
        self.cache = root / "cache"
        self.log = root / "pacman.log"
        for folder in (root / "var/lib/pacman", self.cache, root / "hooks"):
            folder.mkdir(parents=True)
        self.gpgdir = gpgdir or root / "gnupg"
        self.gpgdir.mkdir(mode=0o700, exist_ok=True)
        if ring:
            self._trust(ring)
        level = level or ("Required DatabaseNever" if ring or gpgdir else "Never")
        options = f"[options]\nArchitecture = {architecture}\nSigLevel = {level}\nParallelDownloads = 5\n"
        repositories = [f"[{repo}]\nServer = {server}\n" for repo, server in servers.items()]
        (root / "pacman.conf").write_text("\n".join([options, *repositories]))

    def include(self, mirrorlist: Path) -> None:
        """In the place of all servers."""
        conf = self.root / "pacman.conf"
        conf.write_text(re.sub(r"^Server = .*$", f"Include = {mirrorlist}", conf.read_text(), flags=re.MULTILINE))

    def _trust(self, ring: KeyRing) -> None:
        keys = self.root / "keys.asc"
        keys.write_text(ring.public("archive"))
        # An agent would be for secret keys, of which there are none; its socket would need a short name.
        gpg = ["gpg", "--homedir", self.gpgdir, "--batch", "--quiet", "--no-autostart"]
        run([*gpg, "--import", keys])
        listed = run([*gpg, "--with-colons", "--list-keys"])
        owners = "".join(f"{line.split(':')[9]}:6:\n" for line in listed.splitlines() if line.startswith("fpr:"))
        run([*gpg, "--import-ownertrust"], input=owners)

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        folders = {
            "--root": self.root, "--dbpath": self.root / "var/lib/pacman", "--cachedir": self.cache, "--gpgdir": self.gpgdir,
            "--logfile": self.root / "transactions.log", "--hookdir": self.root / "hooks", "--config": self.root / "pacman.conf",
        }  # fmt: skip
        options = [part for pair in folders.items() for part in map(str, pair)]
        silence = ["--noconfirm", "--noprogressbar"] if arguments[0].startswith("-S") and "l" not in arguments[0] else []
        command = ["pacman", *options, *silence, "--color", "never", *arguments]
        done = subprocess.run(
            self.enter(command), capture_output=True, text=True, stdin=subprocess.DEVNULL, env={**plain_environment(), **self.proxy, "LC_ALL": "C.UTF-8"}
        )  # fmt: skip
        with self.log.open("a") as log:
            print("$", " ".join(arguments), f"-> {done.returncode}\n{done.stdout}{done.stderr}", file=log)
        return done

    def clean(self, *arguments: str) -> str:
        """A call that must succeed without any complaint; returns what it said."""
        done = self.run(*arguments)
        said = done.stdout + done.stderr
        assert done.returncode == 0 and not COMPLAINT.search(said), f"pacman {' '.join(arguments)} ended with {done.returncode}; see {self.log}\n{said}"
        return said

    def installed(self) -> dict[str, str]:
        lines = self.clean("-Q").splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def offered(self) -> dict[str, str]:
        """What its databases say, by repository/name."""
        lines = [line.split(" ") for line in self.clean("-Sl").splitlines()]
        return {f"{repo}/{name}": version for repo, name, version, *_ in lines}
