"""docs/runbooks.md as somebody follows it who has the alert, kubectl and our program."""

from __future__ import annotations

from collections.abc import Iterable

from lab import wait_until
from world import SYSTEM_NAMESPACE

from .command_line import path_with_our_program
from .registry import scenario

from monitoring.runbooks import DONE, Command, commands  # noqa: E402 at the top of the repository

#: The word of the page -> the alert's label.
LABELS = {"NS": "namespace", "MIRROR": "mirror", "UPSTREAM": "upstream", "REGION": "region", "UNIT": "unit"}
#: What of a runbook cannot be done where its alert is made to fire, and why; all of it is done at a healthy Mirror.
NOT_THERE = {
    ("MirrorfleetNotServing", "logs"): "its pod waits for a Secret that is missing, so no container has begun",
}
#: How long somebody tries again: what the controller tells of comes a moment after the alert.
PATIENCE_SECONDS = 120


class Reader:
    def __init__(self, world, name: str) -> None:
        self.world = world
        self.environment = {"PATH": path_with_our_program(world, f"reader-{name}")}
        self.keyring = world.workdir / f"reader-{name}.gpg"
        world.key.export(self.keyring)

    def follow(self, alert: dict[str, str], parts: Iterable[str] = DONE) -> int:
        """All that the runbook says to do about an alert that fires, by its labels. Each command succeeds, and says something."""
        name = alert["alertname"]
        chosen = [one for one in commands() if one.alert == name and one.part in parts]
        chosen = [one for one in chosen if not any(name == of and f" {what} " in one.line for of, what in NOT_THERE)]
        for command in chosen:
            wait_until(lambda: not self._wrong(command, alert), PATIENCE_SECONDS, command.line, 1, lambda: self._wrong(command, alert))
        return len(chosen)

    def look_first(self, alert: dict[str, str]) -> int:
        """The commands above all alerts, which answer most questions."""
        return self.follow({**alert, "alertname": ""}, ("",))

    def at_peace(self, alert: dict[str, str]) -> int:
        """All of the page, though nothing is wrong: then there may be nothing to say, and nothing for grep to find."""
        every = commands()
        for command in every:
            # What one command makes anew takes a moment, and the next one asks it.
            wait_until(lambda: not self._fails(command, alert), PATIENCE_SECONDS, command.line, 1, lambda: self._fails(command, alert))
        return len(every)

    def _fails(self, command: Command, alert: dict[str, str]) -> str:
        code, said = self._run(command, alert)
        found_nothing = code == 1 and "| grep " in command.line and not said
        return "" if code == 0 or found_nothing else f"{command}: exit {code}:\n{said}"

    def _wrong(self, command: Command, alert: dict[str, str]) -> str:
        code, said = self._run(command, alert)
        return f"exit {code}:\n{said}" if code else "" if said else "it says nothing"

    def _run(self, command: Command, alert: dict[str, str]) -> tuple[int, str]:
        known = {"SYSTEM": SYSTEM_NAMESPACE, "KEYRING": "keyring", "FILE": str(self.keyring)}
        known |= {word: alert[label] for word, label in LABELS.items() if label in alert}
        line = command.filled(known)
        told = self.world.lab.exec(["bash", "-euo", "pipefail", "-c", line], env=self.environment, check=False, timeout=150)
        return told.returncode, (told.stdout + told.stderr).strip()


@scenario("every command of every runbook, at a Mirror that is well and stays so")
def runbooks(world):
    with world.fleet("runbooks") as fleet:
        fleet.apply_all()
        labels = {"namespace": fleet.namespace, "mirror": "debian", "upstream": "debian", "region": "region-a", "unit": "stable"}
        done = Reader(world, "runbooks").at_peace(labels)
        fleet.sync()
        fleet.wait_ready()
        wait_until(lambda: fleet.condition("Fresh").get("status") == "True", 120, "it to be fresh")
        fleet.apt_download()
        return f"{done} commands"
