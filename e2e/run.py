#!/usr/bin/env python3
"""Runs the test suites, one line each, and says last `N passed, N failed`.

    run.py all         everything: what `make test` and CI run
    run.py unit        without the cluster
    run.py scenarios   only the scenarios on the cluster [names...]

A suite is a command whose output goes to a log; a scenario is a function of `scenarios/`. The log of what failed is
kept and named.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

E2E = Path(__file__).resolve().parent
ROOT = E2E.parent
LOGS = E2E / ".work" / "logs"
sys.path.insert(0, str(E2E))


@dataclass
class Suite:
    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    timeout: int = 1800


def cargo_suites() -> list[Suite]:
    """Formatting, lints and all tests of the workspace, in the one profile that the image is built with too."""
    return [
        Suite("format", ["cargo", "fmt", "--all", "--check"]),
        Suite("build", ["cargo", "build", "--release", "--locked", "--workspace", "--all-targets"], timeout=2700),
        Suite("lints", ["cargo", "clippy", "--release", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"], timeout=2700),
        # Most of them wait: for the disk, for servers that are slow on purpose.
        Suite("unit and property tests", ["cargo", "test", "--release", "--locked", "--workspace", "--no-fail-fast"], {"RUST_TEST_THREADS": str(2 * (os.cpu_count() or 1))}),
        Suite("licences, bans, sources", ["cargo", "deny", "--offline", "check", "licenses", "bans", "sources"]),
        Suite("format of the fuzz targets", ["cargo", "fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]),
        Suite("licences of the fuzz targets", ["cargo", "deny", "--offline", "--manifest-path", "fuzz/Cargo.toml", "check", "licenses", "bans", "sources"]),
        # A look at every parser; `make fuzz` takes its time.
        Suite("fuzz targets", ["fuzz/run.py", "--seconds", "4", "--fresh"], timeout=2700),
    ]


def advisories(tally: Tally) -> list[Suite]:
    """Known holes in what we depend on, where the database is on this machine (see CONTRIBUTING.md)."""
    name = "advisories"
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    if any((home / "advisory-dbs").glob("advisory-db-*")):
        return [Suite(name, ["cargo", "deny", "--offline", "check", "advisories"])]
    tally.record(name, "skipped", 0, log_path(name), "there is no database here: cargo deny fetch db")
    return []


def acceptance_suites() -> list[Suite]:
    """Real clients against the program that was built; they need no cluster."""
    env = {"PYTHONPATH": str(E2E)}
    return [
        Suite("acceptance: real apt and an independent checker", [sys.executable, "-m", "acceptance"], env),
        Suite("soak, tracer and kill-storm, shortened", [sys.executable, "-m", "soak", "--short"], env),
    ]


def chart_suites() -> list[Suite]:
    return [
        Suite("chart lint", ["helm", "lint", "--strict", "charts/mirrorfleet"]),
    ]


class Tally:
    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[tuple[str, Path]] = []
        self.skipped: list[str] = []

    def record(self, name: str, outcome: str, seconds: float, log: Path, note: str = "") -> None:
        if outcome == "ok":
            self.passed += 1
        elif outcome == "skipped":
            self.skipped.append(name)
        else:
            self.failed.append((name, log))
        detail = f"  {note}" if note else ""
        if outcome == "FAILED":
            detail += f"  log: {os.path.relpath(log, ROOT)}"
        print(f"{outcome:<8} {seconds:7.1f} s  {name}{detail}", flush=True)

    def close(self) -> int:
        for name, log in self.failed:
            print(f"\n--- {name}: from {os.path.relpath(log, ROOT)}")
            for line in excerpt(log.read_text(errors="replace").splitlines()):
                print(f"    {line}")
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        print(f"\n{self.passed} passed, {len(self.failed)} failed{skipped}", flush=True)
        return 1 if self.failed or not self.passed else 0


COMPLAINT = re.compile(r"panicked at|^error|\bFAILED\b|^Traceback|Error: ")


def excerpt(lines: list[str]) -> list[str]:
    """What a log complains of, each with the two lines after it, and its end: after a failed test cargo goes on for long."""
    end = max(0, len(lines) - 20)
    near = sorted({n for at, line in enumerate(lines[:end]) if COMPLAINT.search(line) for n in range(at, min(at + 3, end))})
    return [line[:1000] for line in [*(lines[n] for n in near[:60]), "[...]", *lines[end:]]]


def log_path(name: str) -> Path:
    LOGS.mkdir(parents=True, exist_ok=True)
    return LOGS / ("".join(c if c.isalnum() else "-" for c in name.lower()) + ".log")


def run_suite(suite: Suite, tally: Tally) -> bool:
    log = log_path(suite.name)
    started = time.monotonic()
    with log.open("wb") as sink:
        try:
            code = subprocess.run(
                suite.command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
                env={**os.environ, **suite.env}, timeout=suite.timeout,
            ).returncode
        except subprocess.TimeoutExpired:
            sink.write(f"\nended after {suite.timeout} s\n".encode())
            code = 124
        except FileNotFoundError as missing:
            sink.write(f"\n{missing}\n".encode())
            code = 127
    tally.record(suite.name, "ok" if code == 0 else "FAILED", time.monotonic() - started, log, count_of_tests(log))
    return code == 0


def count_of_tests(log: Path) -> str:
    """`123 tests` where the log tells of tests or stories; a suite that ran none should be seen to have run none."""
    told = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("test result:") or " stories passed" in line]
    words = [line.replace(" stories", "").split(" passed")[0].rsplit(" ", 1)[-1] for line in told]
    total = sum(int(word) for word in words)
    return f"{total} tests" if total else ""


def run_scenarios(tally: Tally, only: list[str]) -> None:
    from scenarios import run_all

    run_all(tally, log_path, only)


def main(arguments: list[str]) -> int:
    what = arguments[0] if arguments else "all"
    if what not in ("all", "unit", "scenarios"):
        print(__doc__, file=sys.stderr)
        return 2
    from environment import test_environment

    os.environ.update(test_environment())
    tally = Tally()
    if what in ("all", "unit"):
        for suite in cargo_suites():
            if not run_suite(suite, tally) and suite.name == "build":
                return tally.close()
        for suite in [*advisories(tally), *acceptance_suites()]:
            run_suite(suite, tally)
    if what == "all":
        for suite in chart_suites():
            run_suite(suite, tally)
    if what in ("all", "scenarios"):
        run_scenarios(tally, arguments[1:])
    return tally.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
