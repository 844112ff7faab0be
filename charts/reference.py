#!/usr/bin/env python3
"""Writes what is told twice from where it is told once.

The comments of a chart's values.yaml that begin with `# --` become the table of its README.md and the descriptions of its
values.schema.json; the schemas of the kinds become those of the specs in mirrorfleet-mirrors. `--check` only compares.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

CHARTS = Path(__file__).resolve().parent
sys.path.insert(0, str(CHARTS))

import helm  # noqa: E402 beside this file

TABLE = re.compile(r"(<!-- values -->\n).*(<!-- end of values -->\n)", re.DOTALL)
KEY = re.compile(r"^( *)([A-Za-z][A-Za-z0-9]*):")


@dataclass
class Value:
    path: tuple[str, ...]
    text: str
    #: Whether keys below it have a text of their own.
    group: bool = False


def documented(values_yaml: str) -> list[Value]:
    """The keys that have a `# --` comment, and the groups that hold such keys, in their order."""
    found: dict[tuple[str, ...], Value] = {}
    parents: list[tuple[int, str]] = []
    comment: list[str] | None = None
    for line in values_yaml.splitlines():
        bare = line.strip()
        if bare.startswith("# -- "):
            comment = [bare.removeprefix("# -- ")]
        elif bare.startswith("#") and comment is not None:
            comment.append(bare.lstrip("# "))
        elif match := KEY.match(line):
            indent, key = len(match[1]), match[2]
            parents = [parent for parent in parents if parent[0] < indent]
            path = (*(name for _, name in parents), key)
            parents.append((indent, key))
            if comment is not None:
                for depth in range(1, len(path)):
                    found.setdefault(path[:depth], Value(path[:depth], "")).group = True
                found[path] = Value(path, " ".join(comment))
            comment = None
        else:
            comment = None
    # Groups without a text of their own stand before what they hold.
    return sorted(found.values(), key=lambda value: list(found).index(value.path))


def table(values: list[Value], defaults: dict) -> str:
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for value in values:
        if value.group and not value.text:
            continue
        default = defaults
        for key in value.path:
            default = default[key]
        told = "" if value.group else f"`{json.dumps(default)}`"
        cells = (f"`{'.'.join(value.path)}`", told, value.text)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def describe(schema: dict, values: list[Value]) -> None:
    """Puts the texts into the schema. A key that the schema does not know is an error."""
    for value in values:
        place = schema
        for key in value.path:
            place = place["properties"][key]
        if value.text:
            place["description"] = value.text


def put_specs(schema: dict, kinds: dict[str, dict]) -> None:
    """Copies the kinds' own schemas to `$defs`."""
    for kind, spec in kinds.items():
        if kind in schema.get("$defs", {}):
            schema["$defs"][kind] = closed(spec)


def closed(spec):
    """An OpenAPI schema of a definition as JSON Schema that refuses unknown keys."""
    if isinstance(spec, list):
        return [closed(item) for item in spec]
    if not isinstance(spec, dict):
        return spec
    kept = {key: value for key, value in spec.items() if not key.startswith("x-kubernetes-") and key not in ("default", "format")}
    # What is called `properties` holds names, not words of the schema.
    names = kept.pop("properties", None)
    new = {key: closed(value) for key, value in kept.items()}
    if names is not None:
        new["properties"] = {name: closed(value) for name, value in names.items()}
        new.setdefault("additionalProperties", False)
    if spec.get("x-kubernetes-int-or-string"):
        new.pop("type", None)
        new["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    return new


def written(chart: Path, kinds: dict[str, dict]) -> dict[Path, str]:
    """What the files should be."""
    text = (chart / "values.yaml").read_text()
    values, defaults = documented(text), helm.parse(text)
    readme, schema_file = chart / "README.md", chart / "values.schema.json"
    schema = json.loads(schema_file.read_text())
    describe(schema, values)
    put_specs(schema, kinds)
    told = TABLE.sub(lambda match: match[1] + table(values, defaults) + match[2], readme.read_text())
    return {readme: told, schema_file: json.dumps(schema, indent=2, ensure_ascii=False) + "\n"}


def kinds() -> dict[str, dict]:
    """The schema of each kind's spec, by kind."""
    schemas = CHARTS.parent / "operator" / "fleet-api" / "schemas"
    return {path.stem.capitalize(): json.loads(path.read_text())["properties"]["spec"] for path in schemas.glob("*.json")}


def stale() -> dict[Path, str]:
    """The files that are not as they should be, and how they should be."""
    all_kinds = kinds()
    wanted = [item for chart in helm.CHARTS for item in written(chart, all_kinds).items()]
    return {path: text for path, text in wanted if path.read_text() != text}


def main(arguments: list[str]) -> int:
    changed = stale()
    for path, text in changed.items():
        print(path.relative_to(CHARTS.parent))
        if "--check" not in arguments:
            path.write_text(text)
    return 1 if changed and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
