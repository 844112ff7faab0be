"""Reading objects over one kept connection a thread, through one `kubectl proxy`: scenarios ask several times a second
until something is so, and a `kubectl` for each question takes more of the machine than the cluster that is asked. So is
written what is measured from the moment of its answer."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from .waiting import LabError

TIMEOUT = 30


@dataclass(frozen=True)
class Resource:
    """Where objects of a kind are: `prefix` is `/api/v1` or `/apis/<group>/<version>`."""

    prefix: str
    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str = "") -> str:
        within = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.prefix}{within}/{self.plural}" + (f"/{name}" if name else "")


class Reads:
    """`proxy` is the Unix socket of a `kubectl proxy`."""

    def __init__(self, proxy: Path) -> None:
        self._proxy = str(proxy)
        self._resources: dict[str, Resource] = {}
        self._own = threading.local()

    def get(self, kind: str, name: str, namespace: str | None) -> dict | None:
        return self._json(self._resource(kind).path(namespace or "default", name), absent=None)

    def list(self, kind: str, namespace: str | None, selector: str) -> list[dict]:
        resource = self._resource(kind)
        query = f"?labelSelector={urllib.parse.quote(selector)}" if selector else ""
        items = self._json(resource.path(namespace) + query)["items"] or []
        # In a list they do not say what they are.
        return [{"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in items]

    def merge(self, kind: str, name: str, namespace: str, patch: dict) -> None:
        """A merge patch; returns with the server's answer."""
        path = self._resource(kind).path(namespace, name)
        headers = {"Content-Type": "application/merge-patch+json"}
        status, body = self._ask(path, "PATCH", json.dumps(patch).encode(), headers)
        if status != 200:
            raise LabError(f"PATCH {path}: {status}: {body.decode(errors='replace')[:400]}")

    def _resource(self, word: str) -> Resource:
        """By plural, singular, short name or kind, with the group if one likes: `pods`, `pvc`, `mirrors.mirrorfleet.dev`."""
        if word.lower() not in self._resources:
            self._resources = self._discover()
        try:
            return self._resources[word.lower()]
        except KeyError:
            raise LabError(f"the server doesn't have a resource type {word!r}") from None

    def _discover(self) -> dict[str, Resource]:
        """Where two groups have a word, it means the core's, else the first group's; of a group its preferred version."""
        groups = [("", "/api/v1", "v1")]
        for group in self._json("/apis")["groups"]:
            version = group["preferredVersion"]["groupVersion"]
            groups.append((f".{group['name']}", f"/apis/{version}", version))
        found: dict[str, Resource] = {}
        for suffix, prefix, version in groups:
            # A group whose own server is away is not the question here.
            for it in self._json(prefix, absent={"resources": []})["resources"]:
                resource = Resource(prefix, version, it["kind"], it["name"], it["namespaced"])
                words = {it["name"], it["singularName"], it["kind"].lower(), *it.get("shortNames", [])} - {""}
                if "/" not in it["name"]:
                    for word in words:
                        found.setdefault(word, resource)
                        found.setdefault(word + suffix, resource)
        return found

    def _json(self, path: str, **absent: object):
        status, body = self._ask(path)
        if status == 404 and "absent" in absent:
            return absent["absent"]
        if status != 200:
            raise LabError(f"GET {path}: {status}: {body.decode(errors='replace')[:400]}")
        return json.loads(body)

    def _ask(self, path: str, method: str = "GET", body: bytes | None = None, headers: dict | None = None) -> tuple[int, bytes]:
        """Once more on a new connection where the kept one was closed meanwhile."""
        kept = getattr(self._own, "line", None)
        for line in [kept, None] if kept else [None]:
            line = line or _Line(self._proxy)
            self._own.line = None
            try:
                line.request(method, path, body, headers or {})
                answer = line.getresponse()
                found = answer.status, answer.read()
                self._own.line = line
                return found
            except (OSError, http.client.HTTPException) as error:
                line.close()
                failure = LabError(f"{method} {path}: {error!r}")
        raise failure


class _Line(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
