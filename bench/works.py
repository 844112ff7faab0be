"""The works that are measured, with the targets that were set for them before they were measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

from repositories import ALGORITHM_NAME
from results import Figure, Result

OURS = "mirrorfleet"
#: The same without judging signatures, and how long a run that judges them may take.
WITHOUT, ALLOWED = "without signatures", "allowance"
MIB = 1024.0


@dataclass(frozen=True)
class Target:
    """A bound on our median: a share of somebody else's, or a value of its own."""

    text: str
    # Whose figure ours is compared with; empty: the best of the others.
    against: str | None = None
    factor: float = 1.0
    # In the work's unit.
    bound: float | None = None
    requests: int | None = None
    more_is_better: bool = False
    # How much ours may be beyond the one of `against`, in the work's unit; instead of a factor.
    beyond: float | None = None
    # Others whose figure ours is compared with as well, and by which factor.
    also: tuple[tuple[str, float], ...] = ()
    # Where the other figures are parts of ours, a ratio says nothing.
    compared: bool = True

    def rival(self, result: Result) -> Figure | None:
        """Whom the ratio is to."""
        if not self.compared:
            return None
        if self.against:
            return result.of(self.against)
        others = [figure for figure in result.figures if figure.contender != OURS and figure.samples and not figure.note]
        choose = max if self.more_is_better else min
        return choose(others, key=lambda figure: figure.median, default=None)

    def ratio(self, result: Result) -> float | None:
        return self.ratio_to(self.rival(result), result)

    @staticmethod
    def ratio_to(rival: Figure | None, result: Result) -> float | None:
        ours = result.of(OURS)
        if not ours or not rival or not ours.samples or not rival.median:
            return None
        return ours.median / rival.median

    def met(self, result: Result) -> bool | None:
        ours = result.of(OURS)
        if not ours or not ours.samples:
            return None
        if self.requests is not None and ours.requests is not None and ours.requests > self.requests:
            return False
        if self.bound is not None:
            return ours.median <= self.bound
        if self.beyond is not None:
            rival = self.rival(result)
            return ours.median - rival.median <= self.beyond if rival and rival.median else None
        ratios = [(self.ratio(result), self.factor), *((self.ratio_to(result.of(name), result), factor) for name, factor in self.also)]
        if any(ratio is None for ratio, _ in ratios):
            return None
        return all(ratio >= factor if self.more_is_better else ratio <= factor for ratio, factor in ratios)


@dataclass(frozen=True)
class Work:
    name: str
    title: str
    unit: str
    target: Target
    meaning: str


