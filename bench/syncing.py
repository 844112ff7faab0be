"""Measures copies: from nothing, of what is there already, and after a small change."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from contenders import Contender, Job, Mirrorfleet, MirrorfleetJudging, contenders, contenders_of_arch
from distribution import Distribution, many_packages
from processes import Cost, Failed, fresh, measured
from repositories import FOLDER, packager_of, repository
from results import Figure
from upstream import Upstream, upstream, warm
from works import ALLOWED, MIB, OURS, WITHOUT

# No contender gets more than this for the runs of one work, once it has one.
BUDGET_SECONDS = 60
# Runs that are shorter than this are repeated more often.
SHORT_SECONDS = 2
RUN_TIMEOUT = 300
# By which lftp finds files.
LISTINGS = "autoindex on;"
JUDGING = MirrorfleetJudging.name
#: Figures of the same runs.
OF_ONE_RUN = {"arch-cold-15000", "arch-judged-15000", "arch-signatures-15000", "arch-memory-15000", "arch-memory-judged-15000"}

# One measured run of a contender, and the requests that it made.
Step = Callable[[Contender, Upstream, Path], tuple[Cost, int | None]]


@dataclass(frozen=True)
class Scale:
    """How much of it: all, or a quick look."""

    packages: int = 20_000
    runs: int = 3
    short_runs: int = 5
    only: tuple[str, ...] = ()
    quick: bool = False

    def wanted(self, figure: Figure) -> int:
        if not figure.samples:
            return 1
        if sum(figure.samples) > BUDGET_SECONDS:
            return len(figure.samples)
        return self.short_runs if figure.samples[0] < SHORT_SECONDS else self.runs


@dataclass(frozen=True)
class Bench:
    """What every measurement needs."""

    program: Path
    work: Path
    scale: Scale

    def contenders(self) -> list[Contender]:
        return self.chosen(contenders(self.program))

    def contenders_of_arch(self) -> list[Contender]:
        return self.chosen(contenders_of_arch(self.program))

    def chosen(self, entries: list[Contender]) -> list[Contender]:
        only = self.scale.only
        return [contender for contender in entries if not only or contender.name in only]


def alternated(bench: Bench, entries: list[Contender], run: Callable[[Contender], tuple[Cost, int | None]]) -> list[Figure]:
    """One run of each in turn, until each has as many as are wanted of it, so that a disturbance meets all alike."""
    figures = {contender.name: Figure(contender.name) for contender in entries}
    left = list(entries)
    while left:
        for contender in list(left):
            figure = figures[contender.name]
            try:
                cost, requests = run(contender)
                record(figure, cost, requests)
            except Failed as failure:
                print(f"  {contender.name}: {failure}", flush=True)
                figure.note = str(failure).splitlines()[0][:120]
                left.remove(contender)
                continue
            if len(figure.samples) >= bench.scale.wanted(figure):
                left.remove(contender)
    return list(figures.values())


def record(figure: Figure, cost: Cost, requests: int | None) -> None:
    figure.samples.append(cost.seconds)
    figure.cpu.append(cost.user + cost.system)
    figure.peak_kib = max(figure.peak_kib, cost.peak_kib)
    figure.requests = requests
    told = "" if requests is None else f", {requests} requests"
    print(
        f"  {figure.contender:<18} {cost.seconds:8.3f} s  cpu {cost.user + cost.system:6.2f} s  peak {cost.peak_kib / MIB:6.1f} MiB{told}",
        flush=True,
    )


def job(contender: Contender, source: Upstream, work: Path, *, counted: bool = False) -> Job:
    port = source.rsync if contender.uses_rsync else source.counted if counted else source.http
    return Job(source, work, port, RUN_TIMEOUT)


def cold(bench: Bench, packages: int, delay_ms: float) -> list[Figure]:
    """First copies. Who waits for each file is given fewer of them, or the evening would pass."""
    entries = bench.contenders()
    patient = [contender for contender in entries if delay_ms and contender.name == "debmirror"]
    figures = cold_runs(bench, [contender for contender in entries if contender not in patient], many_packages(packages), delay_ms)
    for figure in cold_runs(bench, patient, many_packages(200), delay_ms) if packages <= 2_000 and not bench.scale.quick else []:
        figure.note = figure.note or "200 packages"
        figures.append(figure)
    return figures


def cold_runs(bench: Bench, entries: list[Contender], distribution: Distribution, delay_ms: float, rules: str = "") -> list[Figure]:
    if not entries:
        return []
    work = fresh(bench.work, "sync")
    warm(distribution)
    with upstream(distribution, work, delay_ms, rules) as source:

        def run(contender: Contender) -> tuple[Cost, None]:
            task = job(contender, source, fresh(work, "job"))
            cost = contender.run(task)
            contender.check(task, distribution.state(1))
            return cost, None

        return alternated(bench, entries, run)


def again(bench: Bench, wanted: set[str]) -> Iterator[dict[str, list[Figure]]]:
    """What a copy costs that is there already: the works whose names begin with `unchanged` or `changed`."""
    count = bench.scale.packages
    near = [(name, step) for name, step in (("unchanged-20000", unchanged), ("changed-20000", changed)) if name in wanted]
    if near:
        yield from again_at(bench, many_packages(count), 0, bench.contenders(), near)
    # The others' first copies take minutes at this distance.
    quick = [contender for contender in bench.contenders() if contender.name in (OURS, "rsync")]
    for name, size, step in (("unchanged-20000-50ms", count, unchanged), ("changed-2000-50ms", count // 10, changed)):
        if name in wanted:
            yield from again_at(bench, many_packages(size), 50, quick, [(name, step)])


def again_at(
    bench: Bench, distribution: Distribution, delay_ms: float, entries: list[Contender], steps: list[tuple[str, Step]], rules: str = "",
) -> Iterator[dict[str, list[Figure]]]:
    """Several works that begin with the same first copies."""
    work = fresh(bench.work, "sync")
    with upstream(distribution, work, delay_ms, rules) as source:
        able = prepared(entries, source, distribution, work)
        for name, step in steps:
            print(name, flush=True)
            yield {name: alternated(bench, able, lambda contender, step=step: step(contender, source, work))}


def prepared(entries: list[Contender], source: Upstream, distribution: Distribution, work: Path) -> list[Contender]:
    """Makes a first copy with each; those that could."""
    able = []
    print("first copies to start from", flush=True)
    for contender in entries:
        task = job(contender, source, place_of(contender, work), counted=True)
        task.work.mkdir()
        try:
            contender.run(task)
            contender.check(task, distribution.state(1))
            # The first run after a change may still settle something; none of it is "unchanged".
            contender.run(task)
            able.append(contender)
        except Failed as failure:
            print(f"  {contender.name}: {failure}", flush=True)
    return able


def place_of(contender: Contender, work: Path) -> Path:
    # debmirror hands it to a shell.
    return work / "".join(letter if letter.isalnum() else "-" for letter in contender.name)


def unchanged(contender: Contender, source: Upstream, work: Path) -> tuple[Cost, int | None]:
    task = job(contender, source, place_of(contender, work), counted=True)
    before = source.requests()
    cost = contender.run(task)
    return cost, None if contender.uses_rsync else source.requests() - before


def changed(contender: Contender, source: Upstream, work: Path) -> tuple[Cost, int | None]:
    """The upstream goes on to its second state; the copy is then put back to the first one."""
    task = job(contender, source, place_of(contender, work), counted=True)
    kept = task.work / "kept"
    if kept.exists():
        task.copy.rename(fresh(task.work, "used") / "copy")
    else:
        task.copy.rename(kept)
    subprocess.run(["cp", "-a", str(kept), str(task.copy)], check=True)
    before = source.requests()
    source.serve(2)
    try:
        cost = contender.run(task)
        requests = source.requests() - before
        contender.check(task, source.distribution.state(2))
    finally:
        source.serve(1)
    return cost, None if contender.uses_rsync else requests


def of_arch(bench: Bench, wanted: set[str]) -> Iterator[dict[str, list[Figure]]]:
    """The works whose names begin with `arch`."""
    large, small = bench.scale.packages * 3 // 4, bench.scale.packages // 10
    for name, size, delay_ms in (("arch-cold-2000", small, 0), ("arch-cold-15000", large, 0), ("arch-cold-2000-50ms", small, 50), ("arch-cold-15000-50ms", large, 50)):
        sharing = OF_ONE_RUN if name == "arch-cold-15000" else {name}
        if sharing & wanted:
            print(name, flush=True)
            found = cold_runs(bench, bench.contenders_of_arch(), repository(size), delay_ms, LISTINGS)
            yield {name: without_judging(found)}
            if name == "arch-cold-15000":
                yield of_signatures(bench, found, repository(size), size)
    if "arch-signatures-1m" in wanted:
        print("arch-signatures-1m", flush=True)
        count = bench.scale.packages * 3 // 100
        entries = [entry for entry in bench.contenders_of_arch() if entry.name.startswith(OURS)]
        yield {"arch-signatures-1m": beside_without(cold_runs(bench, entries, repository(count, 1 << 20), 0))}
    entries = [entry for entry in bench.contenders_of_arch() if entry.name != JUDGING]
    for name, size in (("2000", small), ("15000", large)):
        for suffix, delay_ms in (("", 0), ("-50ms", 50)):
            steps = [(f"arch-{what}-{name}{suffix}", step) for what, step in (("unchanged", unchanged), ("changed", changed))]
            if steps := [(work, step) for work, step in steps if work in wanted]:
                yield from again_at(bench, repository(size), delay_ms, entries, steps, LISTINGS)


def of_signatures(bench: Bench, found: list[Figure], distribution: Distribution, count: int) -> dict[str, list[Figure]]:
    """What judging costs, from runs that took turns: beside rsync, beside the run without, and beside what it may cost."""
    judging = beside_without(found)
    rivals = [figure for figure in found if not figure.contender.startswith(OURS)]
    figures = {
        "arch-judged-15000": [*judging, *rivals], "arch-signatures-15000": judging,
        "arch-memory-15000": peak(without_judging(found)), "arch-memory-judged-15000": peak([*judging, *rivals]),
    }  # fmt: skip
    without = next((figure.median for figure in judging if figure.contender == WITHOUT), None)
    if without:
        one, cores = one_verification(bench, distribution), os.cpu_count() or 1
        allowed = without * 1.15 + count * one / cores
        note = f"{count:,} × {one * 1e6:.0f} µs ÷ {cores} beyond 1.15 × the run without"
        figures["arch-signatures-15000"] = [*judging, Figure(ALLOWED, [allowed], note=note)]
    return figures


def one_verification(bench: Bench, distribution: Distribution) -> float:
    """Seconds, of one signature over a package of the usual size: by an example of fleet-formats, which `make bench` builds."""
    example = bench.program.parent / "examples" / "verification"
    if not example.exists():
        raise Failed(f"{example} is missing: cargo build --release -p fleet-formats --example verification")
    packages = [path for path in distribution.state(1).root.glob(f"{FOLDER}/*.pkg.tar.zst")]
    usual = sorted(packages, key=lambda path: path.stat().st_size)[len(packages) // 2]
    command = [str(example), str(packager_of(distribution.root) / "keyring.gpg"), str(usual)]
    return float(measured(command, fresh(bench.work, "verification"), 60).output)


def without_judging(found: list[Figure]) -> list[Figure]:
    return [figure for figure in found if figure.contender != JUDGING]


def beside_without(found: list[Figure]) -> list[Figure]:
    """Our two ways, where the one that judges is ours."""
    names = {JUDGING: OURS, OURS: WITHOUT}
    return [dataclasses.replace(figure, contender=names[figure.contender]) for figure in found if figure.contender in names]


def peak(figures: list[Figure]) -> list[Figure]:
    """The memory of runs that were measured for their time."""
    return [Figure(figure.contender, [figure.peak_kib / MIB], note=figure.note) for figure in figures if figure.samples]


def relay_cost(bench: Bench) -> list[Figure]:
    """Our first copy straight from nginx, and through the relay with no delay, in turns."""
    distribution = many_packages(bench.scale.packages)
    work = fresh(bench.work, "sync")
    direct, relayed = Mirrorfleet(bench.program), Mirrorfleet(bench.program)
    direct.name = "without the relay"
    # A delay that is next to none, so that the relay stands in the way.
    with upstream(distribution, fresh(work, "near")) as near, upstream(distribution, fresh(work, "far"), 0.0001) as far:

        def run(contender: Contender) -> tuple[Cost, None]:
            task = job(contender, near if contender is direct else far, fresh(work, "job"))
            return contender.run(task), None

        figures = alternated(bench, [direct, relayed], run)
    return figures
