"""OpenPGP keys of archive owners, several in one GNUPGHOME, so that a file can be signed by more than one."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from archive import run


class KeyRing:
    """A GNUPGHOME. Owners are words; `at` sets gpg's clock, for keys whose time is over."""

    def __init__(self) -> None:
        # Not in the story's directory: the agent's socket must have a short name.
        self.home = Path(tempfile.mkdtemp(prefix="mirrorfleet-gnupg-"))

    def make(self, owner: str, *, expires: str = "never", at: str = "", algorithm: str = "ed25519") -> str:
        self._gpg("--quick-generate-key", address(owner), algorithm, "sign", expires, at=at)
        return owner

    def renew(self, owner: str, expires: str) -> None:
        self._gpg("--quick-set-expire", self.fingerprints(owner)[0], expires)

    def fingerprints(self, owner: str) -> list[str]:
        """Of the primary key and its subkeys."""
        listed = self._gpg("--with-colons", "--list-keys", address(owner))
        return [line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:")]

    def revoke(self, owner: str) -> None:
        """By the revocation that gpg made with the key, which is kept unusable."""
        revocation = self.home / "openpgp-revocs.d" / f"{self.fingerprints(owner)[0]}.rev"
        revocation.write_text(revocation.read_text().replace("\n:-----BEGIN", "\n-----BEGIN"))
        self._gpg("--import", str(revocation))

    def certify(self, owner: str, by: str, *options: str, at: str = "") -> None:
        """`by` says that the key is the owner's."""
        self._gpg("--local-user", address(by), *options, "--quick-sign-key", self.fingerprints(owner)[0], at=at)

    def sign_file(self, key: str, source: Path, target: Path, at: str = "") -> None:
        """As makepkg and repo-add sign. `key` with a `!` at its end is exactly that subkey."""
        self._gpg("--local-user", key, "--output", str(target), "--detach-sign", str(source), at=at)

    def fits(self, signature: Path, source: Path) -> bool:
        """Whether gpg finds it good."""
        command = ["gpg", "--homedir", self.home, "--batch", "--quiet", "--verify", signature, source]
        return subprocess.run([str(part) for part in command], check=False, capture_output=True).returncode == 0

    def public(self, *owners: str) -> str:
        """Their certificates, armoured: what goes into a Secret."""
        return self._gpg("--armor", "--export", *map(address, owners))

    def export(self, target: Path, *owners: str) -> Path:
        """The same as a file that gpgv reads."""
        self._gpg("--output", str(target), "--export", *map(address, owners))
        return target

    def clearsign(self, owners: tuple[str, ...], source: Path, target: Path, at: str = "") -> None:
        self._sign(owners, target, "--clearsign", str(source), at=at)

    def detach_sign(self, owners: tuple[str, ...], source: Path, target: Path, at: str = "") -> None:
        self._sign(owners, target, "--armor", "--detach-sign", str(source), at=at)

    def _sign(self, owners: tuple[str, ...], target: Path, *arguments: str, at: str) -> None:
        users = [option for owner in owners for option in ("--local-user", address(owner))]
        self._gpg(*users, "--digest-algo", "SHA512", "--output", str(target), *arguments, at=at)

    def _gpg(self, *arguments: str, at: str = "") -> str:
        base = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
        clock = ["--faked-system-time", at] if at else []
        return run([*base, *clock, *arguments])

    def close(self) -> None:
        """Ends the gpg-agent that gpg started, and removes the keys."""
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "gpg-agent"], check=False, capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)


def address(owner: str) -> str:
    return f"{owner} <{owner}@example.org>"


@dataclass(frozen=True)
class Signers:
    """Who signs, and when by their own clock."""

    ring: KeyRing
    owners: tuple[str, ...]
    at: str = ""

    def sign(self, release: Path, *, inline: bool, detached: bool) -> None:
        folder = release.parent
        if inline:
            self.ring.clearsign(self.owners, release, folder / "InRelease", self.at)
        if detached:
            self.ring.detach_sign(self.owners, release, folder / "Release.gpg", self.at)
