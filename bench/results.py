"""What was measured: kept as JSON between runs, so that one row can be measured anew."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path

from places import RESULTS


@dataclass
class Figure:
    """What one contender did in one work."""

    contender: str
    # In the work's unit, one for each run.
    samples: list[float] = field(default_factory=list)
    # User and system seconds of each run.
    cpu: list[float] = field(default_factory=list)
    peak_kib: int = 0
    requests: int | None = None
    # What is different about this figure: fewer packages, a failure.
    note: str = ""

    @property
    def median(self) -> float | None:
        return statistics.median(self.samples) if self.samples else None


@dataclass
class Result:
    """One work, measured."""

    work: str
    date: str
    revision: str
    figures: list[Figure]

    def of(self, contender: str) -> Figure | None:
        return next((figure for figure in self.figures if figure.contender == contender), None)


def load(path: Path = RESULTS) -> dict[str, Result]:
    if not path.exists():
        return {}
    kept = json.loads(path.read_text())
    return {name: Result(**{**result, "figures": [Figure(**figure) for figure in result["figures"]]}) for name, result in kept.items()}


def save(results: dict[str, Result], path: Path = RESULTS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({name: asdict(result) for name, result in results.items()}, indent=1) + "\n")
    fresh.replace(path)
