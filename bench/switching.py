"""Measures how long it takes to serve another snapshot: in the library, and as a person calls it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from contenders import Job, Mirrorfleet
from distribution import many_packages
from processes import Failed, fresh, measured
from results import Figure
from syncing import Bench
from upstream import upstream
from works import OURS

TIMES = 20


def switch_works(bench: Bench, wanted: set[str]) -> Iterator[dict[str, list[Figure]]]:
    for name, paths in (("switch-1000", 1_000), ("switch-1500000", 75 * bench.scale.packages)):
        if name in wanted:
            yield {name: library(bench, name, paths)}
    for name, packages in (("rollback-200", 200), ("rollback-20000", bench.scale.packages)):
        if name in wanted:
            yield {name: command(bench, name, packages)}


def library(bench: Bench, name: str, paths: int) -> list[Figure]:
    """By an example of fleet-store, which `make bench` builds beside the program."""
    print(name, flush=True)
    example = bench.program.parent / "examples" / "switch"
    if not example.exists():
        raise Failed(f"{example} is missing: cargo build --release -p fleet-store --example switch")
    work = fresh(bench.work, "switch")
    cost = measured([str(example), str(paths), str(TIMES)], work, 300)
    told = json.loads(cost.output.splitlines()[-1])
    # The slower of the two is what is held against the target.
    figures = [Figure(OURS, told["rollBack"]), Figure("publish alone", told["publish"])]
    for figure in figures:
        print(f"  {figure.contender:<18} {figure.median:8.3f} ms", flush=True)
    return figures


def command(bench: Bench, name: str, packages: int) -> list[Figure]:
    """`mirrorfleet snapshots NAME rollback ID`, to and fro between the archive's two states."""
    print(name, flush=True)
    work = fresh(bench.work, "switch")
    ours = Mirrorfleet(bench.program)
    with upstream(many_packages(packages), work) as source:
        task = Job(source, fresh(work, "job"), source.http)
        ours.run(task)
        source.serve(2)
        ours.run(task)
    ids = [row["snapshot"] for row in ours.snapshots(task)]
    if len(ids) != 2:
        raise Failed(f"{len(ids)} snapshots where two were expected")
    figure = Figure(OURS, [rolled_back(bench.program, task, ids[(number + 1) % 2], work) for number in range(TIMES)])
    print(f"  {OURS:<18} {figure.median:8.3f} ms", flush=True)
    return [figure]


def rolled_back(program: Path, task: Job, snapshot: str, work: Path) -> float:
    data = ["--data", str(task.copy)]
    return measured([str(program), "snapshots", *data, "bench", "rollback", snapshot], work, 30).seconds * 1000
