"""Whether the pages hold together: links, anchors, pictures, the table of contents. Nothing is asked of the network.

`docs/` is a book: what its pages link to must be in it, so files elsewhere in the repository are linked by their address on GitHub,
which is checked against the checkout.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as xml
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .api import anchor

#: What the pages call this repository.
HOME = "https://github.com/mirrorfleet/mirrorfleet/"
FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
HEADING = re.compile(r"^ {0,3}(#{1,6}) +(.+?) *#*$")
SPAN = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
INLINE = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(\s*<?([^()\s>]*(?:\([^()\s]*\)[^()\s]*)*)>?(?:\s+\"[^\"]*\")?\s*\)")
DEFINITION = re.compile(r"^ {0,3}\[([^\]]+)\]:\s+<?(\S+?)>?\s*$")
REFERENCE = re.compile(r"\[([^\[\]]+)\]\[([^\[\]]*)\]")
HTML = re.compile(r"<(?:a|img)\b[^>]*?\b(?:href|src)=\"([^\"]+)\"", re.IGNORECASE)
HTML_ANCHOR = re.compile(r"<a\b[^>]*?\b(?:id|name)=\"([^\"]+)\"", re.IGNORECASE)
LISTED = re.compile(r"^ *(?:[-*] +)?\[[^\]]+\]\(([^)]+)\)$")


@dataclass(frozen=True)
class Link:
    line: int
    target: str
    #: Of a picture: what stands for it where it cannot be seen.
    alt: str | None = None


@dataclass
class Page:
    path: Path
    links: list[Link] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    complaints: list[tuple[int, str]] = field(default_factory=list)


def read(path: Path) -> Page:
    page, definitions, uses, seen = Page(path), {}, [], {}
    for number, line in _prose(path, page):
        for name in HTML_ANCHOR.findall(line):
            page.anchors.add(name)
        if heading := HEADING.match(line):
            text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading[2]).replace("`", "").replace("*", "")
            name = anchor(text)
            seen[name] = seen.get(name, -1) + 1
            page.anchors.add(f"{name}-{seen[name]}" if seen[name] else name)
        if definition := DEFINITION.match(line):
            definitions[definition[1].lower()] = Link(number, definition[2])
            continue
        # What a code span says is no link.
        line = SPAN.sub(lambda match: "\x00" * len(match[0]), line)
        for picture, text, target in INLINE.findall(line):
            page.links.append(Link(number, target, text if picture else None))
            page.links += [Link(number, inner, alt) for _, alt, inner in INLINE.findall(text)]
        page.links += [Link(number, target) for target in HTML.findall(line)]
        uses += [(number, (name or text).lower()) for text, name in REFERENCE.findall(INLINE.sub("", line))]
    page.links += definitions.values()
    page.complaints += [(number, f"[{name}] is defined nowhere") for number, name in uses if name not in definitions]
    return page


def _prose(path: Path, page: Page) -> Iterator[tuple[int, str]]:
    """The lines that are not code, with their numbers."""
    fence, begun = "", 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        mark = FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and line.strip() == mark[1]:
                fence = ""
        elif mark:
            fence, begun = mark[1], number
        else:
            yield number, line
    if fence:
        page.complaints.append((begun, "this block of code has no end"))


@dataclass
class Site:
    """A checkout whose book is in `docs/`."""

    root: Path

    @cached_property
    def book(self) -> Path:
        return self.root / "docs"

    @cached_property
    def pages(self) -> dict[Path, Page]:
        found = [*self.root.glob("*.md"), *self.book.rglob("*.md"), *self.root.glob("charts/*/README.md"), *self.root.glob("e2e/*.md")]
        return {path: read(path) for path in sorted(found)}

    def complaints(self) -> list[str]:
        """What is wrong, as `file:line: what`."""
        told = [*self._contents(), *self._pictures()]
        for page in self.pages.values():
            told += [(page.path, line, text) for line, text in page.complaints]
            for link in page.links:
                if text := self._wrong(page, link):
                    told.append((page.path, link.line, text))
        return [f"{path.relative_to(self.root)}:{line}: {text}" for path, line, text in sorted(told)]

    def _wrong(self, page: Page, link: Link) -> str:
        if link.alt is not None and not link.alt.strip():
            return f"the picture {link.target} has no text in its place"
        if link.target.startswith(HOME):
            return self._wrong_at_home(link.target)
        parts = urlsplit(link.target)
        if parts.scheme:
            return "" if parts.scheme in ("https", "http", "mailto") else f"{link.target}: what is {parts.scheme}?"
        target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
        if parts.path and self._is_in_book(page.path) and not self._is_in_book(target):
            return f"{link.target} leads out of the book: write its address below {HOME}blob/main/"
        return self._missing(target, parts.fragment, link.target)

    def _wrong_at_home(self, address: str) -> str:
        match = re.match(r"(?:blob|tree|raw)/main/([^#?]+)(?:#(.*))?$", address.removeprefix(HOME))
        # Releases and issues are not in a checkout.
        return self._missing(self.root / unquote(match[1]), match[2] or "", address) if match else ""

    def _missing(self, target: Path, fragment: str, told: str) -> str:
        if not target.exists():
            return f"{told}: there is no such file"
        if fragment and target in self.pages and fragment not in self.pages[target].anchors:
            return f"{told}: that page has no heading #{fragment}"
        return ""

    def _is_in_book(self, path: Path) -> bool:
        return path.is_relative_to(self.book)

    def _contents(self) -> Iterator[tuple[Path, int, str]]:
        """Each page stands in SUMMARY.md once, and nothing else does."""
        summary = self.book / "SUMMARY.md"
        if not summary.exists():
            yield summary, 1, "the book has no table of contents"
            return
        listed: set[Path] = set()
        for number, line in enumerate(summary.read_text().splitlines(), 1):
            if not (match := LISTED.match(line)):
                if line.strip() not in ("", "---") and not line.startswith("# "):
                    yield summary, number, f"mdbook does not understand {line.strip()!r}"
                continue
            path = (self.book / match[1]).resolve()
            if path in listed:
                yield summary, number, f"{match[1]} is listed twice"
            listed.add(path)
        for path in self.pages:
            if self._is_in_book(path) and path != summary and path not in listed:
                yield summary, 1, f"{path.relative_to(self.book)} is not listed: add it where it belongs"

    def _pictures(self) -> Iterator[tuple[Path, int, str]]:
        """Drawings are well-formed and say what they show."""
        for path in sorted(self.book.rglob("*.svg")):
            try:
                drawing = xml.parse(path).getroot()
            except xml.ParseError as error:
                yield path, error.position[0], f"is no SVG: {error}"
                continue
            if not drawing.get("aria-label"):
                yield path, 1, "does not say what it shows: give the svg element an aria-label"
            if not drawing.get("viewBox"):
                yield path, 1, "has no viewBox, so it does not shrink on a small screen"
