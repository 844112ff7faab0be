#!/usr/bin/env python3
"""Measures mirrorfleet beside the tools that do the same work, prints a table, and writes docs/benchmarks.md.

    run.py                    everything, in about an hour and a quarter on an idle machine with two cores; each figure is kept as it is there
    run.py NAME...            only these rows (`run.py --list` names them); the page keeps the others
    run.py --quick            a tenth of the packages, one run each, in three minutes; the page stays as it is
    run.py --packages N       another number than 20,000; the page stays as it is

Everything happens on loopback, in bench/.work and in a cache that holds the archives.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import places  # first: it finds the modules of e2e/
import machine
import results
import works
from distribution import locked
from following import following
from large import memory_works
from page import tables, write_page
from processes import Failed
from results import Figure, Result
from registries import registry_works
from serving import serve_works
from switching import switch_works
from syncing import Bench, Scale, again, cold, of_arch, peak, relay_cost

from lab import packages

#: Touched when what was measured has been deleted.
EMPTIED = places.CACHE / "emptied"
REST_SECONDS = 360


def measure(bench: Bench, wanted: set[str]) -> Iterator[dict[str, list[Figure]]]:
    """The figures of each work, as they are there, in an order that lets works share what was prepared."""
    count = bench.scale.packages
    for name, size, delay_ms in (("cold-2000-50ms", count // 10, 50), ("cold-20000-50ms", count, 50), ("cold-20000", count, 0)):
        if name in wanted or (name == "cold-20000" and "memory-20000" in wanted):
            print(name, flush=True)
            figures = cold(bench, size, delay_ms)
            yield {name: figures}
            if name == "cold-20000":
                yield {"memory-20000": peak(figures)}
    for works_of in (again, of_arch, following):
        yield from works_of(bench, wanted)
    if "relay" in wanted:
        print("relay", flush=True)
        yield {"relay": relay_cost(bench)}
    for works_of in (memory_works, switch_works, serve_works, registry_works):
        yield from works_of(bench, wanted)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows to measure")
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("--quick", action="store_true", help="a tenth of it, once")
    parser.add_argument("--packages", type=int, default=20_000, help="how many packages the large archive has")
    parser.add_argument("--contender", action="append", default=[], help="only this one (again for more)")
    parser.add_argument("--program", type=Path, default=os.environ.get("MIRRORFLEET_BIN"), help="the program to measure")
    parser.add_argument("--page", action="store_true", help="only write the page anew from what was measured before")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    if given.list:
        print("\n".join(f"{work.name:<26}{work.title}" for work in works.ALL.values()))
        return 0
    if given.page:
        write_page(results.load())
        return 0
    if unknown := set(given.names) - set(works.ALL):
        print(f"no such row: {', '.join(sorted(unknown))}; `run.py --list` names them", file=sys.stderr)
        return 2
    if not given.program or not Path(given.program).exists():
        print("which program? Run `make bench`, or name it by --program", file=sys.stderr)
        return 2
    packages.install_missing(packages=machine.PACKAGES)
    # An ordinary end, so that the servers that were started are ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with locked(places.WORK / "lock"):
        return run(given)


def run(given: argparse.Namespace) -> int:
    for warning in machine.warnings(places.WORK):
        print(f"warning: {warning}", flush=True)
    shutil.rmtree(places.WORK / "run", ignore_errors=True)
    rest()
    bench = Bench(Path(given.program).resolve(), places.WORK / "run", scale(given))
    wanted, whole = chosen(given), not given.quick and given.packages == 20_000 and not given.contender
    today, revision = datetime.now(UTC).strftime("%Y-%m-%d"), machine.said(["git", "-C", str(places.ROOT), "rev-parse", "--short", "HEAD"])
    try:
        measured: dict[str, Result] = {}
        for figures in measure(bench, wanted):
            fresh = {name: Result(name, today, revision, found) for name, found in figures.items() if name in wanted}
            measured |= fresh
            if whole:
                results.save(results.load() | fresh)
        return report(measured, whole)
    except Failed as failure:
        print(f"stopped: {failure}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(bench.work, ignore_errors=True)
        EMPTIED.touch()


def rest() -> None:
    """ext4 without a journal leaves an inode unused for minutes after its file was deleted, and passes over all of these
    for each new file: twenty thousand deletions a moment ago would be all that is measured."""
    left = REST_SECONDS - (time.time() - EMPTIED.stat().st_mtime) if EMPTIED.exists() else 0
    if left > 0:
        print(f"waiting {left:.0f} s, since files were deleted a moment ago", flush=True)
        time.sleep(left)


def chosen(given: argparse.Namespace) -> set[str]:
    slow = {"memory-1500000", "memory-1500000-excluded", "switch-1500000"}
    return set(given.names) or set(works.ALL) - (slow if given.quick else set())


def report(measured: dict[str, Result], whole: bool) -> int:
    """Prints the table, and publishes what was measured in full."""
    print("\n" + tables(measured))
    if whole:
        write_page(results.load())
        print(f"written to {places.PAGE.relative_to(places.ROOT)}")
    ours = [result.of(works.OURS) for result in measured.values()]
    return 0 if all(figure.samples for figure in ours if figure) else 1


def scale(given: argparse.Namespace) -> Scale:
    only = tuple(given.contender)
    if given.quick:
        return Scale(min(given.packages, 2_000), 1, 1, only, quick=True)
    return Scale(given.packages, only=only)


if __name__ == "__main__":
    sys.exit(main())
