#!/usr/bin/env python3
"""Runs the test suites, one line each, and says last `N passed, N failed`.

    run.py all         everything: what `make test` and CI run
    run.py unit        without the cluster
    run.py scenarios   only the scenarios on the cluster [names...]
    run.py long        what takes too long for each change: the whole soak, a fleet at size, all parsers for a minute each, five rounds

A suite is a command whose output goes to a log; a scenario is a function of `scenarios/`. The log of what failed is
kept and named. The program is built first and alone; then three lanes run side by side: the crates' own tests and all else that
compiles, real clients, and the cluster.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable

E2E = Path(__file__).resolve().parent
ROOT = E2E.parent
LOGS = E2E / ".work" / "logs"
#: Files in memory, where Linux has them, and how much must be free for a suite to have its temporary files there.
MEMORY, MEMORY_BYTES = Path("/dev/shm"), 4 << 30
sys.path.insert(0, str(E2E))

import suites  # noqa: E402 beside this file
from suites import Suite  # noqa: E402


class Tally:
    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[tuple[str, Path]] = []
        self.skipped: list[str] = []
        self.started = time.monotonic()
        self.lock = threading.Lock()

    def record(self, name: str, outcome: str, seconds: float, log: Path, note: str = "") -> None:
        with self.lock:
            self._record(name, outcome, seconds, log, note)

    def _record(self, name: str, outcome: str, seconds: float, log: Path, note: str) -> None:
        if outcome == "ok":
            self.passed += 1
        elif outcome == "skipped":
            self.skipped.append(name)
        else:
            self.failed.append((name, log))
        detail = f"  {note}" if note else ""
        if outcome == "FAILED":
            detail += f"  log: {os.path.relpath(log, ROOT)}"
        print(f"{outcome:<8} {seconds / 60:5.1f} min  {name}{detail}", flush=True)

    def close(self) -> int:
        for name, log in self.failed:
            print(f"\n--- {name}: from {os.path.relpath(log, ROOT)}")
            for line in excerpt(log.read_text(errors="replace").splitlines()):
                print(f"    {line}")
        print(f"\n{(time.monotonic() - self.started) / 60:.1f} min in all", flush=True)
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        print(f"\n{self.passed} passed, {len(self.failed)} failed{skipped}", flush=True)
        return 1 if self.failed or not self.passed else 0


#: As nextest, cargo and the stories say it.
COUNT = re.compile(r"^(?: +Summary .*? |test result:.*? )?(\d+)(?: stories)? passed", re.MULTILINE)
COMPLAINT = re.compile(r"panicked at|^error|\bFAILED\b|\bFAIL \[|\bTIMEOUT \[|^Traceback|Error: ")


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
    command = ["nice", "-n", "10", *suite.command] if suite.gives_way else suite.command
    with log.open("wb") as sink, beside(suite), temporary_files(suite) as place:
        try:
            code = subprocess.run(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
                env={**os.environ, **place, **suite.env}, timeout=suite.timeout,
            ).returncode
        except subprocess.TimeoutExpired:
            sink.write(f"\nended after {suite.timeout} s\n".encode())
            code = 124
        except FileNotFoundError as missing:
            sink.write(f"\n{missing}\n".encode())
            code = 127
    tally.record(suite.name, "ok" if code == 0 else "FAILED", time.monotonic() - started, log, count_of_tests(log))
    return code == 0


@contextlib.contextmanager
def beside(suite: Suite):
    """Runs what is to go on meanwhile; ended as a group, since a compiler has children."""
    if not suite.beside:
        yield
        return
    other = subprocess.Popen(
        suite.beside, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(other.pid, signal.SIGKILL)
        other.wait()


@contextlib.contextmanager
def temporary_files(suite: Suite):
    """The variable that says where they go, where they do not go where they always do."""
    if not suite.in_memory or not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < MEMORY_BYTES:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="mf-", dir=MEMORY, ignore_cleanup_errors=True) as folder:
        yield {"TMPDIR": folder}


def run_in_order(lane: list[Suite], tally: Tally) -> bool:
    """Whatever fails, the others are run; but nothing without what it stands on: False."""
    return all(run_suite(suite, tally) or not suite.name.startswith("build") for suite in lane)


def run_lanes(tally: Tally, *lanes: Callable[[], None]) -> None:
    """Side by side: most of what they do is wait."""
    with ThreadPoolExecutor(len(lanes)) as pool:
        for lane in [pool.submit(lane) for lane in lanes]:
            lane.result()


def count_of_tests(log: Path) -> str:
    """`123 tests` where the log tells of tests or stories; a suite that ran none should be seen to have run none."""
    total = sum(int(count) for count in COUNT.findall(log.read_text(errors="replace")))
    return f"{total} tests" if total else ""


def run_scenarios(tally: Tally, only: list[str]) -> None:
    from scenarios import run_all

    run_all(tally, log_path, only)


def set_apart(program: Path) -> Path:
    """A copy of what was built: where it lies, cargo puts the one that the Rust tests run, which is compiled for them."""
    place = E2E / ".work" / "program"
    place.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy2(program, place / program.name))


def main(arguments: list[str]) -> int:
    what = arguments[0] if arguments else "all"
    if what not in ("all", "unit", "scenarios", "long"):
        print(__doc__, file=sys.stderr)
        return 2
    from environment import mirrorfleet_binary, test_environment

    os.environ.update(test_environment())
    tally = Tally()
    if what == "scenarios":
        run_scenarios(tally, arguments[1:])
        return tally.close()
    if not run_in_order(suites.program(), tally):
        return tally.close()
    os.environ["MIRRORFLEET_BIN"] = str(set_apart(mirrorfleet_binary()))
    if what == "long":
        with tempfile.TemporaryDirectory() as scratch:
            run_in_order([*suites.compiled(), *suites.long(Path(scratch))], tally)
        return tally.close()
    advisories = suites.advisories()
    if not advisories:
        tally.record(suites.ADVISORIES, "skipped", 0, log_path(suites.ADVISORIES), "no database here: cargo deny fetch db")
    programs = [*advisories, *suites.programs()]
    lanes = [lambda: run_in_order(suites.crates(), tally), lambda: run_in_order(programs, tally)]
    if what == "all":
        programs += suites.chart()
        lanes.append(lambda: run_scenarios(tally, []))
    run_lanes(tally, *lanes)
    return tally.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
