"""What people are told while something is broken: by `kubectl get mirrors`, `mirrorfleet status` and `mirrorfleet why`."""

from __future__ import annotations

import json
import re

from lab import LabError, wait_until
from scenarios.command_line import Person, plain


class Telling:
    def __init__(self, fleet) -> None:
        self.fleet = fleet
        self.person = Person(fleet)

    def why(self) -> dict:
        return json.loads(self.person.run("why debian -o json"))

    def columns(self) -> str:
        return self.fleet.lab.kubectl("get", "mirrors", "-o", "wide", namespace=self.fleet.namespace)

    def of(self, word: str, *, about: str, comes: str, columns: str = "", timeout: float = 90) -> None:
        """Until all three tell of it at once: `word` is the reason, `about` what is wrong, `comes` what happens next, as patterns."""
        seen: dict[str, object] = {}

        def told() -> bool:
            why = self.why()
            status, line = self.person.run("status debian -o wide"), self.columns()
            seen.update(why=why, status=status, line=line)
            is_root = why.get("reason") == word
            wrong = re.search(about, plain(why["wrong"])) and why.get("since") if is_root else word in why["wrong"]
            return bool(wrong and re.search(comes, plain(why["next"])) and word in status and re.search(columns, line))

        what = f"`why`, `status` and `kubectl get` to tell of {word}: {about!r}, then {comes!r}"
        wait_until(told, timeout, what, interval=0.1, detail=lambda: json.dumps(seen, indent=1))

    def all_is_well(self, timeout: float = 120) -> None:
        wait_until(lambda: "1 Mirror is well" in self.person.run("status") and "True" in self.columns(), timeout, "all to be well again", detail=self._now)

    def _now(self) -> str:
        try:
            return f"{self.person.run('why debian')}\n{self.columns()}"
        except (AssertionError, LabError) as error:
            return str(error)
