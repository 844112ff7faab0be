"""Programs that make a copy of the archive, each as its manual says it is fastest, with 20 connections where it can."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from distribution import COMPONENT, SUITE, State
from processes import Cost, Failed, measured
from repositories import ARCHITECTURE, REPO, packager_of
from upstream import Upstream

CONNECTIONS = 20

MANIFEST = """
apiVersion: v1
kind: Secret
metadata: {{name: keys}}
stringData:
  keyring.asc: |
{keyring}
---
apiVersion: mirrorfleet.dev/v1alpha1
kind: Upstream
metadata: {{name: bench}}
spec:
  type: Debian
  authority: {{url: 'http://127.0.0.1:{port}/'}}
  trust: {{keyringRef: {{kind: Secret, name: keys, key: keyring.asc}}}}
  politeness: {{maxConnections: {connections}}}
---
apiVersion: mirrorfleet.dev/v1alpha1
kind: Mirror
metadata: {{name: bench}}
spec:
  upstreamRef: {{name: bench}}
  content:
    debian: {{suites: [{suite}], components: [{component}], architectures: [amd64]}}
    exclude: {exclude}
  regions: [{{name: here}}]
"""

ARCH_MANIFEST = """
{secret}apiVersion: mirrorfleet.dev/v1alpha1
kind: Upstream
metadata: {{name: bench}}
spec:
  type: Arch
  authority: {{url: 'http://127.0.0.1:{port}/'}}
  trust: {trust}
  politeness: {{maxConnections: {connections}}}
---
apiVersion: mirrorfleet.dev/v1alpha1
kind: Mirror
metadata: {{name: bench}}
spec:
  upstreamRef: {{name: bench}}
  content:
    arch: {{repos: [{repo}], architectures: [{architecture}]}}
    exclude: {exclude}
  regions: [{{name: here}}]
"""


@dataclass
class Job:
    """One copy to make: from where, by which port, into which directory, in how much time."""

    upstream: Upstream
    work: Path
    port: int
    timeout: float = 600
    connections: int = CONNECTIONS

    @property
    def copy(self) -> Path:
        """What the contender keeps between runs."""
        return self.work / "copy"


class Contender:
    name = ""
    uses_rsync = False

    def run(self, job: Job) -> Cost:
        """Brings the copy up to date."""
        raise NotImplementedError

    def check(self, job: Job, state: State) -> None:
        """Fails where the copy lacks a package or has it with another size."""
        check_tree(self.name, self.tree(job), state)

    def tree(self, job: Job) -> Path:
        return job.copy


class Mirrorfleet(Contender):
    name = "mirrorfleet"

    def __init__(self, program: Path) -> None:
        self.program = program

    def run(self, job: Job, exclude: tuple[str, ...] = ()) -> Cost:
        (job.work / "manifest.yaml").write_text(self.manifest(job, exclude))
        cost = measured([
            str(self.program), "local", "-f", str(job.work / "manifest.yaml"), "--data", str(job.copy), "--once", "-o", "json",
        ], job.work, job.timeout)
        report = report_of(cost)
        if report["result"] not in ("Published", "Unchanged"):
            raise Failed(f"{self.name}: {report['result']}: {report['message']}")
        return cost

    def manifest(self, job: Job, exclude: tuple[str, ...]) -> str:
        keyring = "".join(f"    {line}\n" for line in job.upstream.distribution.certificate.splitlines())
        return MANIFEST.format(
            keyring=keyring, port=job.port, connections=job.connections, suite=SUITE, component=COMPONENT, exclude=json.dumps(exclude),
        )

    def check(self, job: Job, state: State) -> None:
        """The list of its snapshots says what is served; verifying every blob is `verify`'s."""
        served = self.served(job)
        if served["files"] < len(state.payload) or served["bytes"] < state.payload_bytes:
            raise Failed(f"{self.name}: {served['files']} files, {served['bytes']} bytes of {len(state.payload)}, {state.payload_bytes}")
        measured([str(self.program), "verify", "--data", str(job.copy)], job.work, 120)

    def snapshots(self, job: Job) -> list[dict]:
        """The newest first."""
        cost = measured([str(self.program), "snapshots", "--data", str(job.copy), "-o", "json", "bench"], job.work, 60)
        return [json.loads(line) for line in cost.output.splitlines() if line.startswith("{")]

    def served(self, job: Job) -> dict:
        return next(row for row in self.snapshots(job) if row["current"])


class MirrorfleetOfArch(Mirrorfleet):
    """Copies signatures, as rsync does, and judges none."""

    def manifest(self, job: Job, exclude: tuple[str, ...]) -> str:
        return arch_manifest(job, exclude, secret="", trust={"signatures": "None"})


class MirrorfleetJudging(Mirrorfleet):
    """Judges every signature before anything is served."""

    name = "mirrorfleet, signatures judged"

    def manifest(self, job: Job, exclude: tuple[str, ...]) -> str:
        certificate = (packager_of(job.upstream.distribution.root) / "keyring.asc").read_text()
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"keyring.asc": certificate}}
        trust = {"keyringRef": {"kind": "Secret", "name": "keys", "key": "keyring.asc"}}
        return arch_manifest(job, exclude, secret=f"{json.dumps(secret)}\n---\n", trust=trust)


