"""Measures what a region costs that follows another: from nothing, and after a small change, beside rsync between the same two trees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from contenders import Contender, Job, Mirrorfleet, Rsync, report_of
from distribution import Distribution, many_packages
from processes import Cost, Failed, free_port, fresh, measured, running
from results import Figure
from syncing import RUN_TIMEOUT, Bench, alternated, changed, job, prepared
from upstream import Upstream, relay, upstream, warm

STATES = (1, 2)


@dataclass
class Hub(Upstream):
    """Our own mirror in the place of an upstream, and the tree that it is a copy of for rsync."""

    #: By the state of the archive: what tells others to copy it.
    targets: dict[int, tuple[str, ...]] = field(default_factory=dict)
    state: int = 1
    #: Requests of followers so far.
    asked: int = 0

    def serve(self, state: int) -> None:
        super().serve(state)
        self.state = state

    def requests(self) -> int:
        return self.asked


class Follower(Mirrorfleet):
    """A mirror that follows: no upstream, no keys."""

    def run(self, job: Job, exclude: tuple[str, ...] = ()) -> Cost:
        hub = job.upstream
        assert isinstance(hub, Hub)
        (job.work / "manifest.yaml").write_text(self.manifest(job, exclude))
        url = f"http://127.0.0.1:{job.port}/.mirrorfleet/follow/bench"
        cost = measured([
            str(self.program), "sync", "-f", str(job.work / "manifest.yaml"), "--mirror", "bench", "--data", str(job.copy), "-o", "json",
            "--follow", url, *hub.targets[hub.state],
        ], job.work, job.timeout)  # fmt: skip
        report = report_of(cost)
        if report["result"] not in ("Published", "Unchanged"):
            raise Failed(f"{self.name}: {report['result']}: {report['message']}")
        hub.asked += report["requests"]
        return cost


@contextmanager
def hub(bench: Bench, distribution: Distribution, work: Path, delay_ms: float) -> Iterator[Hub]:
    """A mirror with both states of the archive that others can follow, near or far away."""
    maker = Mirrorfleet(bench.program)
    with ExitStack() as servers:
        near = servers.enter_context(upstream(distribution, fresh(work, "upstream")))
        task = Job(near, fresh(work, "hub"), near.http, RUN_TIMEOUT)
        targets = {}
        for state in STATES:
            near.serve(state)
            maker.run(task)
            newest = maker.snapshots(task)[0]
            targets[state] = ("--snapshot", newest["snapshot"], "--index", newest["index"])
        public, port = free_port(), free_port()
        command = [str(bench.program), "serve", "--data", str(task.copy), "--listen", f"127.0.0.1:{public}", "--follow-listen", f"127.0.0.1:{port}"]
        servers.enter_context(running(command, work / "hub.log", ready_port=port))
        ports = (port, near.rsync)
        if delay_ms:
            ports = tuple(servers.enter_context(relay(port, delay_ms, work)) for port in ports)
        followed = Hub(distribution, near.work, ports[0], ports[0], ports[1], targets)
        followed.serve(1)
        yield followed


def entries(bench: Bench) -> list[Contender]:
    return bench.chosen([Follower(bench.program), Rsync()])


def following(bench: Bench, wanted: set[str]) -> Iterator[dict[str, list[Figure]]]:
    """The works whose names begin with `follow`."""
    distribution = many_packages(bench.scale.packages)
    for suffix, delay_ms in (("", 0), ("-50ms", 50)):
        names = {f"follow-cold-20000{suffix}", f"follow-changed-20000{suffix}"} & wanted
        if not names:
            continue
        work = fresh(bench.work, "follow")
        warm(distribution)
        with hub(bench, distribution, work, delay_ms) as source:
            for name in sorted(names):
                print(name, flush=True)
                yield {name: copies(bench, source, work) if "cold" in name else changes(bench, source, work)}


def copies(bench: Bench, source: Hub, work: Path) -> list[Figure]:
    def run(contender: Contender) -> tuple[Cost, None]:
        task = job(contender, source, fresh(work, "job"))
        cost = contender.run(task)
        contender.check(task, source.distribution.state(1))
        return cost, None

    return alternated(bench, entries(bench), run)


def changes(bench: Bench, source: Hub, work: Path) -> list[Figure]:
    able = prepared(entries(bench), source, source.distribution, work)
    return alternated(bench, able, lambda contender: changed(contender, source, work))
