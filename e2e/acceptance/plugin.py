"""The files of a release, taken as krew takes them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .place import Place
from .registry import story

ROOT = Path(__file__).resolve().parent.parent.parent
RECIPE = ROOT / "release" / "archives.py"
TAG = "v9.8.7"


def recipe(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(RECIPE), *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)


def platforms_of(manifest: str) -> list[dict]:
    """`spec.platforms` of our manifest, whose shape a unit test of the program holds; no YAML library is needed for it."""
    found: list[dict] = []
    for line in manifest.split("platforms:\n", 1)[1].splitlines():
        word, _, value = line.strip().removeprefix("- ").partition(": ")
        if word == "selector:":
            found.append({"files": []})
        elif word == "from":
            found[-1]["files"].append((value, ""))
        elif word == "to":
            found[-1]["files"][-1] = (found[-1]["files"][-1][0], value)
        elif value:
            found[-1][word] = value
    return found


def installed(platform: dict, archives: Path, home: Path) -> Path:
    """As krew does it: the sum is right, `files` are moved from the archive, and a link to `bin` is on the path."""
    file = archives / platform["uri"].rsplit("/", 1)[1]
    assert hashlib.sha256(file.read_bytes()).hexdigest() == platform["sha256"], platform
    unpacked, store, path = home / "unpacked", home / "store" / "mirrorfleet" / TAG, home / "bin"
    for folder in (unpacked, store, path):
        folder.mkdir(parents=True)
    # Not by us: a child of the story beside this one would have the program open for writing for a moment, and nobody could run it.
    subprocess.run(["tar", "-xzf", file, "-C", unpacked], check=True, timeout=300)
    for source, target in platform["files"]:
        shutil.move(unpacked / source, store / target)
    assert not list(unpacked.iterdir()), "the archive has more than the manifest takes"
    link = path / "kubectl-mirrorfleet"
    link.symlink_to(store / platform["bin"])
    return link


@story("The archives that the krew manifest names are made, and what is in them answers as kubectl mirrorfleet")
def krew(place: Place) -> None:
    program = place.workdir / "mirrorfleet"
    subprocess.run(["strip", "-o", program, os.environ["MIRRORFLEET_BIN"]], check=True, timeout=300)
    out = place.workdir / "release"
    both = [f"linux-{arch}={program}" for arch in ("amd64", "arm64")]
    made = recipe(TAG, out, *both)
    assert made.returncode == 0, made.stderr
    assert sorted(Path(line).name for line in made.stdout.split()) == sorted(file.name for file in out.iterdir()), made.stdout
    checked = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=out, capture_output=True, text=True, timeout=120)
    assert checked.returncode == 0 and checked.stdout.count("OK") == 2, checked
    manifest = (out / "mirrorfleet.yaml").read_text()
    assert "{{" not in manifest and f"version: {TAG}" in manifest
    platforms = platforms_of(manifest)
    assert [(one["os"], one["arch"]) for one in platforms] == [("linux", "amd64"), ("linux", "arm64")], platforms
    for number, platform in enumerate(platforms):
        link = installed(platform, out, place.workdir / f"krew{number}")
        told = subprocess.run([link, "--help"], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
        assert told.returncode == 0 and "Usage: kubectl mirrorfleet" in told.stdout and "why" in told.stdout, told
    first = {file.name: file.read_bytes() for file in out.iterdir()}
    assert recipe(TAG, out, *both).returncode == 0
    assert first == {file.name: file.read_bytes() for file in out.iterdir()}, "made again, they are others"
    for wrong, words in (
        ((TAG, out, both[0]), "linux-arm64"),
        ((TAG, out, *both, f"plan9-mips={program}"), "for nothing else"),
        (("latest", out, *both), "v0.1.0"),
        ((TAG, out, both[0], f"linux-arm64={out}/none"), "is no file"),
    ):
        refused = recipe(*wrong)
        assert refused.returncode == 1 and words in refused.stderr and "Traceback" not in refused.stderr, refused
