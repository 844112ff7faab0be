"""Pictures of the dashboards for the documentation: our own rendering of their JSON, with what a Prometheus answered.

    python3 -m monitoring.pictures RECORDING DIRECTORY

A recording is what the scenario `monitored` writes where MIRRORFLEET_RECORDING says. Needs Debian's chromium-headless-shell.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from . import drawing
from .dashboards import DASHBOARDS
from .grafana import document

WIDTH = 1280


def main(recording: str, directory: str) -> None:
    told = json.loads(Path(recording).read_text())
    for board in DASHBOARDS:
        for theme in drawing.THEMES:
            page, height = drawing.page(document(board), told, theme, WIDTH)
            photograph(page, height, Path(directory) / f"dashboard-{board.name}-{theme}.png")


def photograph(page: str, height: int, target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(page)
        command = [
            "chromium-headless-shell", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/profile",
            f"--window-size={WIDTH},{height}", f"--screenshot={target.resolve()}", source.as_uri(),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=120)


if __name__ == "__main__":
    main(*sys.argv[1:])
