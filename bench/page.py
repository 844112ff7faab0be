"""The table, for the terminal and for docs/benchmarks.md."""

from __future__ import annotations

import machine
from places import PAGE
from results import Figure, Result
from works import ALL, ARCH, CHECKS, FOLLOW, MEMORY, OURS, REGISTRY, SERVE, SWITCH, SYNC, Work

HEAD = """# Benchmarks

`make bench` writes this page: it builds the archives, installs the other tools, measures, and needs about an hour and a quarter.
`make bench ONLY=changed-20000` measures one row anew, `make bench QUICK=1` takes a first look in three minutes and
leaves this page alone. Figures from a machine that others use at the same time are worth little.

**Machine**: {machine}.

**Programs**: {versions}.

Medians; in parentheses the number of runs. A ratio is mirrorfleet's figure divided by the other's; where none is named by
the target, by the best of the others. The contenders take turns, so that a disturbance meets all of them. The archive is signed and laid out as Debian's own: packages of 4 to 64 KiB with a median of 5 KiB, 146 MB for 20,000. It is served by
nginx and an rsync daemon on the same machine, so that upstream and mirror share the cores. All use 20 connections where
they can choose (debmirror and rsync have one). A round trip of 50 ms comes from a relay that delays in both directions and
limits nothing else; opening a connection costs a round trip too. Dirty pages are written before each run.

What is compared is not the same work: mirrorfleet, debmirror and aptly verify signatures and digests, **apt-mirror and
rsync verify nothing**. After each run it is checked that every package is there with its size, and mirrorfleet's copy
is hashed once more by `mirrorfleet verify`.
"""

SECTIONS = (
    ("Copying", SYNC, "Seconds; less is better."),
    ("Copying Arch Linux", ARCH, "Seconds; less is better. A repository of pacman with a signature beside each package, "
     "as large as the packages above. rsync is what the distribution prescribes; neither it nor lftp verifies anything."),
    ("Copying between regions", FOLLOW, "Seconds; less is better. mirrorfleet copies what another mirrorfleet serves to those that follow it, from an "
     "index that somebody vouches for; rsync copies the tree of the same archive, and verifies nothing."),
    ("Memory", MEMORY, "MiB of the largest process at its peak; less is better."),
    ("Switching", SWITCH, "Milliseconds; less is better. Nobody else has this: the others change files one by one while they are served."),
    ("Serving", SERVE, "The server on one core and the client (wrk, for h2 h2load) on the other; one connection, which measures wake-ups more than anything "
     "else, or 64; where no other word stands, more is better. mirrorfleet serves its store, the others the "
     "tree that `mirrorfleet export` makes of it by hard links; nginx with sendfile and a cache of as many open files as mirrorfleet keeps."),
    ("Registries of npm", REGISTRY, "The server on one core and wrk on the other, 64 connections; where no other word stands, more is better. All have asked the same "
     "upstream before; verdaccio and nginx rewrite each answer, mirrorfleet sends what it wrote once."),
    ("The bench itself", CHECKS, "Seconds; less is better."),
)


def write_page(results: dict[str, Result]) -> None:
    parts = [HEAD.format(machine=machine.describe(), versions=machine.versions())]
    for title, unit, measured in sections(results):
        parts.append(f"## {title}\n\n{unit}\n\n{table(measured)}\n{sentences(measured)}")
    PAGE.write_text("\n".join(parts))


def tables(results: dict[str, Result]) -> str:
    """For the terminal: the figures alone."""
    return "\n".join(f"{title}: {unit}\n\n{table(measured)}" for title, unit, measured in sections(results))


def sections(results: dict[str, Result]) -> list[tuple[str, str, dict[str, Result]]]:
    """Title, unit and figures of each section of which something was measured."""
    parted = [(title, unit, {work.name: results[work.name] for work in works if work.name in results}) for title, works, unit in SECTIONS]
    return [section for section in parted if section[2]]


def table(results: dict[str, Result]) -> str:
    """Markdown with columns that line up."""
    ordered = [ALL[name] for name in ALL if name in results]
    names = list(dict.fromkeys(figure.contender for work in ordered for figure in results[work.name].figures))
    head = ["work", *names, "ratio", "target", "met"]
    rows = [row(work, results[work.name], names) for work in ordered]
    widths = [max(len(line[column]) for line in [head, *rows]) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines) + "\n"


def row(work: Work, result: Result, names: list[str]) -> list[str]:
    cells = [cell(work, result.of(name)) for name in names]
    return [work.name, *cells, ratio(work, result), work.target.text, {True: "yes", False: "**no**", None: "–"}[work.target.met(result)]]


def cell(work: Work, figure: Figure | None) -> str:
    if figure is None:
        return "–"
    if figure.median is None:
        return "failed"
    text = f"{number(figure.median)} ({len(figure.samples)})"
    if figure.requests is not None:
        text += f", {figure.requests:,} req."
    return text + (" \\*" if figure.note else "")


def ratio(work: Work, result: Result) -> str:
    value, rival = work.target.ratio(result), work.target.rival(result)
    return f"{value:.2f} of {rival.contender}" if value is not None else "–"


def sentences(results: dict[str, Result]) -> str:
    """What each row means, and what is different about a figure."""
    lines = []
    for work in (ALL[name] for name in ALL if name in results):
        result = results[work.name]
        verdict = {True: "The target is met.", False: "**The target is missed.**", None: ""}[work.target.met(result)]
        notes = "".join(f" \\* {figure.contender}: {figure.note}." for figure in result.figures if figure.note)
        about = f"`{work.name}`, {work.unit}, measured {result.date} at {result.revision}"
        lines.append(f"- **{work.title}** ({about}). {work.meaning} {verdict}{cpu(work, result)}{notes}".rstrip())
    return "\n".join(lines) + "\n"


def cpu(work: Work, result: Result) -> str:
    ours = result.of(OURS)
    if work.unit != "s" or not ours or not ours.cpu:
        return ""
    return f" Of the processors mirrorfleet takes {number(sorted(ours.cpu)[len(ours.cpu) // 2])} s, and at most {ours.peak_kib / 1024:.0f} MiB of memory."


def number(value: float) -> str:
    """Three digits that mean something."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"
