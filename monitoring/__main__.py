"""Writes what is generated: `python3 -m monitoring`; with `--check` only compares."""

from __future__ import annotations

import sys

from . import files


def main(arguments: list[str]) -> int:
    changed = files.stale()
    for path, text in changed.items():
        print(path.relative_to(files.ROOT))
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return 1 if changed and "--check" in arguments else 0


sys.exit(main(sys.argv[1:]))
