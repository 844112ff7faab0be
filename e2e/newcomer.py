"""What somebody sees who opens Grafana after the installation. Grafana itself is not here: its sidecar's ConfigMaps, asked of a
real Prometheus and drawn as for the pictures of the documentation, stand in for it."""

from __future__ import annotations

import json
import re
from html import escape

from lab import wait_until
from watching import Period, Watch

from monitoring import drawing  # noqa: E402 at the top of the repository

#: What Grafana makes of `$__rate_interval` where scrapes are half a minute apart.
RATE_INTERVAL = "2m"
WIDTH = 1280


class Grafana:
    def __init__(self, lab, watch: Watch) -> None:
        """Opened as soon as the dashboards are there: those of all ConfigMaps that its sidecar finds, by their uid."""
        found = [text for each in lab.list("configmaps", selector="grafana_dashboard=1") for text in each["data"].values()]
        self.boards = {board["uid"]: board for board in map(json.loads, found)}
        self.watch = watch
        self.period = Period(watch, rate_interval=RATE_INTERVAL)

    def shows(self, namespace: str, mirror: str, timeout: float) -> str:
        """Waits until the dashboard of the fleet has this Mirror in it, fresh, and data in each panel that does not say what it
        means to be empty."""
        board = self.boards["mirrorfleet-fleet"]
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        wait_until(lambda: not self._missing(panels, namespace, mirror), timeout, "data in every panel", 2, lambda: self._missing(panels, namespace, mirror))
        page = self._drawn(board)
        assert f"<td>{mirror}</td>" in page and f"{namespace}/{mirror} " in page, page
        return f"a dashboard with data in {len(panels) - len(empty(panels, page))} of {len(panels)} panels"

    def _missing(self, panels: list[dict], namespace: str, mirror: str) -> list[str]:
        self.period.ends()
        silent = [panel["title"] for panel in panels if not re.search(r"\bEmpty: |\bWithout a row: ", panel["description"]) and not self._has_data(panel)]
        fresh = self.watch.query(f'mirrorfleet_mirror_condition{{namespace="{namespace}",mirror="{mirror}",type="Fresh",status="True"}} == 1')
        return silent + ([] if fresh else ["the Mirror, fresh"])

    def _has_data(self, panel: dict) -> bool:
        """A table has columns that are empty where all is well, such as since when a region is behind."""
        enough = any if panel["type"] == "table" else all
        return enough(self.period.asked(target["expr"]) for target in panel["targets"])

    def _drawn(self, board: dict) -> str:
        told = json.loads(json.dumps(self.period.ends().recording([board], {})))
        return drawing.page(board, told, "light", WIDTH)[0]


def empty(panels: list[dict], page: str) -> list[str]:
    return [panel["title"] for panel in panels if f'<h2>{escape(panel["title"])}</h2><p class="none">' in page]
