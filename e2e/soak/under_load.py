"""What the soaks of apts and of pacmans have in common: an upstream that publishes meanwhile, and what came of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .syncs import Syncs
from .trace import Trace

PERIOD = 2.0
#: A tracer that has seen fewer states has seen nothing.
LEAST_STATES = 3


class Upstream(Protocol):
    def advance(self) -> None: ...


class Client(Protocol):
    """A loop of a real client."""

    name: str
    #: Clients of one group are counted together.
    group: str
    counts: Counter[str]

    @property
    def log(self) -> Path: ...


class Size(Protocol):
    publishes: int
    seconds: float


def publishing(upstream: Upstream, size: Size, loops: Iterable[Callable[[threading.Event], None]]) -> None:
    """As many publishes as asked for, or as fit into the time, while all of these go on until they are told to stop."""
    stop = threading.Event()
    threads = [threading.Thread(target=loop, args=(stop,)) for loop in loops]
    for thread in threads:
        thread.start()
    try:
        end = time.monotonic() + size.seconds
        for _ in range(size.publishes):
            began = time.monotonic()
            if began > end:
                break
            upstream.advance()
            time.sleep(max(0.0, PERIOD - (time.monotonic() - began)))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@dataclass
class Outcome:
    clients: list[Client]
    syncs: Syncs
    trace: Trace
    publishes: int
    proxy_hits: int

    def failures(self, complaints: tuple[str, ...], last: str) -> list[str]:
        """`last` is what a client counts that ends a whole round."""
        found = [f"{c.name}: {c.counts[kind]} × {kind}; see {c.log}" for c in self.clients for kind in complaints if c.counts[kind]]
        found += [f"{c.name}: not one whole loop; see {c.log}" for c in self.clients if not c.counts[last]]
        found += [f"tracer: {violation}" for violation in self.trace.violations[:20]]
        if self.trace.states < LEAST_STATES or not self.syncs.killed:
            found.append(f"the tracer saw {self.trace.states} states and {self.syncs.killed} syncs were killed: too little happened")
        return found

    def table(self, columns: tuple[str, ...]) -> list[str]:
        rows = [("clients", "n", *columns)]
        for group in sorted({c.group for c in self.clients}):
            members = [c for c in self.clients if c.group == group]
            counts = sum((c.counts for c in members), Counter())
            rows.append((group, str(len(members)), *(str(counts[column]) for column in columns)))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) if not column else cell.rjust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in rows]
        syncs, trace = self.syncs, self.trace
        return [
            *lines,
            f"upstream   {self.publishes} publishes; syncs: {syncs.completed} completed, {syncs.killed} killed, {syncs.refused} ended by the upstream's change",
            f"proxy      {self.proxy_hits} answers from its cache",
            f"tracer     {trace.polls} polls at {trace.hertz:.0f} Hz, {trace.states} states seen, {trace.fetched} files fetched, {len(trace.violations)} violations",
        ]
