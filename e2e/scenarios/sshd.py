"""A real sshd in the lab, with one key that begins one command, as docs/upstream.md has it for ftpsync's pushes."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from archive import run
from environment import mirrorfleet_binary
from lab import wait_until
from world import ROOT

#: In the lab's own network.
PORT = 2222


class Pusher:
    """Whoever has the key: an upstream, which sends words over ssh and gets no shell."""

    def __init__(self, lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder

    def command(self, *words: str) -> list:
        options = ("BatchMode=yes", "IdentitiesOnly=yes", f"UserKnownHostsFile={self.folder}/known_hosts", "StrictHostKeyChecking=yes")
        # With nothing of the machine's own set-up.
        ssh = ["ssh", "-F", "none", "-p", str(PORT), "-i", self.folder / "key", *(part for option in options for part in ("-o", option))]
        return [*ssh, "--", "root@127.0.0.1", *words]

    def say(self, *words: str) -> subprocess.CompletedProcess:
        return self.lab.exec(self.command(*words), check=False)


@contextmanager
def sshd(world, hook: str, token_file: Path) -> Iterator[Pusher]:
    folder = world.workdir / "sshd"
    folder.mkdir()
    for name in ("key", "host"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{PORT} {(folder / 'host.pub').read_text()}")
    (folder / "authorized_keys").write_text(documented(hook, token_file, (folder / "key.pub").read_text()))
    config = folder / "sshd_config"
    config.write_text(
        f"""
        Port {PORT}
        ListenAddress 127.0.0.1
        HostKey {folder}/host
        PidFile none
        AuthorizedKeysFile {folder}/authorized_keys
        StrictModes no
        UsePAM no
        PasswordAuthentication no
        KbdInteractiveAuthentication no
        PermitRootLogin forced-commands-only
        """
    )
    # /run is the lab's own.
    world.lab.exec(["mkdir", "-p", "-m", "0755", "/run/sshd"])
    world.lab.run_server("sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", config])
    try:
        connect = ["timeout", "5", "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{PORT}"]
        wait_until(lambda: world.lab.exec(connect, check=False).returncode == 0, 90, "sshd to listen")
        yield Pusher(world.lab, folder)
    finally:
        world.lab.stop_server("sshd")


def documented(hook: str, token_file: Path, key: str) -> str:
    """The line of the documentation, with addresses and a key that there are here."""
    text = (ROOT / "docs" / "upstream.md").read_text()
    [line] = re.findall(r'^restrict,command="mirrorfleet push .*$', text, re.MULTILINE)
    for theirs, ours in (
        ("mirrorfleet push", f"{mirrorfleet_binary()} push"),
        ("https://push.example.org/push/mirrors/debian", hook),
        ("~/.token", os.fspath(token_file)),
        ("ssh-ed25519 AAAA… push@upstream", key.strip()),
    ):
        assert line.count(theirs) == 1, (theirs, line)
        line = line.replace(theirs, ours)
    return f"{line}\n"
