"""Container images made from files of this machine, since there is no registry to pull from.

An image archive is three files in a tar (a layer, a config, a manifest), so it is written directly.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from .tools import TOOLS, cache_lock, cache_root, publish_directory

PAUSE_IMAGE = "mirrorfleet.test/pause:1"
BUSYBOX_IMAGE = "mirrorfleet.test/busybox:1"
COREDNS_IMAGE = "mirrorfleet.test/coredns:1"

_PAUSE_SOURCE = r"""
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int number) { (void)number; _exit(0); }

int main(void) {
    /* Process 1 of a pod: holds the namespaces, reaps orphans, leaves when told to. */
    signal(SIGINT, end);
    signal(SIGTERM, end);
    for (;;) {
        while (waitpid(-1, 0, 0) > 0) {}
        sleep(1);
    }
}
"""

_PASSWD = "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
_GROUP = "root:x:0:\nnogroup:x:65534:\n"


def write_image(
    destination: Path,
    reference: str,
    files: dict[str, Path | bytes],
    entrypoint: list[str],
    *,
    links: dict[str, str] | None = None,
    user: str = "",
    executable: tuple[str, ...] = (),
    base: Path | None = None,
) -> Path:
    """Write a docker archive of one layer, upon `base` (a tar of a root file system) if that is given. `files` maps
    paths in the image to files or contents.

    A file keeps whether it is executable; contents are executable when their path is in `executable`.
    """
    layers = [*([base.read_bytes()] if base else []), _layer(files, links or {}, executable)]
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Entrypoint": entrypoint, "User": user, "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "mirrorfleet e2e"} for _ in layers],
    }
    _write_archive(destination, reference, json.dumps(config).encode(), layers)
    return destination


def _layer(files: dict[str, Path | bytes], links: dict[str, str], executable: tuple[str, ...]) -> bytes:
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        # The mount points that pods commonly use exist, so that a read-only root file system works.
        for directory, mode in (("tmp", 0o1777), ("etc", 0o755), ("data", 0o755)):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        for path, source in sorted(files.items()):
            content = source if isinstance(source, bytes) else source.read_bytes()
            runs = path in executable if isinstance(source, bytes) else bool(source.stat().st_mode & 0o100)
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(content), 0o755 if runs else 0o644
            tar.addfile(entry, io.BytesIO(content))
        for path, target in sorted(links.items()):
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return layer.getvalue()


def _write_archive(destination: Path, reference: str, config: bytes, layers: list[bytes]) -> None:
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    names = [f"{hashlib.sha256(layer).hexdigest()}/layer.tar" for layer in layers]
    manifest = json.dumps([{"Config": config_name, "RepoTags": [reference], "Layers": names}]).encode()
    with tarfile.open(destination, "w") as tar:
        for name, content in ((config_name, config), *zip(names, layers), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def _architecture() -> str:
    machine = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _busybox_links() -> dict[str, str]:
    applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    return {f"/bin/{applet}": "busybox" for applet in applets if applet != "busybox"}


def build_images() -> list[Path]:
    """The images that every lab needs, made once per content and kept in the cache: pause, busybox, CoreDNS."""
    coredns = next(tool for tool in TOOLS if tool.name == "coredns")
    key = hashlib.sha256(Path(__file__).read_bytes())
    key.update(coredns.key().encode())
    key.update(Path("/bin/busybox").read_bytes())
    directory = cache_root() / f"images-{key.hexdigest()[:16]}"
    with cache_lock("images"):
        if not directory.is_dir():
            staging = Path(tempfile.mkdtemp(prefix=".building-images-", dir=cache_root()))
            try:
                _write_all(staging, coredns.bin_dir() / "coredns")
                publish_directory(staging, directory)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    return sorted(directory.glob("*.tar"))


def _write_all(directory: Path, coredns: Path) -> None:
    pause = directory / "pause"
    subprocess.run(
        ["gcc", "-Os", "-static", "-x", "c", "-", "-o", str(pause)],
        input=_PAUSE_SOURCE, text=True, check=True, capture_output=True,
    )
    names = {
        "/etc/passwd": _PASSWD.encode(),
        "/etc/group": _GROUP.encode(),
        # Without it the static libc looks for plugins that the image does not have, and crashes.
        "/etc/nsswitch.conf": b"hosts: files dns\n",
    }
    write_image(directory / "pause.tar", PAUSE_IMAGE, {"/pause": pause}, ["/pause"], user="65534:65534")
    write_image(
        directory / "busybox.tar", BUSYBOX_IMAGE, {"/bin/busybox": Path("/bin/busybox"), **names}, ["/bin/sh"],
        links=_busybox_links(),
    )
    write_image(directory / "coredns.tar", COREDNS_IMAGE, {"/coredns": coredns, **names}, ["/coredns"])
    pause.unlink()


def debian_root(suite: str) -> Path:
    """A small Debian as a tar, made once from where this machine has its own packages: for tests that want apt in a pod."""
    final = cache_root() / f"debian-{suite}"
    with cache_lock(final.name):
        if not final.is_dir():
            staging = Path(tempfile.mkdtemp(prefix=f".building-{final.name}-", dir=cache_root()))
            try:
                _bootstrap(suite, staging)
                publish_directory(staging, final)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    return final / "root.tar"


def _bootstrap(suite: str, directory: Path) -> None:
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN)", "Created-By: Packages"]
    known = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    archive = next(line.split()[0] for line in known if line.endswith(" Debian"))
    root = directory / "root"
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", suite, root, archive], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if made.returncode != 0:
        raise RuntimeError("debootstrap failed:\n" + "\n".join(made.stdout.splitlines()[-20:]))
    for unneeded in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
        shutil.rmtree(root / unneeded, ignore_errors=True)
    for wanted in ("var/cache/apt/archives/partial", "var/lib/apt/lists/partial"):
        (root / wanted).mkdir(parents=True)
    subprocess.run(["tar", "--numeric-owner", "-C", root, "-cf", directory / "root.tar", "."], check=True)
    shutil.rmtree(root)
