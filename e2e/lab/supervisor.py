"""Process 1 of a PID namespace (the lab's, or one node's): starts daemons on request and reaps everything.

It answers one JSON object per line on a unix socket. When it ends, the kernel kills every process of its
namespace, so ending it is how a node loses power and how the lab goes away.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from pathlib import Path


class Supervisor:
    def __init__(self, socket_path: Path) -> None:
        # A unix socket's path is limited to 108 bytes, a name relative to the current directory is not that long.
        os.chdir(socket_path.parent)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        temporary = f".{socket_path.name}.new"
        Path(temporary).unlink(missing_ok=True)
        listener.bind(temporary)
        listener.listen(16)
        # Renamed only when it listens: a client that sees the socket can connect to it.
        os.rename(temporary, socket_path.name)
        os.chdir("/")
        self.listener = listener
        self.daemons: dict[str, dict] = {}
        self.processes: dict[int, subprocess.Popen] = {}
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ, self.accept)
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(wake_read, selectors.EVENT_READ, lambda: os.read(wake_read, 4096))

    def run(self) -> None:
        while True:
            for key, _ in self.selector.select():
                key.data()
            self.reap()

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            process = self.processes.pop(pid, None)
            if process is None:
                continue  # an orphan of somebody else: reaping it is all that process 1 owes it
            process.returncode = os.waitstatus_to_exitcode(status)
            for daemon in self.daemons.values():
                if daemon["pid"] == pid:
                    daemon["returncode"] = process.returncode

    def accept(self) -> None:
        connection, _ = self.listener.accept()
        connection.settimeout(10)
        with connection, connection.makefile("rw") as stream:
            try:
                line = stream.readline()
                if not line:
                    return
                answer = self.handle(json.loads(line))
            except (OSError, ValueError, KeyError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            try:
                stream.write(json.dumps(answer) + "\n")
                stream.flush()
            except OSError:
                pass  # a client that went away does not end the lab

    def handle(self, request: dict) -> dict:
        operation = request["op"]
        if operation == "start":
            return self.start(request)
        if operation == "signal":
            daemon = self.daemons.get(request["name"])
            if daemon and daemon["returncode"] is None:
                os.kill(daemon["pid"], request["signal"])
            return {}
        if operation == "list":
            self.reap()
            return {"daemons": self.daemons}
        raise ValueError(f"unknown operation {operation!r}")

    def start(self, request: dict) -> dict:
        name = request["name"]
        running = self.daemons.get(name)
        if running and running["returncode"] is None:
            raise ValueError(f"{name} is running already")
        with open(request["log"], "ab") as log:
            process = subprocess.Popen(
                request["argv"],
                env=request["env"],
                cwd=request.get("cwd") or "/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes[process.pid] = process
        self.daemons[name] = {"pid": process.pid, "returncode": None, "log": request["log"]}
        return self.daemons[name]


if __name__ == "__main__":
    Supervisor(Path(sys.argv[1])).run()
