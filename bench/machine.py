"""What the figures were measured on, and with."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from places import ROOT

DISK_GIB = 20
# Program -> Debian package.
CONTENDERS = {
    "apt-mirror": "apt-mirror", "aptly": "aptly", "debmirror": "debmirror", "h2o": "h2o", "nginx": "nginx-light",
    "h2load": "nghttp2-client", "lftp": "lftp", "rsync": "rsync", "wrk": "wrk",
}
# Package -> a file that tells that it is there, as in e2e/lab/packages.py.
PACKAGES = {
    "apt-mirror": "/usr/bin/apt-mirror",
    "aptly": "/usr/bin/aptly",
    "debmirror": "/usr/bin/debmirror",
    "gcc": "/usr/bin/gcc",
    "gnupg": "/usr/bin/gpg",
    "gpgv": "/usr/bin/gpgv",
    "h2o": "/usr/bin/h2o",
    "lftp": "/usr/bin/lftp",
    "libc6-dev": "/usr/include/stdio.h",
    "nghttp2-client": "/usr/bin/h2load",
    "nginx-light": "/usr/sbin/nginx",
    "openssl": "/usr/bin/openssl",
    "rsync": "/usr/bin/rsync",
    "util-linux": "/usr/bin/taskset",
    "wget": "/usr/bin/wget",
    "wrk": "/usr/bin/wrk",
    "xz-utils": "/usr/bin/xz",
    "zstd": "/usr/bin/zstd",
}


def describe() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cpu_model()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory, Linux {platform.release()}, {file_system()}"


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def file_system() -> str:
    """By the table of mounts: ext2, ext3 and ext4 share the number by which statfs(2) tells file systems apart."""
    return said(["findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(ROOT)]) or "unknown file system"


def versions() -> str:
    told = [f"{program} {version(package)}" for program, package in CONTENDERS.items()]
    return ", ".join(told)


def version(package: str) -> str:
    # What provides the program may be another package of the same source.
    for name in (package, package.removesuffix("-light")):
        if found := said(["dpkg-query", "-W", "-f", "${Version}", name]):
            return found
    return "(not from a package)"


def warnings(work: Path) -> list[str]:
    """What makes figures worth little, or a run fail."""
    found = []
    if (load := os.getloadavg()[0]) > 0.5:
        found.append(f"the load average is {load:.1f}: others use this machine, and figures will be off")
    if (free := shutil.disk_usage(work).free / 2**30) < DISK_GIB:
        found.append(f"{free:.0f} GiB are free below {work}; all rows together need {DISK_GIB}, as copies are removed only at the end")
    return found


def said(command: list[str]) -> str:
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return result.stdout.strip() if result.returncode == 0 else ""
