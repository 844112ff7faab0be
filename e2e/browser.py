"""A real browser without a window: Debian's chromium-headless-shell, spoken to by its own protocol over a pair of pipes."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.waiting import wait_until

PROGRAM = "chromium-headless-shell"
PATIENCE_SECONDS = 60


class PageLeft(AssertionError):
    """The page went away while something was asked of it."""


class Browser:
    """One tab. What it complains about and what it asks for are kept."""

    def __init__(self, profile: Path, enter: Callable[[list], list[str]] = list) -> None:
        """`enter` makes a command one that runs elsewhere, in the lab's network for example."""
        to_read, self._commands = os.pipe()
        self._answers, to_write = os.pipe()
        arguments = ["--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={profile}"]

        def take_pipes() -> None:
            # Out of the way of each other first: the protocol is spoken at 3 and 4.
            ours = os.dup(to_read), os.dup(to_write)
            os.dup2(ours[0], 3)
            os.dup2(ours[1], 4)

        log = (profile.parent / "browser.log").open("a")
        self._process = subprocess.Popen(enter([PROGRAM, *arguments, "about:blank"]), preexec_fn=take_pipes, close_fds=False, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self._buffer = b""
        self._number = 0
        self._session = ""
        self.complaints: list[str] = []
        self.asked: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._commands)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._answers)

    def call(self, method: str, **params: Any) -> dict:
        """Asks for something, and waits for the answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            heard = self._hear(deadline, method)
            if heard.get("id") == self._number:
                if "navigated or closed" in heard.get("error", {}).get("message", ""):
                    raise PageLeft(f"{method}: {heard['error']}")
                assert "error" not in heard, f"{method}: {heard['error']}"
                return heard["result"]

    def _hear(self, deadline: float, method: str) -> dict:
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self._answers], [], [], left)[0], f"the browser does not answer {method}"
            chunk = os.read(self._answers, 1 << 16)
            assert chunk, f"the browser ended during {method}"
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        heard = json.loads(line)
        params = heard.get("params", {})
        match heard.get("method"):
            case "Log.entryAdded":
                self.complaints.append(f"{params['entry']['source']}: {params['entry']['text']}")
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params["exceptionDetails"])[:500])
            case "Network.requestWillBeSent":
                self.asked.append(params["request"]["url"])
        return heard

    def look(self, *, width: int, height: int, dark: bool = False, scripts: bool = True) -> None:
        """How whoever looks does so, from the next page on."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete' && location.href", url, PATIENCE_SECONDS, f"{url} to be shown")

    def value(self, expression: str) -> Any:
        """What an expression is on the page; it runs whether the page may have scripts or not."""
        told = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, f"{expression[:200]}: {told['exceptionDetails']}"
        return told["result"].get("value")

    def wait_for(self, expression: str, wanted: Any, seconds: float, what: str) -> None:
        """Until an expression is what is wanted, on whichever page is shown by then: one that is left meanwhile has no say."""

        def is_wanted() -> bool:
            try:
                return self.value(expression) == wanted
            except PageLeft:
                return False

        wait_until(is_wanted, seconds, what, interval=0.05)

    def leave_by(self, expression: str) -> None:
        """Does what leads to another page; the answer may go down with this one."""
        with contextlib.suppress(PageLeft):
            self.value(f"{expression}; undefined")

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def picture(self, file: Path, *, whole: bool = True) -> None:
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(shot["data"]))