def arch_manifest(job: Job, exclude: tuple[str, ...], *, secret: str, trust: dict) -> str:
    return ARCH_MANIFEST.format(
        secret=secret, trust=json.dumps(trust), port=job.port, connections=job.connections, repo=REPO, architecture=ARCHITECTURE, exclude=json.dumps(exclude),
    )  # fmt: skip


def report_of(cost: Cost) -> dict:
    """The JSON object among the lines of a run; the log has standard error as well."""
    return json.loads(next(line for line in cost.output.splitlines() if line.startswith("{")))


class AptMirror(Contender):
    name = "apt-mirror"

    def run(self, job: Job) -> Cost:
        config = job.work / "mirror.list"
        config.write_text(
            f"set base_path {job.copy}\nset nthreads {job.connections}\nset defaultarch amd64\nset limit_rate 100g\n"
            f"set run_postmirror 0\nset _tilde 0\ndeb http://127.0.0.1:{job.port} {SUITE} {COMPONENT}\n"
        )
        return measured(["apt-mirror", str(config)], job.work, job.timeout)

    def tree(self, job: Job) -> Path:
        return job.copy / "mirror" / f"127.0.0.1:{job.port}"


class Debmirror(Contender):
    def __init__(self, method: str) -> None:
        self.method = method
        self.name = "debmirror" if method == "http" else f"debmirror ({method})"
        self.uses_rsync = method == "rsync"

    def run(self, job: Job) -> Cost:
        if self.method == "rsync":
            place = ["--host=127.0.0.1", "--root=:archive", f"--rsync-options=-aIL --partial --port={job.port}"]
        else:
            place = [f"--host=127.0.0.1:{job.port}", "--root=/"]
        return measured([
            "debmirror", str(job.copy), f"--method={self.method}", *place, f"--dist={SUITE}", f"--section={COMPONENT}",
            "--arch=amd64", "--nosource", "--diff=none", "--rsync-extra=none", f"--keyring={job.upstream.distribution.keyring}",
        ], job.work, job.timeout)


class Aptly(Contender):
    name = "aptly"

    def run(self, job: Job) -> Cost:
        config = job.work / "aptly.json"
        config.write_text(json.dumps({
            "rootDir": str(job.copy), "downloadConcurrency": job.connections, "architectures": ["amd64"], "gpgProvider": "gpg",
        }))
        keyring = f"-keyring={job.upstream.distribution.keyring}"
        aptly = f"aptly -config={config} mirror"
        update = f"{aptly} update {keyring} -max-tries=3 -skip-existing-packages bench"
        if not job.copy.exists():
            update = f"{aptly} create {keyring} bench http://127.0.0.1:{job.port}/ {SUITE} {COMPONENT} && {update}"
        return measured(["sh", "-c", update], job.work, job.timeout)

    def check(self, job: Job, state: State) -> None:
        """Its pool has names of its own, so that only number and bytes can be compared."""
        found = [entry.stat().st_size for entry in walk(job.copy / "pool") if entry.name.endswith(".deb")]
        if len(found) < len(state.payload) or sum(found) < state.payload_bytes:
            raise Failed(f"{self.name}: {len(found)} packages, {sum(found)} bytes of {len(state.payload)}, {state.payload_bytes}")


class Rsync(Contender):
    name = "rsync"
    uses_rsync = True

    def run(self, job: Job) -> Cost:
        source = f"rsync://127.0.0.1:{job.port}/archive/"
        return measured(["rsync", "-a", "--delete", source, str(job.copy)], job.work, job.timeout)


class Lftp(Contender):
    """Reads the listings of folders; sizes and dates tell what is new."""

    name = "lftp"

    def run(self, job: Job) -> Cost:
        mirror = f"mirror --delete --parallel={job.connections} . {job.copy}"
        return measured(["lftp", "-c", f"open http://127.0.0.1:{job.port}/ && {mirror}"], job.work, job.timeout)


def check_tree(name: str, tree: Path, state: State) -> None:
    for path, size in state.payload.items():
        try:
            found = (tree / path).stat().st_size
        except OSError as error:
            raise Failed(f"{name} left out {path}: {error}") from None
        if found != size:
            raise Failed(f"{name}: {path} has {found} bytes of {size}")


def walk(directory: Path):
    for entry in os.scandir(directory):
        if entry.is_dir(follow_symlinks=False):
            yield from walk(Path(entry.path))
        else:
            yield entry


def contenders(program: Path) -> list[Contender]:
    return [Mirrorfleet(program), AptMirror(), Aptly(), Rsync(), Debmirror("rsync"), Debmirror("http")]


def contenders_of_arch(program: Path) -> list[Contender]:
    return [MirrorfleetOfArch(program), MirrorfleetJudging(program), Rsync(), Lftp()]
