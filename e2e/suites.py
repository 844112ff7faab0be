"""Which suites there are. A suite is a command whose output goes to a log."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

E2E = Path(__file__).resolve().parent
STORIES = {"PYTHONPATH": str(E2E)}
FUZZ = ["--manifest-path", "fuzz/Cargo.toml"]
ORACLE = ["--manifest-path", "oracle/Cargo.toml"]
ADVISORIES = "advisories"
DENY = ["check", "licenses", "bans", "sources"]


@dataclass
class Suite:
    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    timeout: int = 1800
    #: Another command that goes on meanwhile, and is ended with this one; how it ends does not matter.
    beside: list[str] = field(default_factory=list)
    #: Only computes: it takes what those beside it leave, which wait for each other and for clocks.
    gives_way: bool = False
    #: Makes and removes so many small files that a disk would take most of the time; `long` has the same on the disk.
    in_memory: bool = False


#: Our own crates as tests are to find them: quickly compiled, and with every assertion. Dependencies stay as they are.
AS_TESTED = ["--release", "--locked", "--workspace", "--config", "e2e/as-tested.toml"]


def unit_tests() -> list[str]:
    """Each test in a process of its own, of all crates at once. Most of them wait: for the disk, for servers that are slow on purpose."""
    threads = str(2 * (os.cpu_count() or 1))
    return ["cargo", "nextest", "run", *AS_TESTED, "--no-fail-fast", "--test-threads", threads, "--status-level", "slow"]


def acceptance() -> list[str]:
    return [sys.executable, "-m", "acceptance"]


def program() -> list[Suite]:
    """What real clients and the cluster stand on; nothing runs beside it."""
    return [
        Suite("format", ["cargo", "fmt", "--all", "--check"]),
        Suite("build", ["cargo", "build", "--release", "--locked", "--bin", "mirrorfleet"], timeout=2700),
    ]


def compiled() -> list[Suite]:
    return [
        Suite("build of the tests", ["cargo", "nextest", "run", *AS_TESTED, "--no-run"], timeout=2700, gives_way=True),
        Suite("lints", ["cargo", "clippy", "--release", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"], timeout=2700, gives_way=True),
        Suite("build of the fuzz targets", ["fuzz/run.py", "--build"], timeout=2700, gives_way=True),
    ]


def crates() -> list[Suite]:
    """What can use all processors, so that it may last longest."""
    tests, lints, fuzz_targets = compiled()
    return [
        tests,
        Suite("unit and property tests", unit_tests(), in_memory=True),
        lints,
        fuzz_targets,
        # A look at every parser; `make fuzz` takes its time.
        Suite("fuzz targets", ["fuzz/run.py", "--seconds", "4", "--fresh"]),
    ]


def programs() -> list[Suite]:
    """Real clients against the program that was built."""
    return [
        Suite("acceptance: real apt and an independent checker", acceptance(), STORIES),
        Suite("soak, tracer and kill-storm, shortened", [sys.executable, "-m", "soak", "--short"], STORIES),
        Suite("soak of pacmans with a tracer, shortened", [sys.executable, "-m", "soak.pacmans", "--short"], STORIES),
        Suite("licences, bans, sources", ["cargo", "deny", "--offline", *DENY]),
        Suite("format of the fuzz targets", ["cargo", "fmt", *FUZZ, "--check"]),
        Suite("licences of the fuzz targets", ["cargo", "deny", "--offline", *FUZZ, *DENY]),
        Suite("format of the oracle", ["cargo", "fmt", *ORACLE, "--check"]),
        Suite("licences of the oracle", ["cargo", "deny", "--offline", *ORACLE, *DENY]),
    ]


def advisories() -> list[Suite]:
    """Known holes in what we depend on, where their database is on this machine (see CONTRIBUTING.md)."""
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    found = any((home / "advisory-dbs").glob("advisory-db-*"))
    return [Suite(ADVISORIES, ["cargo", "deny", "--offline", "check", "advisories"])] if found else []


def chart() -> list[Suite]:
    return [
        Suite("charts: lint, renderings, refusals", [sys.executable, "charts/test.py"]),
        Suite("alerts and dashboards", [sys.executable, "monitoring/test.py"]),
        Suite("documents: links, fields, generated pages", [sys.executable, "pages/test.py"]),
    ]


def long(scratch: Path) -> list[Suite]:
    """What takes too long for each change. Five rounds, two of them beside a compile: no test may depend on haste or luck."""
    compile_all = ["cargo", "build", "--release", "--locked", *FUZZ, "--target-dir", str(scratch / "compile")]
    rounds = []
    for number in range(1, 6):
        beside, told = (compile_all, ", beside a compile") if number > 3 else ([], "")
        rounds.append(Suite(f"unit and property tests, round {number}{told}", unit_tests(), beside=beside))
        rounds.append(Suite(f"acceptance, round {number}{told}", acceptance(), STORIES, beside=beside))
    before = scratch / "before"
    older = {"MIRRORFLEET_VERSION_BEFORE": str(before)}
    return [
        *rounds,
        Suite("building the version before", ["e2e/version-before.sh", str(before)], timeout=2700),
        Suite("from the version before, and back to it", [sys.executable, "e2e/run.py", "scenarios", "release-life"], older),
        Suite("soak, tracer and kill-storm", [sys.executable, "-m", "soak"], STORIES, timeout=3600),
        Suite("the whole list of faults on four nodes", [sys.executable, "e2e/run.py", "scenarios", "fault-list"], timeout=3600),
        Suite("soak of pacmans with a tracer", [sys.executable, "-m", "soak.pacmans"], STORIES, timeout=3600),
        Suite("a fleet at size, without kubelets", [sys.executable, "-m", "at_size"], STORIES, timeout=1800),
        Suite("how long orders take to their pods", [sys.executable, "e2e/run.py", "scenarios", "order-latency"]),
        Suite("twenty pushes to three regions", [sys.executable, "e2e/run.py", "scenarios", "pushes"]),
        Suite("a lazy mirror in trouble", [sys.executable, "e2e/run.py", "scenarios", "lazy-in-trouble"]),
        Suite("every alert in a real Alertmanager", [sys.executable, "e2e/run.py", "scenarios", "every-alert"]),
        # Some 290 crates for these tests alone. Where the compiler is older than they need, cargo says so and this fails.
        Suite("pacman's databases beside alpm-repo-db and libarchive", ["cargo", "test", "--release", "--locked", *ORACLE], timeout=2700),
        Suite("fuzz targets, a minute each", ["fuzz/run.py", "--seconds", "60"], timeout=5400),
    ]
