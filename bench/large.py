"""Memory for as many paths as a full Debian archive has, without an archive of that size.

Either all paths share a thousand contents, so that each content is fetched once and all paths are present; or each path
has a digest of its own and all are excluded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import debs
from contenders import Job, Mirrorfleet
from distribution import FIRST_DATE, Distribution, cached, publish
from processes import Failed, fresh
from results import Figure
from syncing import Bench, record
from upstream import upstream
from works import MIB, OURS

PATHS = 1_500_000
CONTENTS = 1_000
# A name says which content it has: that is how nginx finds one for each of so many names.
RULES = "rewrite -c([0-9]+)_amd64[.]deb$ /contents/$1.deb break;"
STANZAS_AT_ONCE = 1_000


def shared(count: int) -> Distribution:
    """`count` paths of a thousand contents."""

    def build(root: Path, key) -> None:
        folder = root / "state-1" / "contents"
        folder.mkdir(parents=True)
        known = []
        for number in range(CONTENTS):
            content = debs.Package(f"content{number}", "1.0", "content", debs.MEDIAN_BYTES).content()
            (folder / f"{number}.deb").write_bytes(content)
            known.append((len(content), hashlib.sha256(content).hexdigest()))
        finish(root, key, (path_stanza(number, *known[number % CONTENTS]) for number in range(count)))

    return cached(f"shared-{count}", build)


def distinct(count: int) -> Distribution:
    """`count` paths that nobody has."""

    def build(root: Path, key) -> None:
        finish(root, key, (path_stanza(number, 4096 + number % 4096, digest(number)) for number in range(count)))

    return cached(f"distinct-{count}", build)


def digest(number: int) -> str:
    return hashlib.sha256(f"path {number}".encode()).hexdigest()


def path_stanza(number: int, size: int, sha256: str) -> str:
    source = f"source{number // 40}"
    name = f"{source}-part{number % 40}"
    return (
        f"Package: {name}\nVersion: 1.{number % 9}-1\nArchitecture: amd64\nSection: misc\nPriority: optional\n"
        f"Filename: pool/main/{source[-1]}/{source}/{name}_1.{number % 9}-1-c{number % CONTENTS}_amd64.deb\n"
        f"Size: {size}\nSHA256: {sha256}\nDescription: one of very many packages\n\n"
    )


def finish(root: Path, key, stanzas: Iterator[str]) -> None:
    publish(root / "state-1", root / "state-0", batches(stanzas), FIRST_DATE + timedelta(days=1), key, preset=1)
    (root / "state-1.json").write_text(json.dumps({"payload": {}, "new": 0}))


def batches(stanzas: Iterator[str]) -> Iterator[bytes]:
    batch = []
    for stanza in stanzas:
        batch.append(stanza)
        if len(batch) == STANZAS_AT_ONCE:
            yield "".join(batch).encode()
            batch.clear()
    yield "".join(batch).encode()


def memory_works(bench: Bench, wanted: set[str]) -> Iterator[dict[str, list[Figure]]]:
    # Scaled like everything else, so that the way can be tried with few.
    count = PATHS * bench.scale.packages // 20_000
    if "memory-1500000" in wanted:
        print("memory-1500000", flush=True)
        yield {"memory-1500000": [memory(bench, shared(count), (), count)]}
    if "memory-1500000-excluded" in wanted:
        print("memory-1500000-excluded", flush=True)
        yield {"memory-1500000-excluded": [memory(bench, distinct(count), ("pool/**",), count)]}


def memory(bench: Bench, distribution: Distribution, exclude: tuple[str, ...], count: int) -> Figure:
    """Our own peak only: one run, as memory does not vary as time does."""
    work = fresh(bench.work, "large")
    figure, ours = Figure(OURS), Mirrorfleet(bench.program)
    with upstream(distribution, work, rules=RULES) as source:
        task = Job(source, fresh(work, "job"), source.http, 600)
        try:
            cost = ours.run(task, exclude)
            if not exclude:
                check_paths(ours, task, count)
            record(figure, cost, None)
            figure.samples, figure.cpu = [cost.peak_kib / MIB], []
        except Failed as failure:
            print(f"  {failure}", flush=True)
            figure.note = str(failure).splitlines()[-1][:120]
    return figure


def check_paths(ours: Mirrorfleet, task: Job, count: int) -> None:
    served = ours.served(task)
    if served["files"] < count:
        raise Failed(f"the snapshot has {served['files']} of {count} paths")
