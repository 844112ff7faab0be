"""The Debian packages that the lab and its scenarios use; only what is missing is installed."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

# Package -> a file that tells that it is there. Asking for files keeps the check fast, and accepts a program
# that came in another way.
PACKAGES: dict[str, str] = {
    "apt-mirror": "/usr/bin/apt-mirror",
    "apt-utils": "/usr/bin/apt-ftparchive",
    "aptly": "/usr/bin/aptly",
    "aria2": "/usr/bin/aria2c",
    "buildah": "/usr/bin/buildah",
    "busybox-static": "/bin/busybox",
    "chromium-headless-shell": "/usr/bin/chromium-headless-shell",
    "conntrack": "/usr/sbin/conntrack",
    "containerd": "/usr/bin/containerd",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "curl": "/usr/bin/curl",
    "debmirror": "/usr/bin/debmirror",
    "debootstrap": "/usr/sbin/debootstrap",
    "dpkg-dev": "/usr/bin/dpkg-source",
    "e2fsprogs": "/usr/sbin/mkfs.ext4",
    "g++": "/usr/bin/g++",
    "gcc": "/usr/bin/gcc",
    "gnupg": "/usr/bin/gpg",
    "gpgv": "/usr/bin/gpgv",
    "iproute2": "/usr/sbin/ip",
    "libarchive-tools": "/usr/bin/bsdtar",
    "libc6-dev": "/usr/include/stdio.h",
    "makepkg": "/usr/bin/repo-add",
    "mount": "/usr/bin/mount",
    "nftables": "/usr/sbin/nft",
    "nginx-light": "/usr/sbin/nginx",
    "openssh-server": "/usr/sbin/sshd",
    "openssl": "/usr/bin/openssl",
    "pacman-package-manager": "/usr/bin/pacman",
    "prometheus": "/usr/bin/prometheus",
    "prometheus-alertmanager": "/usr/bin/prometheus-alertmanager",
    "reprepro": "/usr/bin/reprepro",
    "rsync": "/usr/bin/rsync",
    "runc": "/usr/sbin/runc",
    "squid": "/usr/sbin/squid",
    "sqv": "/usr/bin/sqv",
    "strace": "/usr/bin/strace",
    "util-linux": "/usr/bin/setpriv",
    "xz-utils": "/usr/bin/xz",
}

_POLICY = Path("/usr/sbin/policy-rc.d")
_OUR_POLICY = "#!/bin/sh\n# mirrorfleet-e2e: packages that it installs must not start their services\nexit 101\n"


def missing(packages: dict[str, str] = PACKAGES) -> list[str]:
    return [package for package, file in packages.items() if not os.path.exists(file)]


def install_missing(report=print, packages: dict[str, str] = PACKAGES) -> None:
    """Install what is missing. Services of these packages (nginx, prometheus, containerd, squid) are not started."""
    wanted = missing(packages)
    if not wanted:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise RuntimeError(f"missing programs, and no apt-get as root to install them: {', '.join(wanted)}")
    report(f"installing {' '.join(wanted)}")
    # Somebody else's policy is left alone; one that a killed run of ours left behind is ours to remove.
    ours = not _POLICY.exists() or _POLICY.read_text() == _OUR_POLICY
    try:
        if ours:
            _POLICY.write_text(_OUR_POLICY)
            _POLICY.chmod(0o755)
        _apt_get("update")
        _apt_get("install", "-y", "--no-install-recommends", *wanted)
    finally:
        if ours:
            _POLICY.unlink(missing_ok=True)
    if still := missing(packages):
        raise RuntimeError(f"installed, but still missing: {', '.join(f'{p} ({packages[p]})' for p in still)}")


def _apt_get(*arguments: str) -> None:
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    # RUNLEVEL=1 keeps services down also where somebody else's policy allows them.
    environment["RUNLEVEL"] = "1"
    # Another run may be installing as well: wait for it.
    command = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", *arguments]
    result = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if result.returncode != 0:
        raise RuntimeError(f"`{' '.join(command)}` failed:\n" + "\n".join(result.stdout.splitlines()[-20:]))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="lab packages", description="Install missing Debian packages.")
    parser.parse_args(arguments)
    install_missing(lambda line: print(line, file=sys.stderr))
    return 0
