"""The scenarios on a real cluster: each is a function that reads as a story and raises where the story goes wrong."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import tempfile
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import world as world_module
from lab import ALL_NODES, FEW_NODES, HIDDEN_ON_NODES, ExistingCluster, NotSupported, open_cluster

from .registry import Scenario, all_scenarios

E2E = Path(__file__).resolve().parent.parent
ROOT = E2E.parent
WORK = E2E / ".work" / "scenarios"
#: A socket's name has at most 107 bytes, and the lab needs some thirty of them below its work directory.
LONGEST_WORK_PATH = 75
#: How many scenarios run at once; each has a namespace and an upstream of its own.
PARALLEL = 4


def run_all(tally, log_path, only: list[str]) -> None:
    scenarios = [scenario for scenario in all_scenarios() if (scenario.name in only if only else not scenario.long)]
    if unknown := set(only) - {scenario.name for scenario in scenarios}:
        raise SystemExit(f"no scenario {', '.join(sorted(unknown))}; there are: {', '.join(s.name for s in all_scenarios())}")
    workdir = world_module.fresh_workdir(work_directory())
    log = log_path("cluster and operator")
    started = time.monotonic()
    with log.open("w") as sink, contextlib.ExitStack() as cleanup:
        try:
            world = cleanup.enter_context(_world(workdir, sink, scenarios, whole_run=not only))
        except Exception:  # noqa: BLE001 the log tells it, and no scenario can run
            traceback.print_exc(file=sink)
            sink.flush()
            tally.record("cluster and operator", "FAILED", time.monotonic() - started, log)
            return
        tally.record("cluster and operator", "ok", time.monotonic() - started, log)
        runner = _Runner(world, tally, log_path)
        together = sorted((scenario for scenario in scenarios if not scenario.alone), key=lambda scenario: not scenario.first)
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(runner.run, together))
        for scenario in scenarios:
            if scenario.alone:
                runner.run(scenario)


def work_directory() -> Path:
    """Below the checkout, where people look; elsewhere if nodes hide that place or sockets would get too long a name."""
    if len(str(WORK)) < LONGEST_WORK_PATH and not str(WORK).startswith(HIDDEN_ON_NODES):
        return WORK
    return Path(tempfile.gettempdir()) / f"mirrorfleet-e2e-{os.geteuid()}"


@contextlib.contextmanager
def _world(workdir: Path, sink, scenarios: list[Scenario], *, whole_run: bool):
    report = lambda line: print(line, file=sink, flush=True)  # noqa: E731
    nodes = ALL_NODES if any("four-nodes" in scenario.needs for scenario in scenarios) else FEW_NODES
    cluster = open_cluster(workdir / "lab", report, nodes)
    if cluster.supports("load-image"):
        image, archive = build_image(workdir, report)
    else:
        image, archive = world_module.given_image(), None
    with cluster as lab:
        world = world_module.World(lab, workdir, whole_run=whole_run)
        try:
            world.start_upstream_server()
            world.install_operator(archive, image)
            report("the operator is installed")
            yield world
        finally:
            with contextlib.suppress(Exception):
                report(controller_logs(world))
            if isinstance(lab, ExistingCluster):
                world.uninstall_operator()
            world.close()


def build_image(workdir: Path, report) -> tuple[str, Path]:
    """The image from our own Dockerfile with the binary that the other suites tested."""
    archive = workdir / "mirrorfleet-image.tar"
    image = "localhost/mirrorfleet:e2e"
    result = subprocess.run([E2E / "build-image.sh", archive, image], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    report(result.stdout + result.stderr)
    if result.returncode != 0:
        raise RuntimeError(f"the image was not built:\n{result.stdout}{result.stderr}")
    return image, archive


def controller_logs(world) -> str:
    parts = []
    for pod in world.lab.list("pods", world_module.SYSTEM_NAMESPACE):
        name = pod["metadata"]["name"]
        parts.append(f"--- {name}\n" + world.lab.kubectl("logs", name, "--tail=400", namespace=world_module.SYSTEM_NAMESPACE, check=False))
    return "\n".join(parts)


class _Runner:
    def __init__(self, world, tally, log_path) -> None:
        self.world = world
        self.tally = tally
        self.log_path = log_path
        self.lock = threading.Lock()

    def run(self, scenario: Scenario) -> None:
        log = self.log_path(f"scenario {scenario.name}")
        started = time.monotonic()
        outcome, text, note = "ok", "", ""
        try:
            for capability in scenario.needs:
                self.world.lab.require(capability)
            note = scenario.story(self.world) or ""
        except NotSupported as reason:
            outcome, note = "skipped", str(reason)
        except Exception:  # noqa: BLE001 one failed scenario must not stop the others
            outcome = "FAILED"
            text = self._what_happened(scenario, traceback.format_exc())
        log.write_text(text or "ok\n")
        with self.lock:
            self.tally.record(f"scenario: {scenario.title}", outcome, time.monotonic() - started, log, note)

    def _what_happened(self, scenario: Scenario, error: str) -> str:
        out = io.StringIO()
        with contextlib.suppress(Exception):
            out.write(controller_logs(self.world))
        out.write("\n" + error)
        return out.getvalue()
