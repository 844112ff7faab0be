#!/usr/bin/env python3
"""The pages hold together, what is generated is fresh, and the checker finds what it is there for."""

from __future__ import annotations

import re
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pages import api  # noqa: E402 beside this file
from pages.api import helm  # noqa: E402
from pages.links import HOME, Site  # noqa: E402

DOCS = ROOT / "docs"
#: A block of YAML that says which file it is from.
EXAMPLE = re.compile(r"<!-- (examples/[\w./-]+) -->\n```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: One that is a manifest, or its spec.
FRAGMENT = re.compile(r"^```yaml\n((?:apiVersion: mirrorfleet\.dev|spec:).*?)^```$", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"`((?:spec|status)\.[A-Za-z][\w.\[\]]*)`")
#: A book without a fault.
SOUND = {
    "README.md": "# Readme\n\n[start](docs/start.md#the-first-hour) and ![a box](docs/box.svg)\n",
    "docs/SUMMARY.md": "# Summary\n\n[Start](start.md)\n\n# More\n\n- [Other](more/other.md)\n",
    "docs/start.md": (
        f"# Start\n\n## The `first` hour\n\n[other](more/other.md#twice-1), [readme]({HOME}blob/main/README.md#readme), [ref][other]\n\n"
        "`[no](link.md)` ``[`no`](link.md)``\n\n```md\n[no](link.md)\n```\n\n[out](https://example.org/x) [here](#start) [up](more/..)\n\n"
        "[other]: more/other.md\n"
    ),
    "docs/more/other.md": "# Other\n\n## Twice\n\n## Twice\n\n<a id=\"by-hand\"></a>\n\n[back](../start.md) [self](#by-hand)\n",
    "docs/box.svg": '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1" aria-label="a box"/>',
}
#: What is put into a file, and a word of what must be said of it. Text goes to the end of the file; nothing takes the file away.
FAULTS = {
    "a page that is not there": ("README.md", "[x](docs/gone.md)", "README.md:4: docs/gone.md: there is no such file"),
    "a heading that is not there": ("README.md", "[x](docs/start.md#second-hour)", "has no heading #second-hour"),
    "a heading of its own that is not there": ("docs/start.md", "[x](#nothing)", "has no heading #nothing"),
    "a way out of the book": ("docs/start.md", "[x](../README.md)", "leads out of the book"),
    "an address at home that is not there": ("docs/start.md", f"[x]({HOME}blob/main/gone.rs)", "there is no such file"),
    "a heading at home that is not there": ("docs/start.md", f"[x]({HOME}blob/main/README.md#gone)", "has no heading #gone"),
    "a reference that is defined nowhere": ("docs/start.md", "[x][nowhere]", "[nowhere] is defined nowhere"),
    "a definition that leads nowhere": ("docs/start.md", "[gone]: gone.md", "there is no such file"),
    "HTML that leads nowhere": ("docs/start.md", '<img src="gone.png">', "there is no such file"),
    "a link around a picture that is not there": ("docs/start.md", "[![x](gone.png)](box.svg)", "gone.png: there is no such file"),
    "a picture without words": ("README.md", "![](docs/box.svg)", "has no text in its place"),
    "a scheme that nobody has": ("README.md", "[x](htp://example.org)", "what is htp?"),
    "a block of code without an end": ("README.md", "```sh\nls", "README.md:4: this block of code has no end"),
    "a page that is not in the contents": ("docs/lost.md", "# Lost", "lost.md is not listed"),
    "contents of what is not there": ("docs/SUMMARY.md", "- [Gone](gone.md)", "there is no such file"),
    "contents that name a page twice": ("docs/SUMMARY.md", "- [Again](start.md)", "start.md is listed twice"),
    "contents that are prose": ("docs/SUMMARY.md", "Read this.", "mdbook does not understand"),
    "a page that went": ("docs/more/other.md", None, "there is no such file"),
    "contents that went": ("docs/SUMMARY.md", None, "no table of contents"),
    "a drawing that is none": ("docs/box.svg", "<g>", "is no SVG"),
    "a drawing that says nothing": ("docs/dot.svg", '<svg viewBox="0 0 1 1"/>', "does not say what it shows"),
    "a drawing of one size": ("docs/dot.svg", '<svg aria-label="a dot"/>', "has no viewBox"),
}


class TheSite(unittest.TestCase):
    def test_pages_links_and_pictures(self):
        self.assertEqual(Site(ROOT).complaints(), [])

    def test_it_is_about_something(self):
        site = Site(ROOT)
        links = [link for page in site.pages.values() for link in page.links]
        self.assertGreater(len(site.pages), 20)
        self.assertGreater(len(links), 200)

    def test_generated_pages_are_fresh(self):
        for page, text in api.written().items():
            self.assertTrue(page.exists() and page.read_text() == text, f"{page.relative_to(ROOT)} is stale: run `make docs`")

    def test_settings_of_the_book(self):
        import tomllib

        settings = tomllib.loads((ROOT / "docs" / "book.toml").read_text())
        self.assertEqual(settings["book"]["src"], ".")
        self.assertTrue((ROOT / "docs" / settings["book"]["src"] / "SUMMARY.md").exists())


class WhatPagesSay(unittest.TestCase):
    def test_examples_are_those_that_are_tested(self):
        found = [match for page in DOCS.glob("*.md") for match in EXAMPLE.findall(page.read_text())]
        self.assertGreater(len(found), 1)
        for name, text in found:
            self.assertIn(text, (ROOT / name).read_text(), name)

    def test_every_field_that_is_named_exists(self):
        """Of the fragments of manifests, and of the words that are written as code."""
        kinds = [definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for definition in api.definitions()]
        seen = 0
        for page in sorted({ROOT / "README.md", *DOCS.glob("*.md")} - {api.PAGE}):
            fields = [match.split(".") for match in FIELD.findall(page.read_text())]
            for block in FRAGMENT.findall(page.read_text()):
                fields += leaves(helm.parse(block))
            for field in fields:
                seen += 1
                self.assertTrue(any(has(kind, field) for kind in kinds), f"{page.name}: no kind has {'.'.join(field)}")
        self.assertGreater(seen, 40)
        self.assertFalse(has(kinds[0], ["spec", "trust", "keyringReff"]) or has(kinds[1], ["spec", "regions", "role"]))


def leaves(value, path: tuple[str, ...] = ()) -> list[list[str]]:
    """Where each value of a fragment stands; what all objects have is left out."""
    if isinstance(value, list):
        return [field for item in value for field in leaves(item, path)] or [list(path)]
    if not isinstance(value, dict):
        return [list(path)]
    skipped = ("apiVersion", "kind", "metadata") if not path else ()
    return [field for name, inner in value.items() if name not in skipped for field in leaves(inner, (*path, name))]


def has(schema: dict, field: list[str]) -> bool:
    """Whether the definition has the field; a list is passed through, and of a map everything is taken."""
    if not field:
        return True
    if "items" in schema:
        return has(schema["items"], field)
    if isinstance(schema.get("additionalProperties"), dict):
        return True
    name = field[0].partition("[")[0]
    return name in schema.get("properties", {}) and has(schema["properties"][name], field[1:])


class TheChecker(unittest.TestCase):
    def complaints(self, files: dict[str, str]) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder).resolve()
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            return Site(root).complaints()

    def test_it_is_content_with_what_is_sound(self):
        self.assertEqual(self.complaints(SOUND), [])

    def test_it_finds_each_fault(self):
        for what, (name, text, words) in FAULTS.items():
            with self.subTest(what):
                files = {**SOUND, name: SOUND.get(name, "") + (text or "")}
                if text is None:
                    del files[name]
                found = self.complaints(files)
                self.assertTrue(any(words in complaint for complaint in found), found)


