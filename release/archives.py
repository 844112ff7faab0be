#!/usr/bin/env python3
"""The files of a release: `release/archives.py TAG FOLDER linux-amd64=PROGRAM linux-arm64=PROGRAM`.

Writes the archives that .krew.yaml names, `SHA256SUMS`, and `mirrorfleet.yaml`: the same manifest with the sums of these
archives, as krew-release-bot would fill it and `kubectl krew install --manifest` takes it. The same input gives the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / ".krew.yaml"
#: The template's word for an address and the sum of what is there.
ARCHIVE = re.compile(r'^( *)\{\{addURIAndSha "([^"]+/)([^"/]+)" \.TagName \}\}$', re.MULTILINE)
NAME = re.compile(r"mirrorfleet-(\w+-\w+)\.tar\.gz")
TAG = re.compile(r"v\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?")


class Wrong(Exception):
    """What a person has to do otherwise."""


def platforms() -> list[str]:
    """Those that the manifest names, for example `linux-amd64`."""
    found = [NAME.fullmatch(name) for _, _, name in ARCHIVE.findall(TEMPLATE.read_text())]
    if not found or None in found:
        raise Wrong(f"{TEMPLATE.name} names no archives mirrorfleet-OS-ARCH.tar.gz")
    return [match[1] for match in found]


def archive(program: Path) -> bytes:
    """What an archive holds is what the manifest takes out of it: the program and its licence."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, source, mode in (("LICENSE", ROOT / "LICENSE", 0o644), ("mirrorfleet", program, 0o755)):
            content = source.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), 6, mtime=0)


def manifest(tag: str, sums: dict[str, str]) -> str:
    """The template, filled for a release whose archives have these sums, by name."""
    filled = ARCHIVE.sub(lambda match: f"{match[1]}uri: {match[2]}{match[3]}\n{match[1]}sha256: {sums[match[3]]}", TEMPLATE.read_text())
    filled = filled.replace("{{ .TagName }}", tag)
    if "{{" in filled:
        raise Wrong(f"{TEMPLATE.name} has a word of template that is not known here")
    return "".join(line for line in filled.splitlines(keepends=True) if not line.startswith("#"))


def write(tag: str, folder: Path, programs: dict[str, Path]) -> list[Path]:
    """The files of a release, of which there are all or none."""
    if not TAG.fullmatch(tag):
        raise Wrong(f"{tag} is no tag of a release: write it like v0.1.0")
    if set(programs) != set(platforms()):
        raise Wrong(f"{TEMPLATE.name} names {', '.join(platforms())}: give a program for each and for nothing else, as linux-amd64=PATH")
    for program in programs.values():
        if not program.is_file():
            raise Wrong(f"{program} is no file; `make build` on a machine of that kind makes the program and says where")
    archives = {f"mirrorfleet-{platform}.tar.gz": archive(program) for platform, program in programs.items()}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in archives.items()}
    files = {
        **archives,
        "SHA256SUMS": "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode(),
        "mirrorfleet.yaml": manifest(tag, sums).encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def main(arguments: list[str]) -> int:
    if len(arguments) < 3 or not all("=" in argument for argument in arguments[2:]):
        print(__doc__, file=sys.stderr)
        return 2
    tag, folder, *pairs = arguments
    try:
        written = write(tag, Path(folder), {platform: Path(path) for platform, _, path in (pair.partition("=") for pair in pairs)})
    except Wrong as wrong:
        print(wrong, file=sys.stderr)
        return 1
    print("\n".join(map(str, written)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