SYNC = (
    Work("cold-2000-50ms", "first copy, 2,000 packages, 50 ms round trip", "s", Target("≤ 1/5 of apt-mirror", "apt-mirror", 0.2),
         "How much of the time goes into waiting for a far upstream: asking for the next file before the last one is there saves round trips."),
    Work("cold-20000-50ms", "first copy, 20,000 packages, 50 ms round trip", "s", Target("≤ rsync", "rsync", 1.0),
         "rsync is the one of the others that does not wait for each file; it copies what it finds, and verifies nothing. Beyond it we need six round trips that follow one another (a connection, roots, indices, the one that is not there by either of its names, first packages), and the processor time of the row without delay, on cores that the upstream and the relay use too."),
    Work("cold-20000", "first copy, 20,000 packages, no delay", "s", Target("≤ 0.9 of apt-mirror", "apt-mirror", 0.9),
         "What is left without a network: requests, hashing, and bringing files to the disk."),
    Work("unchanged-20000", "nothing changed, 20,000 packages", "s", Target("1 request, ≤ 30 ms", bound=0.030, requests=1),
         "What a mirror does most of the time; here the requests count for the upstream's operators."),
    Work("unchanged-20000-50ms", "nothing changed, 20,000 packages, 50 ms round trip", "s", Target("1 request, ≤ 30 ms + 2 round trips", bound=0.130, requests=1),
         "The same far away: a connection and one request, each of them one round trip."),
    Work("changed-20000", "1 % changed, 20,000 packages", "s", Target("≤ 0.7 of the best", None, 0.7),
         "A usual day: a new index, a few new packages, and nothing else looked at."),
    Work("changed-2000-50ms", "1 % changed, 2,000 packages, 50 ms round trip", "s", Target("≤ 0.7 of rsync", "rsync", 0.7),
         "The same far away, where round trips that follow one another are most of the time: a connection, InRelease, Release, Release.gpg, the indices, the packages."),
)
ARCH = (
    Work("arch-cold-2000", "first copy, 2,000 packages", "s", Target("≤ 1.15 of rsync", "rsync", 1.15),
         "Each package has a signature beside it, of which no database says a digest."),
    Work("arch-cold-15000", "first copy, 15,000 packages", "s", Target("≤ 1.15 of rsync", "rsync", 1.15),
         "The same with as many as the largest repository has."),
    Work("arch-cold-2000-50ms", "first copy, 2,000 packages, 50 ms round trip", "s", Target("≤ rsync", "rsync", 1.0),
         "The same far away."),
    Work("arch-cold-15000-50ms", "first copy, 15,000 packages, 50 ms round trip", "s", Target("≤ rsync", "rsync", 1.0),
         "The same far away."),
    Work("arch-judged-15000", "first copy, 15,000 packages, signatures judged", "s", Target("≤ 1.4 of rsync", "rsync", 1.4),
         "Every signature is judged before anything is served; rsync copies them."),
    Work("arch-signatures-1m", "first copy, 600 packages of 1 MiB, signatures judged", "s", Target("≤ 1.15 of the run without", WITHOUT, 1.15),
         f"What signatures cost ({ALGORITHM_NAME}). Beyond the run without it is 1.25 s of processor: 0.75 for the hash over 600 MiB (840 MB/s), 0.3 for verifying what is too large to be held (0.46 ms each, since what computes RSA in a sixth of that takes messages and no hashes), and the rest for reading packages again. Two processors have 1.2 s idle in the run without, part of which is while the disk is waited for."),
    Work("arch-signatures-15000", "first copy, 15,000 packages of 5 KiB in the median, signatures judged", "s", Target("≤ the allowance", ALLOWED, 1.0),
         f"The same ({ALGORITHM_NAME}) where packages are small, so that it is the verification. The allowance is 1.15 × the run without, and the time that so many verifications take one after the other on each processor; what one takes is measured beside it."),
    Work("arch-unchanged-2000", "nothing changed, 2,000 packages", "s", Target("2 requests", bound=0.030, requests=2),
         "`lastupdate` and `lastsync` are all that is asked for."),
    Work("arch-unchanged-15000", "nothing changed, 15,000 packages", "s", Target("2 requests", bound=0.030, requests=2),
         "The same where there is more that did not change."),
    Work("arch-unchanged-2000-50ms", "nothing changed, 2,000 packages, 50 ms round trip", "s", Target("2 requests, ≤ 30 ms + 2 round trips", bound=0.130, requests=2),
         "A connection and two requests at once: two round trips."),
    Work("arch-unchanged-15000-50ms", "nothing changed, 15,000 packages, 50 ms round trip", "s", Target("2 requests, ≤ 30 ms + 2 round trips", bound=0.130, requests=2),
         "The same where there is more that did not change."),
    Work("arch-changed-2000", "1 % changed, 2,000 packages", "s", Target("≤ 0.7 of rsync", "rsync", 0.7),
         "A new database, its list of files, and some new packages."),
    Work("arch-changed-15000", "1 % changed, 15,000 packages", "s", Target("≤ 0.7 of rsync", "rsync", 0.7),
         "The same with a database as large as the largest repository has."),
    Work("arch-changed-2000-50ms", "1 % changed, 2,000 packages, 50 ms round trip", "s", Target("≤ 0.7 of rsync", "rsync", 0.7),
         "The same far away."),
    Work("arch-changed-15000-50ms", "1 % changed, 15,000 packages, 50 ms round trip", "s", Target("≤ 0.7 of rsync", "rsync", 0.7),
         "The same far away."),
)
FOLLOW = (
    Work("follow-cold-20000", "a region copies another, 20,000 packages, no delay", "s", Target("≤ 1.1 of rsync", "rsync", 1.1),
         "Both read one tree and write another on the same disk; here every byte is hashed, and durable before the run ends."),
    Work("follow-cold-20000-50ms", "a region copies another, 20,000 packages, 50 ms round trip", "s", Target("≤ 0.9 of rsync", "rsync", 0.9),
         "A connection, the index, and then all content on eight connections: nothing else is asked for."),
    Work("follow-changed-20000", "a region copies another, 1 % changed, 20,000 packages", "s", Target("≤ 0.7 of rsync", "rsync", 0.7),
         "The index as a whole, and what is new; rsync compares both trees."),
    Work("follow-changed-20000-50ms", "a region copies another, 1 % changed, 20,000 packages, 50 ms round trip", "s", Target("≤ 0.7 of rsync", "rsync", 0.7),
         "The same far away."),
)
MEMORY = (
    Work("memory-20000", "peak memory, first copy of 20,000 packages", "MiB", Target("≤ 48 MiB", bound=48),
         "The largest process of each; apt-mirror starts twenty more beside it."),
    Work("arch-memory-15000", "peak memory, first copy of 15,000 packages of Arch Linux", "MiB", Target("≤ 48 MiB", bound=48),
         "The largest process of each."),
    Work("arch-memory-judged-15000", "the same, signatures judged", "MiB", Target("≤ 48 MiB", bound=48),
         "What is remembered of 15,000 signatures, and four of them at a time."),
    Work("memory-1500000", "peak memory, 1,500,000 paths with 1,000 different contents", "MiB", Target("≤ 256 MiB", bound=256),
         "A full Debian archive's number of paths, all of them present, without its bytes: each content is fetched once."),
    Work("memory-1500000-excluded", "peak memory, 1,500,000 paths, all excluded", "MiB", Target("≤ 256 MiB", bound=256),
         "The same with a digest of its own for each path, and no payload at all."),
)
SWITCH = (
    Work("switch-1000", "publish and roll back, 1,000 paths", "ms", Target("≤ 5 ms", bound=5, compared=False),
         "In the library: checking the snapshot, the rename, and making it durable."),
    Work("switch-1500000", "publish and roll back, 1,500,000 paths", "ms", Target("≤ 5 ms", bound=5, compared=False),
         "The same for the size of a full archive: it must not depend on the size."),
    Work("rollback-200", "`mirrorfleet snapshots NAME rollback`, 200 packages", "ms", Target("none", compared=False),
         "The whole process, its start and its reading of the store included."),
    Work("rollback-20000", "`mirrorfleet snapshots NAME rollback`, 20,000 packages", "ms", Target("none", compared=False),
         "The same with a hundred times as many."),
)
REGISTRY = (
    *(Work(f"registry-{what}-{short}{way}", f"npm, warm document of {title}, {form}, {encoding}, 64 connections", "requests/s",
           Target("≥ 15 × verdaccio, ≥ 4 × nginx", "verdaccio", 15.0, more_is_better=True, also=(("nginx", 4.0),)), "As pnpm asks, which takes gzip from who has no zstd." if way == "-zstd" else "")
      for what, title in (("small", "8 versions"), ("many", "1,500 versions")) for short, form in (("full", "full"), ("brief", "abbreviated"))
      for way, encoding in (("", "plain"), ("-gzip", "gzip"), ("-zstd", "zstd"))),
    Work("registry-tarball", "npm, warm tarball of 0.8 MiB, 64 connections", "requests/s", Target("≥ 1.0 of nginx", "nginx", 1.0, more_is_better=True), ""),
    Work("registry-cold", "npm, 64 clients at one cold document of 4,500 versions and more than 10 MiB, full, gzip, 50 ms away", "s",
         Target("1 request, ≤ the upstream + 0.15 s", "the upstream itself", beyond=0.15, requests=1),
         "Until the last client has it (h2load). The upstream's own time is that until one client has the same document from it, asked as we ask, in the same round."),
    Work("registry-cold-many", "npm, cold documents, full, gzip, one after the other, 50 ms away, 64 connections", "requests/s", Target("≥ the best", None, 1.0, more_is_better=True),
         "None was asked for before. Each may have 64 connections to the upstream, which is a program in Python and answers some thousand a second at most."),
    Work("registry-install-cold", "`npm ci` of a lock file with 1,000 packages, the upstream 50 ms away, nothing kept anywhere", "s", Target("≤ verdaccio", "verdaccio", 1.0),
         "npm asks for tarballs alone, up to 15 at once; a registry asks the upstream for each package's document too, since a tarball is compared with what that promises, mirrorfleet for both at the same time. npm on one core, the registry on the other, beside the upstream; most of the time is npm's own."),
    Work("registry-install-warm", "the same once more: all is kept by the registry, and nothing by npm", "s", Target("≤ verdaccio", "verdaccio", 1.0),
         "What is beyond this is what being far away costs."),
    Work("registry-memory", "npm, resident memory after these", "MiB", Target("≤ 64 MiB", bound=64), "With the rows before it in the same run."),
)

