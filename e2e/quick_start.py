"""docs/quick-start.md: its commands, which are run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "quick-start.md"


def blocks(section: str) -> list[tuple[str, str]]:
    """The section's shell blocks in order, each with the heading that it stands under."""
    text = PAGE.read_text().split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    found, heading = [], ""
    for match in re.finditer(r"^### ([^\n]+)$|^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if match[1]:
            heading = match[1]
        else:
            found.append((heading, match[2]))
    return found
