"""Whether a copy of pacman's repositories holds all that its databases promise; shares no code with the program."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field


@dataclass
class ArchResult:
    packages: int = 0
    signatures: int = 0
    misses: list[str] = field(default_factory=list)


def fetch(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.read()
    except urllib.error.HTTPError:
        return None


def unpacked(database: bytes) -> dict[str, bytes]:
    """Members by path."""
    if database.startswith(b"\x28\xb5\x2f\xfd"):
        database = subprocess.run(["zstd", "-dc"], input=database, capture_output=True, check=True).stdout
    members = {}
    with tarfile.open(fileobj=io.BytesIO(database)) as archive:
        for member in archive:
            if file := archive.extractfile(member):
                members[member.name] = file.read()
    return members


def sections(text: bytes) -> dict[str, list[str]]:
    found = {}
    for paragraph in text.decode().strip().split("\n\n"):
        title, *values = paragraph.strip().split("\n")
        found[title.strip("%")] = values
    return found


def check(url: str, databases: dict[str, str], *, signed: bool, suffix: str = "gz", files: bool = True) -> ArchResult:
    """`databases` are folders below `url`, by name of the repository."""
    result = ArchResult()
    for repo, folder in databases.items():
        base = f"{url}{folder}/".replace("/./", "/")
        names = [f"{repo}.db", f"{repo}.db.tar.{suffix}"] + ([f"{repo}.files", f"{repo}.files.tar.{suffix}"] if files else [])
        forms = {name: fetch(base + name) for name in names}
        for name, body in forms.items():
            twin = forms[name.split(".tar")[0]]
            if body is None or body != twin:
                result.misses.append(f"{base}{name}: not there, or other bytes than its twin")
        if forms[f"{repo}.db"] is None:
            continue
        for path, text in unpacked(forms[f"{repo}.db"]).items():
            if path.endswith("/desc"):
                check_package(base, sections(text), signed, result)
    return result


def check_package(base: str, said: dict[str, list[str]], signed: bool, result: ArchResult) -> None:
    name = said["FILENAME"][0]
    body = fetch(base + name.replace("+", "%2b"))
    if body is None or len(body) != int(said["CSIZE"][0]) or hashlib.sha256(body).hexdigest() != said["SHA256SUM"][0]:
        result.misses.append(f"{base}{name}: not what the database promises")
    result.packages += 1
    if signed:
        if not fetch(base + name.replace("+", "%2b") + ".sig"):
            result.misses.append(f"{base}{name}.sig: not there")
        result.signatures += 1
