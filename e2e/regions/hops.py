"""The client that hops, as a process in the lab."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .record import Writing

E2E = Path(__file__).resolve().parent.parent
#: Fewer hops than this, on however busy a machine, have not seen anything.
LEAST_HOPS = 200


class Hops:
    """`with Hops(fleet) as hops:` while nobody turns the clock back; from then on states of the upstream are recorded."""

    def __init__(self, fleet) -> None:
        self.fleet = fleet
        self.record = fleet.world.workdir / f"{fleet.name}-states"
        writing = Writing(self.record)
        writing.note(fleet.archive.state("stable"))
        fleet.archive.on_publish = writing.note

    def __enter__(self) -> Hops:
        argv = [sys.executable, "-m", "regions.hopper", self.record, self.fleet.namespace, "debian"]
        log = (self.fleet.world.workdir / "hopper.log").open("ab")
        self.process = self.fleet.lab.popen(argv, env={"PYTHONPATH": str(E2E)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        return self

    def __exit__(self, kind, error, trace) -> None:
        said, _ = self.process.communicate(timeout=60)
        self.told = json.loads(said) if said.strip() else {}

    def judged(self) -> str:
        told = self.told
        assert told, f"it did not end well: {(self.fleet.world.workdir / 'hopper.log').read_text()[-2000:]}"
        assert not told["violations"], "\n".join(told["violations"][:10])
        hops = sum(told["hops"].values())
        assert hops >= LEAST_HOPS and len(told["hops"]) == 3 and told["states"] >= 3, told
        return (
            f"{hops} hops at {told['hertz']:.0f} Hz over {told['states']} states, {sum(told['missed'].values())} of them went on to the "
            f"next region, {told['longestBehindSeconds']:.2f} s at most behind another"
        )
