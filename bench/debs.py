"""Debian packages as bytes: what is in them depends on name, version and size alone, on every machine.

Written directly, as starting dpkg-deb twenty thousand times takes minutes. Members are not compressed, because the
bytes of a compressor depend on its version.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

MEDIAN_BYTES = 5120
LARGEST_BYTES = 64 << 10
# Of the normal distribution of the logarithm of the sizes: one package in twenty has more than 16 KiB.
SPREAD = 0.7
STAMP = 1_700_000_000
BLOCK = 512
SYLLABLES = "ba co di fen gra hu ki lo mar net opa pul qui ro sa tex ur vi wen xo yam zip".split()


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    source: str
    wanted_bytes: int

    @property
    def path(self) -> str:
        prefix = self.source[:4] if self.source.startswith("lib") else self.source[0]
        return f"pool/main/{prefix}/{self.source}/{self.name}_{self.version}_amd64.deb"

    @property
    def control(self) -> str:
        return (
            f"Package: {self.name}\nSource: {self.source}\nVersion: {self.version}\nArchitecture: amd64\n"
            f"Maintainer: Benchmark maintainers <{self.source}@example.org>\nInstalled-Size: {self.wanted_bytes // 1024 + 1}\n"
            f"Depends: libc6 (>= 2.36), lib{self.source[:12]}-data (= {self.version})\nSection: misc\nPriority: optional\n"
            f"Homepage: https://{self.source}.example.org/\nDescription: what {self.source} is good for, part {self.name}\n"
        )

    def content(self) -> bytes:
        """The .deb. It is a little larger than wanted where its headers alone are."""
        control = self.control
        head = b"!<arch>\n" + _member("debian-binary", b"2.0\n") + _member("control.tar", _tar("./control", control.encode()))
        rest = self.wanted_bytes - len(head) - 60 - 3 * BLOCK
        filling = hashlib.shake_256(f"{self.name} {self.version}".encode()).digest(max(rest, 64))
        return head + _member("data.tar", _tar(f"./usr/share/{self.name}", filling))


def packages(count: int) -> list[Package]:
    """Names and versions like Debian's; about three binary packages to a source."""
    return [_package(number) for number in range(count)]


def _package(number: int) -> Package:
    source = _source(number // 3)
    suffix = ("", "-data", "-dev")[number % 3]
    version = f"{_random('version', number) % 9 + 1}.{_random('minor', number) % 30}.{number % 7}-{number % 4 + 1}"
    return Package(source + suffix, version, source, _size(number))


def changed(package: Package) -> Package:
    """The next version of it."""
    return Package(package.name, package.version + "+deb13u1", package.source, package.wanted_bytes)


def _source(number: int) -> str:
    word, rest = "", _random("source", number)
    for _ in range(3):
        rest, index = divmod(rest, len(SYLLABLES))
        word += SYLLABLES[index]
    return f"{'lib' if number % 3 == 0 else ''}{word}{number}"


def _size(number: int) -> int:
    """Log-normal, so that most are small and few are large, as in a real pool."""
    first = (_random("size", number) + 1) / 2**32
    second = _random("angle", number) / 2**32
    normal = math.sqrt(-2 * math.log(first)) * math.cos(2 * math.pi * second)
    # Rounded, so that the last bit of somebody's mathematics library does not show.
    return min(LARGEST_BYTES, round(MEDIAN_BYTES * math.exp(SPREAD * normal) / 16) * 16)


def _random(purpose: str, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{purpose} {number}".encode()).digest()[:4], "big") % (2**32 - 1)


def _member(name: str, content: bytes) -> bytes:
    head = f"{name:<16}{STAMP:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
    return head + content + b"\n" * (len(content) % 2)


def _tar(name: str, content: bytes) -> bytes:
    head = bytearray(BLOCK)
    fields = (
        (0, name.encode()), (100, b"0000644\0"), (108, b"0000000\0"), (116, b"0000000\0"), (124, b"%011o\0" % len(content)),
        (136, b"%011o\0" % STAMP), (148, b" " * 8), (156, b"0"), (257, b"ustar\x0000"), (265, b"root"), (297, b"root"),
    )
    for offset, value in fields:
        head[offset : offset + len(value)] = value
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + content + b"\0" * (-len(content) % BLOCK) + b"\0" * (2 * BLOCK)
