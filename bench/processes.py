"""Programs: started by us, measured, and ended by their pid."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from places import CACHE, NATIVE

# nginx, h2o and rsync give up root for a user who cannot read below root's home.
AS_ROOT = os.geteuid() == 0


class Failed(Exception):
    """A program did not do what it was started for; the message ends with its last lines."""


@dataclass(frozen=True)
class Cost:
    """What a run took: of the program and of all that it started, except for the peak, which is the largest one's."""

    seconds: float
    user: float
    system: float
    peak_kib: int
    output: str


def environment(home: Path) -> dict[str, str]:
    """Nothing of the person's set-up: no proxy, no configuration, no language."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return {"PATH": path, "HOME": str(home), "LC_ALL": "C.UTF-8", "GNUPGHOME": str(home / "gnupg")}


def native(name: str) -> Path:
    """A helper in C, compiled when its source is newer."""
    source, program = NATIVE / f"{name}.c", CACHE / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = program.with_name(f"{name}.{os.getpid()}")
        subprocess.run(["gcc", "-O2", "-o", str(fresh), str(source)], check=True)
        fresh.replace(program)
    return program


def measured(command: list[str], work: Path, timeout: float, good_codes: tuple[int, ...] = (0,)) -> Cost:
    """Runs a program to its end. Dirty pages of what came before are written first: they are not its cost."""
    os.sync()
    report, log = work / "measure.json", work / "measure.log"
    report.unlink(missing_ok=True)
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [str(native("measure")), str(report), *command], cwd=work, env=environment(work),
            stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True,
        )
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"{command[0]} was ended after {timeout:g} s") from None
        finally:
            end_group(process)
    output = log.read_text(errors="replace")
    if not report.exists() or (cost := json.loads(report.read_text())).pop("code") not in good_codes:
        raise Failed(f"{' '.join(command)} failed:\n" + "\n".join(output.splitlines()[-15:]))
    return Cost(**cost, output=output)


def end_group(process: subprocess.Popen) -> None:
    """Ends a program that was started in a session of its own, and what it left behind there."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


@contextmanager
def running(command: list[str], log: Path, *, ready_port: int | None = None, stdout=None) -> Iterator[subprocess.Popen]:
    """A server for as long as the block lasts; begins when it accepts connections."""
    with log.open("ab") as sink:
        process = subprocess.Popen(
            command, env=environment(log.parent), stdin=subprocess.DEVNULL,
            stdout=stdout or sink, stderr=sink, start_new_session=True,
        )
        try:
            if ready_port is not None:
                wait_for_port(process, ready_port, log)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                pass
            end_group(process)


def wait_for_port(process: subprocess.Popen, port: int, log: Path) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise Failed(f"{process.args[0]} does not listen on port {port}:\n{log.read_text(errors='replace')[-2000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fresh(parent: Path, name: str) -> Path:
    """A new directory. Old ones stay until all is measured: for minutes after many files were removed, ext4 looks for
    free inodes at every one of them, and whoever comes next would pay for it."""
    number = next(number for number in itertools.count() if not (parent / f"{name}-{number}").exists())
    directory = parent / f"{name}-{number}"
    directory.mkdir(parents=True)
    return directory
