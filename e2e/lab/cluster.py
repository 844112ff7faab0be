"""The verbs that work on any cluster: ours (`Lab`) and one that someone already has (`ExistingCluster`)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from .control import CommandFailed
from .reads import Reads
from .tools import cache_root
from .waiting import LabError, NotSupported, wait_until

Manifest = str | dict | list | Path

# What a cluster may or may not be able to do; `supports` and `require` take these names.
CAPABILITIES = {
    "own-nodes": "switch nodes off and on, cut them off, and stop or restart the programs on them",
    "four-nodes": "spread over four nodes of our own in three regions",
    "own-control-plane": "restart control plane programs",
    "audit-log": "read the API server's audit log",
    "load-image": "load container images from an archive",
    "pod-network": "reach pods and Services by address and name from `exec`, and be reached from pods",
    "small-volumes": "make a volume that really fills up on a given node",
    "default-storage": "provision volumes dynamically by a default storage class",
}


class Cluster:
    """Runs commands that have the cluster's KUBECONFIG. Subclasses say where, and what else they can do."""

    capabilities: frozenset[str] = frozenset()
    environment: dict[str, str]
    _reader: Reads | None = None
    _starting = threading.Lock()

    # Capabilities

    def supports(self, capability: str) -> bool:
        if capability not in CAPABILITIES:
            raise ValueError(f"unknown capability {capability!r}; there are: {', '.join(CAPABILITIES)}")
        return capability in self.capabilities

    def require(self, *capabilities: str) -> None:
        """Raise NotSupported for what this cluster cannot do; a scenario that calls it first is skipped by name."""
        for capability in capabilities:
            if not self.supports(capability):
                raise NotSupported(f"this cluster cannot {CAPABILITIES[capability]} ({capability})")

    # Commands

    def command(self, argv: list, cwd: str | Path | None = None) -> list[str]:
        """`argv` as it must be started to run where the cluster can be reached."""
        return [str(part) for part in argv]

    def exec(
        self,
        argv: list,
        *,
        check: bool = True,
        input: str | bytes | None = None,
        timeout: float | None = 120,
        env: dict[str, str] | None = None,
        cwd: str | Path | None = None,
        text: bool = True,
    ) -> subprocess.CompletedProcess:
        """Run a command to its end and capture its output; CommandFailed (with the output) unless it succeeds."""
        options: dict = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        try:
            result = subprocess.run(
                self.command(argv, cwd),
                capture_output=True, text=text, timeout=timeout, cwd=cwd, env={**self.environment, **(env or {})},
                **options,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            shown = " ".join(str(part) for part in argv)[:400]
            said = f"{error.stdout!r} {error.stderr!r}"
            raise LabError(f"`{shown}` did not end within {timeout:g} s; it said: {said}") from None
        if check and result.returncode != 0:
            raise CommandFailed(argv, result)
        return result

    def popen(self, argv: list, *, env: dict[str, str] | None = None, **options) -> subprocess.Popen:
        """Start a command that runs on (a watch, a port-forward); it ends with the Popen's process."""
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(self.command(argv), env={**self.environment, **(env or {})}, **options)

    def kubectl(
        self,
        *arguments: object,
        namespace: str | None = None,
        input: str | None = None,
        check: bool = True,
        timeout: float = 120,
    ) -> str:
        """kubectl's standard output. With check=False also after a failure (then use `exec` to tell)."""
        where = ["--namespace", namespace] if namespace else []
        return self.exec(["kubectl", *where, *arguments], input=input, check=check, timeout=timeout).stdout

    # Objects

    def apply(self, manifest: Manifest, namespace: str | None = None, *, server_side: bool = False) -> str:
        """Apply YAML text, a file, an object or a list of objects. A refusal raises with the server's words."""
        extra = ["--server-side", "--force-conflicts"] if server_side else []
        return self.kubectl("apply", *extra, "-f", "-", namespace=namespace, input=_text(manifest))

    def refused(self, manifest: Manifest, namespace: str | None = None) -> str:
        """Apply what must be refused; returns why it was, and raises if it was accepted."""
        where = ["--namespace", namespace] if namespace else []
        result = self.exec(["kubectl", *where, "apply", "-f", "-"], input=_text(manifest), check=False)
        if result.returncode == 0:
            raise LabError(f"accepted, though it should have been refused: {result.stdout.strip()}")
        return result.stderr

    def delete(
        self, kind: str, name: str, namespace: str | None = None, *, wait: bool = True, timeout: float = 120,
        force: bool = False,
    ) -> None:  # fmt: skip
        """Delete an object; one that is not there is fine."""
        extra = ["--force", "--grace-period=0"] if force else []
        self.kubectl(
            "delete", kind, name, "--ignore-not-found", f"--wait={str(wait).lower()}", f"--timeout={timeout:g}s",
            *extra, namespace=namespace, timeout=timeout + 10,
        )  # fmt: skip

    def patch(
        self, kind: str, name: str, patch: dict | list, namespace: str | None = None, *, subresource: str = ""
    ) -> None:
        """Patch an object: a list is a JSON patch, a dict a merge patch."""
        extra = [f"--subresource={subresource}"] if subresource else []
        style = "json" if isinstance(patch, list) else "merge"
        self.kubectl("patch", kind, name, f"--type={style}", "--patch", json.dumps(patch), *extra, namespace=namespace)

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict | None:
        """An object, or None if there is none of that name."""
        return self._reads().get(kind, name, namespace)

    def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[dict]:
        """All objects of a kind in a namespace, or in all of them."""
        return self._reads().list(kind, namespace, selector)

    def merge(self, kind: str, name: str, namespace: str, patch: dict) -> None:
        """A merge patch over a kept connection, for what is measured from its answer."""
        self._reads().merge(kind, name, namespace, patch)

    def _reads(self) -> Reads:
        """Through a proxy that is started with the first question and ends with this process at the latest."""
        with self._starting:
            if self._reader is None:
                directory = tempfile.mkdtemp(prefix="mf-reads-")
                place = Path(directory) / "proxy"
                proxy = self.popen(
                    ["kubectl", "proxy", f"--unix-socket={place}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                weakref.finalize(self, _end, proxy, directory)
                wait_until(place.exists, 120, "kubectl's proxy", interval=0.02)
                self._reader = Reads(place)
            return self._reader

    def events(self, namespace: str, *, about: str = "", reason: str = "") -> list[dict]:
        """Events of a namespace, oldest first; `about` is the name of the object, `reason` the reason."""
        found = [
            event
            for event in self.list("events", namespace)
            if (not about or event["involvedObject"].get("name") == about)
            and (not reason or event.get("reason") == reason)
        ]
        return sorted(found, key=lambda event: event["metadata"]["creationTimestamp"])

    def pod_logs(self, pod: str, namespace: str, *, container: str = "", previous: bool = False) -> str:
        extra = ([f"--container={container}"] if container else []) + (["--previous"] if previous else [])
        return self.kubectl("logs", pod, *extra, namespace=namespace)

    def exec_in_pod(self, pod: str, namespace: str, argv: list, *, container: str = "", check: bool = True):
        extra = [f"--container={container}"] if container else []
        return self.exec(["kubectl", "--namespace", namespace, "exec", pod, *extra, "--", *argv], check=check)

    def create_namespace(self, name: str, *, pod_security: str = "restricted") -> None:
        """A namespace that enforces a Pod Security level, in which pods can be created at once."""
        label = {"pod-security.kubernetes.io/enforce": pod_security}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": label}})
        wait_until(lambda: self.get("serviceaccount", "default", name), 120, f"the service account of {name}")

    # Waiting

    def wait_for(
        self,
        kind: str,
        name: str,
        namespace: str | None,
        predicate: Callable[[dict], object],
        timeout: float,
        what: str,
    ) -> dict:
        """Wait until an object exists and satisfies the predicate; returns it. A timeout shows its last status."""
        seen: dict = {}

        def satisfied() -> dict | None:
            nonlocal seen
            seen = self.get(kind, name, namespace) or {}
            return seen if seen and predicate(seen) else None

        def status() -> str:
            return f"{kind}/{name}: " + (json.dumps(seen.get("status")) if seen else "does not exist")

        try:
            return wait_until(satisfied, timeout, what, interval=0.5)
        except TimeoutError:
            raise TimeoutError(f"waited {timeout:g} s for {what}\n{status()}\n{self.picture(namespace)}") from None

    def wait_condition(
        self, kind: str, name: str, namespace: str | None, condition: str, status: str = "True", *,
        reason: str = "", timeout: float = 120,
    ) -> dict:  # fmt: skip
        """Wait until a condition of an object has a status (and a reason); returns the object."""

        def satisfied(thing: dict) -> bool:
            found = condition_of(thing, condition)
            return bool(found and found["status"] == status and (not reason or found.get("reason") == reason))

        what = f"{kind}/{name} to be {condition}={status}" + (f" for {reason}" if reason else "")
        return self.wait_for(kind, name, namespace, satisfied, timeout, what)

    def wait_gone(self, kind: str, name: str, namespace: str | None = None, timeout: float = 120) -> None:
        wait_until(lambda: self.get(kind, name, namespace) is None, timeout, f"{kind}/{name} to be gone")

    def wait_pod_ready(self, pod: str, namespace: str, timeout: float = 120) -> dict:
        return self.wait_condition("pod", pod, namespace, "Ready", timeout=timeout)

    def wait_job(self, job: str, namespace: str, timeout: float = 120) -> dict:
        """Wait until a Job has finished, in whatever way; returns it."""
        return self.wait_for(
            "job", job, namespace,
            lambda thing: any(
                found["status"] == "True" and found["type"] in ("Complete", "Failed")
                for found in thing.get("status", {}).get("conditions", [])
            ),
            timeout, f"job/{job} to finish",
        )  # fmt: skip

    def picture(self, namespace: str | None) -> str:
        """What a person would look at first after a failure."""
        if namespace is None:
            return self.kubectl("get", "nodes,pods", "--all-namespaces", "-o", "wide", check=False)
        parts = [
            self.kubectl("get", "pods,jobs,statefulsets,services,pvc", "-o", "wide", namespace=namespace, check=False),
            self.kubectl("get", "events", "--sort-by=.metadata.creationTimestamp", namespace=namespace, check=False),
        ]
        return "\n".join(parts)

    # Ports

    @contextlib.contextmanager
    def port_forward(self, target: str, namespace: str, port: int) -> Iterator[str]:
        """While it lasts, `http://127.0.0.1:N` (reachable from `exec`) leads to a port of a pod or Service."""
        argv = ["kubectl", "--namespace", namespace, "port-forward", target, f":{port}"]
        process = self.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()  # the port, or why there is none
            if "127.0.0.1:" not in line:
                raise LabError(f"port-forward to {target}: {line.strip() or 'ended at once'}")
            yield "http://127.0.0.1:" + line.split("127.0.0.1:")[1].split()[0]
        finally:
            process.kill()
            process.wait()


def _end(process: subprocess.Popen, directory: str) -> None:
    process.terminate()
    process.wait()
    shutil.rmtree(directory, ignore_errors=True)


class ExistingCluster(Cluster):
    """A cluster that someone already has, by its KUBECONFIG. Commands run on this machine.

    What it can do beyond plain Kubernetes is for its owner to say: `capabilities` takes names from CAPABILITIES, and
    with `pod-network` goes the address by which its pods reach this machine.
    """

    def __init__(
        self, kubeconfig: str | Path, path: str = "", capabilities: tuple[str, ...] = (), host_ip: str = "127.0.0.1"
    ) -> None:
        self.kubeconfig = Path(kubeconfig)
        self.host_ip = host_ip
        self._servers: dict[str, subprocess.Popen] = {}
        # Not in the person's own ~/.kube: short-lived clusters would pile up there.
        self.environment = dict(os.environ, KUBECONFIG=str(kubeconfig), KUBECACHEDIR=str(cache_root() / "kubectl"))
        if path:
            self.environment["PATH"] = f"{path}:{self.environment['PATH']}"
        if shutil.which("kubectl", path=self.environment["PATH"]) is None:
            raise LabError("kubectl is not on PATH")
        self.capabilities = frozenset(capabilities)

    def __enter__(self) -> ExistingCluster:
        self.kubectl("version", timeout=30)
        if any(_is_default(storage_class) for storage_class in self.list("storageclass")):
            self.capabilities |= {"default-storage"}
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._servers):
            self.stop_server(name)

    def run_server(self, name: str, argv: list, *, ready_url: str = "", timeout: float = 120) -> None:
        """Start a long-running server on this machine; with `ready_url` it returns once that URL answers."""
        self._servers[name] = self.popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def answers() -> bool:
            if self._servers[name].poll() is not None:
                raise RuntimeError(f"{name} ended with {self._servers[name].returncode}")
            return self.exec(["curl", "-sS", "-o", os.devnull, "--max-time", "2", ready_url], check=False).returncode == 0

        if ready_url:
            wait_until(answers, timeout, f"{name} at {ready_url}", 0.1)

    def stop_server(self, name: str) -> None:
        process = self._servers.pop(name)
        process.terminate()
        process.wait()


def condition_of(thing: dict, kind: str) -> dict | None:
    """The condition of a type in an object's status."""
    # Of a kind that was just made the list is null.
    for found in thing.get("status", {}).get("conditions") or []:
        if found["type"] == kind:
            return found
    return None




def _text(manifest: Manifest) -> str:
    if isinstance(manifest, Path):
        return manifest.read_text()
    if isinstance(manifest, list):
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": manifest})
    return manifest if isinstance(manifest, str) else json.dumps(manifest)


def _is_default(storage_class: dict) -> bool:
    annotations = storage_class["metadata"].get("annotations", {})
    return annotations.get("storageclass.kubernetes.io/is-default-class") == "true"
