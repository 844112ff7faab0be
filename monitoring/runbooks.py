"""docs/runbooks.md: its sections, and the commands in them, each a line of a shell."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .reference import ROOT

PAGE = ROOT / "docs" / "runbooks.md"
PARTS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
#: Those of them in which there is something to do.
DONE = PARTS[2:]
#: Words that stand for what the alert names, and for what the reader knows.
PLACEHOLDER = re.compile(r"\b(NS|MIRROR|UPSTREAM|REGION|UNIT|SYSTEM|KEYRING|FILE)\b")
_LINE = re.compile(r"^## (.*)$|^\*\*(\w+)\.\*\*|^(```)(\w*)$")


@dataclass(frozen=True)
class Command:
    #: Empty above the first alert's section.
    alert: str
    part: str
    line: str

    def filled(self, values: dict[str, str]) -> str:
        """Raises a KeyError with the word that the alert says nothing of."""
        return PLACEHOLDER.sub(lambda match: values[match[1]], self.line)


def sections() -> dict[str, str]:
    """By the alert's name."""
    return dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL))


def commands() -> list[Command]:
    """Of the blocks of `sh`, in their order."""
    found, alert, part, fence = [], "", "", None
    for line in PAGE.read_text().splitlines():
        mark = _LINE.match(line)
        if mark and mark[3]:
            fence = None if fence is not None else mark[4]
        elif fence == "sh":
            found.append(Command(alert, part, line))
        elif fence is None and mark:
            alert, part = (mark[1], "") if mark[1] else (alert, mark[2])
    return found
