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
    "apt-utils": "/usr/bin/apt-ftparchive",
    "buildah": "/usr/bin/buildah",
    "busybox-static": "/bin/busybox",
    "conntrack": "/usr/sbin/conntrack",
    "containerd": "/usr/bin/containerd",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "curl": "/usr/bin/curl",
    "debootstrap": "/usr/sbin/debootstrap",
    "e2fsprogs": "/usr/sbin/mkfs.ext4",
    "g++": "/usr/bin/g++",
    "gcc": "/usr/bin/gcc",
    "gnupg": "/usr/bin/gpg",
    "iproute2": "/usr/sbin/ip",
    "libc6-dev": "/usr/include/stdio.h",
    "mount": "/usr/bin/mount",
    "nftables": "/usr/sbin/nft",
    "nginx-light": "/usr/sbin/nginx",
    "openssl": "/usr/bin/openssl",
    "prometheus": "/usr/bin/prometheus",
    "reprepro": "/usr/bin/reprepro",
    "runc": "/usr/sbin/runc",
    "util-linux": "/usr/bin/setpriv",
}

_POLICY = Path("/usr/sbin/policy-rc.d")
_OUR_POLICY = "#!/bin/sh\n# mirrorfleet-e2e: packages that it installs must not start their services\nexit 101\n"


def missing() -> list[str]:
    return [package for package, file in PACKAGES.items() if not os.path.exists(file)]


def install_missing(report=print) -> None:
    """Install what is missing. Services of these packages (nginx, prometheus, containerd) are not started."""
    wanted = missing()
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
    if still := missing():
        raise RuntimeError(f"installed, but still missing: {', '.join(f'{p} ({PACKAGES[p]})' for p in still)}")


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
