"""Talks to a supervisor, and runs single commands inside its namespaces."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
from pathlib import Path

from .waiting import LabError, tail, wait_until


class Namespaces:
    """The namespaces whose process 1 is the supervisor that listens on `socket_path`."""

    def __init__(self, socket_path: Path, environment: dict[str, str]) -> None:
        self.socket_path = socket_path
        self.environment = environment

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(20)
        directory = os.open(self.socket_path.parent, os.O_PATH)
        try:
            # Through /proc because a long work directory would not fit into a socket address.
            connection.connect(f"/proc/self/fd/{directory}/{self.socket_path.name}")
        except OSError:
            connection.close()
            raise
        finally:
            os.close(directory)
        return connection

    def pid(self) -> int:
        """The supervisor's process id as the caller sees it: the kernel translates a peer's credentials."""
        with self._connect() as connection:
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return struct.unpack("3i", credentials)[0]

    def is_up(self) -> bool:
        try:
            return self.pid() > 0
        except OSError:
            return False

    def _request(self, **request) -> dict:
        try:
            with self._connect() as connection, connection.makefile("rw") as stream:
                stream.write(json.dumps(request) + "\n")
                stream.flush()
                line = stream.readline()
        except OSError as error:
            raise LabError(f"{self.socket_path.stem} is not running ({error})") from error
        if not line:
            raise LabError(f"{self.socket_path.stem} stopped while it was asked to {request['op']}")
        answer = json.loads(line)
        if "error" in answer:
            raise LabError(f"{request['op']} {request.get('name', '')}: {answer['error']}")
        return answer

    def start(self, name: str, argv: list[str], log: Path, environment: dict | None = None, cwd: str = "") -> None:
        """Start a daemon; it belongs to the namespaces, not to the caller, and outlives the caller's process."""
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**self.environment, **(environment or {})}
        self._request(op="start", name=name, argv=[str(part) for part in argv], log=str(log), env=environment, cwd=cwd)

    def daemons(self) -> dict[str, dict]:
        return self._request(op="list")["daemons"]

    def signal(self, name: str, number: int) -> None:
        self._request(op="signal", name=name, signal=number)

    def stop(self, name: str, grace: float = 3) -> None:
        """End a daemon: politely first, and by SIGKILL after `grace` seconds."""

        def ended() -> bool:
            daemon = self.daemons().get(name)
            return daemon is None or daemon["returncode"] is not None

        self.signal(name, signal.SIGTERM)
        try:
            wait_until(ended, grace, f"{name} to stop", interval=0.05)
        except TimeoutError:
            self.signal(name, signal.SIGKILL)
            wait_until(ended, 120, f"{name} to die", interval=0.05)

    def check(self, *names: str) -> None:
        """Raise, with the end of its log, if one of these daemons ended by itself."""
        daemons = self.daemons()
        for name in names or daemons:
            daemon = daemons.get(name)
            if daemon and daemon["returncode"] is not None:
                log = Path(daemon["log"])
                raise LabError(f"{name} ended with {daemon['returncode']}; the end of {log}:\n{tail(log)}")

    def command(self, argv: list, cwd: str | Path | None = None) -> list[str]:
        """`argv` wrapped so that it runs inside; it dies with the wrapper, so that a timeout leaves nothing behind."""
        enter = ["nsenter", f"--target={self.pid()}", "--net", "--mount", "--pid", "--uts"]
        # nsenter goes to the target's root directory unless told where to stay.
        here = f"--wd={cwd or os.getcwd()}"
        return [*enter, here, "--", "setpriv", "--pdeathsig", "KILL", "--", *(str(part) for part in argv)]

    def run(self, argv: list, *, check: bool = True, **options) -> subprocess.CompletedProcess:
        """Run one command inside and capture what it prints."""
        options.setdefault("text", True)
        options.setdefault("env", self.environment)
        if "stdout" not in options and "stderr" not in options:
            options["capture_output"] = True
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        result = subprocess.run(self.command(argv), **options)
        if check and result.returncode != 0:
            raise CommandFailed(argv, result)
        return result

    def run_outside_pid_namespace(self, argv: list) -> None:
        """Run with the machine's process ids and files, but in this network."""
        command = ["nsenter", f"--net=/proc/{self.pid()}/ns/net", "--", *argv]
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if result.returncode != 0:
            raise CommandFailed(argv, result)

    def shell(self, script: str) -> str:
        return self.run(["sh", "-euc", script]).stdout


class CommandFailed(LabError):
    """A command that was expected to succeed did not."""

    def __init__(self, argv: list, result: subprocess.CompletedProcess) -> None:
        self.result = result
        shown = " ".join(str(part) for part in argv)
        output = "".join(part for part in (result.stdout, result.stderr) if isinstance(part, str)).strip()
        super().__init__(f"`{shown[:400]}` ended with {result.returncode}: {output[-3000:]}")