def served(name: str, title: str, unit: str, factor: float, meaning: str) -> Work:
    return Work(name, title, unit, Target(f"≥ {factor} of nginx", "nginx", factor, more_is_better=True), meaning)


ONE_CONNECTION = (
    served("serve-small", "one file of 5 KiB", "requests/s", 0.9, "What a request costs when everything is in the caches."),
    served("serve-many", "20,000 packages in random order", "requests/s", 0.9, "What looking up a path and opening a file costs. Both servers keep three eighths of the descriptors that they may have for open files; where that is less than the packages, the others are opened anew."),
    served("serve-304", "not modified", "requests/s", 0.9, "What most requests of apt are. Both servers receive, send and wait; outside the kernel a request takes 15,700 instructions, nginx's 12,500 (callgrind)."),
    served("serve-1m", "one file of 1 MiB", "GiB/s", 1.0, "Throughput of one core, with a request for each MiB."),
    served("serve-256m", "one file of 256 MiB", "GiB/s", 1.0, "Throughput of one core without anything else. For each 512 KiB the page cache is asked whether a byte is there, so that no thread waits for the disk; nginx does without. One `sendfile` takes up to 2 MiB, as nginx's, and a socket that took a part is asked again when the kernel says that it has room."),
    served("serve-ranges", "random ranges of 64 KiB", "GiB/s", 1.0, "What parallel downloaders ask for. A range takes five system calls: receiving, the head, which wakes the client, a probe of the page cache (so that no thread waits for the disk), sendfile, waiting. nginx does without the probe. Outside the kernel a range takes 22,000 instructions, nginx's 15,000 (callgrind)."),
)
SERVE = (
    *ONE_CONNECTION,
    *(replace(work, name=f"{work.name}-64", title=f"{work.title}, 64 connections", meaning="") for work in ONE_CONNECTION),
    served("serve-small-tls", "one file of 5 KiB, TLS, 64 connections", "requests/s", 0.8, "HTTP/1.1 over TLS 1.3."),
    served("serve-1m-tls", "one file of 1 MiB, TLS, 64 connections", "GiB/s", 0.8, "What encrypting costs."),
    served("serve-small-h2", "one file of 5 KiB, h2, 8 connections with 8 streams each", "requests/s", 0.8, "Over TLS 1.3, by h2load. Answers to requests that came together leave in one write of up to 32 KiB: a request takes a third of a write and one read of the file, nginx's one of each."),
    served("serve-1m-h2", "one file of 1 MiB, h2, 8 connections with 8 streams each", "GiB/s", 0.8, "The same with large answers."),
    Work("serve-busy", "200 busy connections beside 1,000 idle ones", "ms", Target("≤ 1.5 of nginx", "nginx", 1.5),
         "In how many milliseconds 99 of 100 requests for 5 KiB are answered; less is better."),
    Work("serve-idle", "an idle connection", "KiB", Target("≤ 20 KiB", bound=20, compared=False),
         "By how much the process grows for each of 1,000 connections that have had an answer; without what the kernel holds for each. Less is better."),
)
CHECKS = (
    Work("relay", "first copy, 20,000 packages, through the relay without delay", "s", Target("the relay costs < 15 %", "without the relay", 1.15),
         "Whether the relay that adds the round trips distorts what is measured through it."),
)
ALL = {work.name: work for work in (*SYNC, *ARCH, *FOLLOW, *MEMORY, *SWITCH, *SERVE, *REGISTRY, *CHECKS)}
