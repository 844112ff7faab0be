"""The process outside the namespaces that a lab hangs on: it starts them, ends them, and cleans up behind them.

It ends the lab when it is told to (SIGTERM), when the lab's process 1 dies, and when the process that asked for
the lab dies: that one holds the other end of a pipe. Should the keeper itself be killed, the kernel takes the
namespaces with it, and the next start removes what is left.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from . import cgroups
from .control import Namespaces
from .layout import API_SERVER_IP, API_SERVER_PORT, Layout
from .tools import cache_root

_PACKAGE = Path(__file__).resolve().parent
PACKAGE_PARENT = str(_PACKAGE.parent)
_PR_SET_PDEATHSIG = 1


def registry() -> Path:
    """One file per lab that has left, or may leave, cgroups behind."""
    return cache_root() / "labs"


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def supervisor_command(socket_path: Path) -> list[str]:
    """A supervisor as process 1 of namespaces of its own, which end with it and with this command."""
    return [
        "unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child", "--",
        sys.executable, str(_PACKAGE / "supervisor.py"), str(socket_path),
    ]  # fmt: skip


def take_lock(layout: Layout):
    """The lock of a lab's keeper, or None while one holds it."""
    lock = open(layout.keeper_lock, "a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


class Keeper:
    def __init__(self, layout: Layout, owner_fd: int) -> None:
        self.layout = layout
        self.owner_fd = owner_fd
        self.children: list[subprocess.Popen] = []
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        self.wake_read = wake_read
        signal.set_wakeup_fd(wake_write)
        self.told_to_stop = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _stop(self, *_: object) -> None:
        self.told_to_stop = True

    def run(self) -> int:
        lock = take_lock(self.layout)
        if lock is None:
            print("another keeper has this work directory", file=sys.stderr)
            return 1
        registry().mkdir(parents=True, exist_ok=True)
        # Valid exactly as long as the lock is held, so nobody ever signals a stranger with a recycled id.
        self.layout.keeper_pid.write_text(str(os.getpid()))
        entry = registry() / f"{self.layout.identity}.json"
        entry.write_text(json.dumps({"workdir": str(self.layout.workdir)}))
        try:
            self._start()
            self._wait()
        finally:
            self._end()
            clean(self.layout)
            entry.unlink(missing_ok=True)
            lock.close()
        return 0

    def _start(self) -> None:
        environment = dict(os.environ, PYTHONPATH=PACKAGE_PARENT)
        self.children.append(
            subprocess.Popen(
                supervisor_command(self.layout.lab_socket),
                env=environment, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent,
            )
        )  # fmt: skip
        namespaces = Namespaces(self.layout.lab_socket, {})
        while not namespaces.is_up():
            if self.told_to_stop or self.children[0].poll() is not None:
                return
            time.sleep(0.02)
        listener = socket.create_server(("127.0.0.1", 0))
        os.set_inheritable(listener.fileno(), True)
        relay = [sys.executable, str(_PACKAGE / "relay.py"), str(listener.fileno())]
        relay += [API_SERVER_IP, str(API_SERVER_PORT)]
        self.children.append(
            subprocess.Popen(
                ["nsenter", f"--net=/proc/{namespaces.pid()}/ns/net", "--", *relay],
                env=environment, stdin=subprocess.DEVNULL, pass_fds=[listener.fileno()], preexec_fn=_die_with_parent,
            )
        )  # fmt: skip
        port = listener.getsockname()[1]
        listener.close()
        # Renamed into place: whoever sees the file reads all of it.
        temporary = self.layout.api_port.with_suffix(".new")
        temporary.write_text(str(port))
        temporary.rename(self.layout.api_port)

    def _wait(self) -> None:
        watched = [self.wake_read] + ([self.owner_fd] if self.owner_fd >= 0 else [])
        while not self.told_to_stop and self.children[0].poll() is None:
            readable, _, _ = select.select(watched, [], [])
            if self.wake_read in readable:
                os.read(self.wake_read, 4096)
            if self.owner_fd in readable:
                if not os.read(self.owner_fd, 1):
                    return  # the owner died
                watched.remove(self.owner_fd)  # the owner lets the lab stay

    def _end(self) -> None:
        # unshare's child, process 1 of the lab, dies with it, and everything in the lab dies with process 1.
        pids = [pid for pid in (_pid(self.layout.lab_socket),) if pid]
        for child in self.children:
            child.kill()
            child.wait()
        _wait_until_gone(pids)


def _pid(socket_path: Path) -> int:
    try:
        return Namespaces(socket_path, {}).pid()
    except OSError:
        return 0


def _wait_until_gone(pids: list[int], timeout: float = 20) -> None:
    deadline = time.monotonic() + timeout
    for pid in pids:
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.02)


def clean(layout: Layout) -> None:
    """Remove what a dead lab left, except for its logs."""
    cgroups.remove(layout.identity)
    for directory in (layout.nodes, layout.etcd, layout.credentials, layout.config):
        shutil.rmtree(directory, ignore_errors=True)
    for file in (layout.kubeconfig, layout.api_port, *layout.control.glob("*.sock")):
        file.unlink(missing_ok=True)


def clean_stale() -> list[str]:
    """Clean up behind labs whose keeper was killed. A lab with a keeper, and what is in no entry, is left alone."""
    cleaned = []
    for entry in registry().glob("*.json") if registry().is_dir() else []:
        try:
            layout = Layout(Path(json.loads(entry.read_text())["workdir"]))
        except (OSError, ValueError, KeyError):
            continue
        if f"{layout.identity}.json" != entry.name:
            continue
        layout.control.mkdir(parents=True, exist_ok=True)
        lock = take_lock(layout)
        if lock is None:
            continue
        with lock:
            if pid := _pid(layout.lab_socket):
                os.kill(pid, signal.SIGKILL)
                _wait_until_gone([pid])
            clean(layout)
            entry.unlink(missing_ok=True)
        cleaned.append(str(layout.workdir))
    return cleaned


def main(arguments: list[str]) -> int:
    return Keeper(Layout(Path(arguments[0])), int(arguments[1])).run()
