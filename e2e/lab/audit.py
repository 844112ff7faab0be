"""Reads the API server's audit log: level Metadata (of Upstreams with what was written), one event
per finished request (two per watch)."""

from __future__ import annotations

import json
from pathlib import Path

_READS = ("get", "list", "watch")


def read(log: Path, user: str, writes_only: bool, resource: str, namespace: str, since: int) -> list[dict]:
    """The events after a position of the file that match. An empty condition matches everything.

    `user` is the whole user name, for example `system:serviceaccount:NAMESPACE:NAME`.
    """
    found = []
    with open(log, "rb") as file:
        file.seek(since)
        for line in file:
            if not line.endswith(b"\n"):
                break  # being written
            event = json.loads(line)
            reference = event.get("objectRef", {})
            if (
                (not user or event.get("user", {}).get("username") == user)
                and (not writes_only or event["verb"] not in _READS)
                and (not resource or reference.get("resource") == resource)
                and (not namespace or reference.get("namespace") == namespace)
            ):
                found.append(event)
    return found
