"""Waiting for things, and the errors of the lab."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


class LabError(Exception):
    """The lab could not do what was asked; the message says which part and where its log is."""


class NotSupported(LabError):
    """This cluster cannot do it (an existing cluster has no nodes of ours to switch off, for example)."""


def wait_until(
    predicate: Callable[[], Result],
    timeout: float,
    what: str,
    interval: float = 0.25,
    detail: Callable[[], object] | None = None,
) -> Result:
    """Poll `predicate` until it returns something true, and return that.

    A LabError from the predicate counts as "not yet". After `timeout` seconds a TimeoutError says what was
    waited for, the last answer or error, and what `detail` returns.
    """
    deadline = time.monotonic() + timeout
    while True:
        last: object
        try:
            last = predicate()
            if last:
                return last
        except LabError as error:
            last = error
        if time.monotonic() >= deadline:
            message = f"waited {timeout:g} s for {what}; last: {last!r}"
            if detail is not None:
                message += f"\n{detail()}"
            raise TimeoutError(message)
        time.sleep(interval)


def tail(path: Path, lines: int = 15) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return f"({error})"
