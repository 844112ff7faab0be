"""A real apt with directories of its own, so that nothing of this machine's set-up is used or changed."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from pathlib import Path

from .place import plain_environment

#: Lines by which apt says that something went wrong. `N:` is a note.
COMPLAINT = re.compile(r"^(?:[EW]:|Err:|\s+(?:404|503|502|500)\s)|Hash Sum mismatch|NO_PUBKEY|BADSIG|EXPKEYSIG", re.MULTILINE)


class Apt:
    #: What the calls of apt begin with.
    prefix: tuple[str, ...] = ()

    def __init__(self, root: Path, keyring: str, *sources: str, **settings: str) -> None:
        """`sources` are lines such as `deb URL trixie main`; `settings` go into apt.conf, with `__` for `::`."""
        self.root = root
        self.lists = root / "state" / "lists"
        self.archives = root / "cache" / "archives"
        self.log = root / "apt.log"
        for folder in (self.lists / "partial", self.archives / "partial", root / "etc/preferences.d", root / "etc/trusted.gpg.d"):
            folder.mkdir(parents=True)
        (root / "status").touch()
        (root / "keyring.asc").write_text(keyring)
        self.set_sources(*sources)
        self.config = root / "apt.conf"
        whole = {
            "Dir::Etc": f"{root}/etc", "Dir::Etc::parts": "/dev/null", "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": f"{root}/state", "Dir::Cache": f"{root}/cache", "Dir::Log": f"{root}/log",
            "Dir::State::status": f"{root}/status", "APT::Architecture": "amd64", "APT::Architectures": "amd64",
            "APT::Sandbox::User": getpass.getuser(), "Acquire::Retries": "0", "Acquire::http::Proxy": "DIRECT",
            "Acquire::Languages": "none", "Acquire::PDiffs": "false", "APT::Get::Assume-Yes": "true", "quiet": "1",
            **{name.replace("__", "::"): value for name, value in settings.items()},
        }  # fmt: skip
        self.config.write_text("".join(f'{name} "{value}";\n' for name, value in whole.items()))

    def set_sources(self, *sources: str) -> None:
        """Each line is `deb URL SUITE COMPONENT...`; the options are ours."""
        signed = [line.replace(" ", f" [signed-by={self.root}/keyring.asc] ", 1) for line in sources]
        (self.root / "etc" / "sources.list").write_text("\n".join(signed) + "\n")

    def run(self, tool: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
        # Options on the command line win over those of the machine's own parts.
        command = [*self.prefix, tool, "-o", "Dir::Etc::parts=/dev/null", *self._overruled(), *arguments]
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL,
            env={**plain_environment(), "APT_CONFIG": str(self.config), "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        with self.log.open("a") as log:
            print("$", " ".join(command), f"-> {done.returncode}\n{done.stdout}{done.stderr}", file=log)
        return done

    def _overruled(self) -> list[str]:
        proxies = [line for line in self.config.read_text().splitlines() if line.startswith("Acquire::http::Proxy ")]
        return ["-o", "Acquire::http::Proxy=" + proxies[0].split('"')[1]]

    def clean(self, tool: str, *arguments: str, cwd: Path | None = None) -> str:
        """A call that must succeed without any complaint; returns what it said."""
        done = self.run(tool, *arguments, cwd=cwd)
        said = done.stdout + done.stderr
        assert done.returncode == 0 and not COMPLAINT.search(said), f"{tool} {' '.join(arguments)} ended with {done.returncode}; see {self.log}\n{said}"
        return said

    def update(self) -> str:
        return self.clean("apt-get", "update")

    def forget_lists(self) -> None:
        shutil.rmtree(self.lists)
        (self.lists / "partial").mkdir(parents=True)

    def download(self, package: str) -> Path:
        """`install --download-only`, which checks the file against the signed index."""
        for old in self.archives.glob("*.deb"):
            old.unlink()
        self.clean("apt-get", "install", "--download-only", package)
        found = sorted(self.archives.glob(f"{package}_*.deb"))
        assert len(found) == 1, f"apt downloaded {found} for {package}; see {self.log}"
        return found[0]

    def install_from(self, package: str) -> Path:
        self.update()
        return self.download(package)