class TheReference(unittest.TestCase):
    DEFINITION = {
        "spec": {
            "group": "example.org", "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things", "shortNames": ["th"], "categories": ["all"]},
            "versions": [{
                "name": "v1", "additionalPrinterColumns": [{"name": "Wide", "jsonPath": ".spec.a", "priority": 1}],
                "schema": {"openAPIV3Schema": {"description": "A thing.", "properties": {"spec": {
                    "description": "What is wanted.", "required": ["size"],
                    "x-kubernetes-validations": [{"message": "not both", "rule": "!(has(self.a) && has(self.b)) || true"}],
                    "properties": {
                        "size": {"type": "string", "description": "How large, below <size>.", "default": "1|2", "pattern": "^1|2$", "minLength": 1, "maxLength": 3},
                        "many": {"type": "array", "description": "Several.", "maxItems": 4, "items": {
                            "description": "One of them.", "properties": {"on": {"type": "boolean", "default": False, "description": "Whether."}},
                        }},
                    },
                }}}},
            }],
        },
    }  # fmt: skip

    def test_it_tells_all_of_a_field(self):
        told = api.page([self.DEFINITION])
        for part in (
            "### Thing.spec\n",
            "| `size` *(required)* | string | `1\\|2` | How large, below &lt;size>. <br>1 to 3 characters <br>matches `^1\\|2$` |",
            "| `many` | [list of objects](#thingspecmany) |  | Several. <br>0 to 4 items |",
            "- not both (`!(has(self.a) && has(self.b)) || true`)",
            "### Thing.spec.many[]\n",
            "| `on` | boolean | `false` | Whether. |",
            "| Wide | `.spec.a` | yes |",
        ):
            self.assertIn(part, told)


if __name__ == "__main__":
    result = unittest.main(exit=False).result
    print(f"{result.testsRun} passed" if result.wasSuccessful() else "FAILED", flush=True)
    sys.exit(0 if result.wasSuccessful() else 1)
