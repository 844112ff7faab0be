"""Every alert has its runbook, and what is generated is what is committed."""

from __future__ import annotations

import os
import re
import unittest

from .. import files, runbooks
from ..alerts import ALERTS
from ..reference import ROOT


class Documents(unittest.TestCase):
    def test_what_is_committed_is_what_is_generated(self):
        stale = files.stale()
        if os.environ.get("MIRRORFLEET_BLESS"):
            for path, text in stale.items():
                path.write_text(text)
            stale = files.stale()
        self.assertEqual([str(path.relative_to(ROOT)) for path in stale], [], "run: python3 -m monitoring && charts/reference.py")

    def test_every_alert_has_a_runbook_and_every_runbook_an_alert(self):
        sections = runbooks.sections()
        self.assertEqual(list(sections), [alert.name for alert in ALERTS])
        for name, text in sections.items():
            with self.subTest(alert=name):
                self.assertEqual(re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE), runbooks.PARTS)

    def test_every_diagnosis_and_every_mitigation_has_commands_and_all_commands_are_in_blocks(self):
        """Those the scenarios run: `runbooks` all of them, `monitored` and `every-alert` where the alerts fire."""
        found = runbooks.commands()
        for alert in ALERTS:
            for part in runbooks.DONE:
                self.assertTrue([one for one in found if (one.alert, one.part) == (alert.name, part)], f"{alert.name}: {part}")
        self.assertEqual([one.line for one in found if not one.line.startswith("kubectl ")], [])
        self.assertEqual(re.findall(r"`kubectl [^`\n]*`", runbooks.PAGE.read_text()), ["`kubectl mirrorfleet`"])

    def test_links_within_the_runbooks_lead_somewhere(self):
        text = (ROOT / "docs" / "runbooks.md").read_text()
        headings = {heading.lower() for heading in re.findall(r"^## (.*)$", text, re.MULTILINE)}
        self.assertEqual([link for link in re.findall(r"\]\(#([^)]*)\)", text) if link not in headings], [])

    def test_the_runbooks_name_labels_annotations_and_fields_that_exist(self):
        text = (ROOT / "docs" / "runbooks.md").read_text()
        code = "".join(path.read_text() for path in (ROOT / "operator" / "fleet-api" / "src").glob("*.rs"))
        for word in set(re.findall(r"mirrorfleet\.dev/[\w-]+", text)):
            self.assertIn(f'"{word}"', code, word)
        kinds = (ROOT / "crds" / "mirrors.mirrorfleet.dev.yaml").read_text() + (ROOT / "crds" / "upstreams.mirrorfleet.dev.yaml").read_text()
        for path in set(re.findall(r"\.?(?:spec|status)\.([\w.]+\w)", text)):
            for field in path.split("."):
                self.assertRegex(kinds, rf"\b{field}:", path)
        reasons = (ROOT / "docs" / "reasons.md").read_text()
        for reason in set(re.findall(r"`([A-Z][a-z]+[A-Z]\w+)`", text)) - {alert.name for alert in ALERTS} - {"StorageReady"}:
            self.assertIn(f"| `{reason}` |", reasons)
