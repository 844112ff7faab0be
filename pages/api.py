"""docs/api.md: every field of the kinds as their definitions in crds/ have it: type, default, rules, description."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "charts"))

import helm  # noqa: E402 the reader of YAML

PAGE = ROOT / "docs" / "api.md"
HEAD = """# API reference

Written from the definitions of the kinds (`crds/`) by `make docs`. The pages [Upstream](upstream.md) and [Mirror](mirror.md) say
how to use them. Unknown fields are refused where `mirrorfleet` reads manifests, and pruned with a warning by an API server.
"""


@dataclass
class Group:
    """An object of the definition: one table."""

    path: str
    schema: dict
    rows: list[tuple[str, dict, bool]] = field(default_factory=list)


def written() -> dict[Path, str]:
    """What the generated pages should be."""
    return {PAGE: page(definitions())}


def definitions() -> list[dict]:
    """Upstream, and then Mirror, which names one."""
    return [helm.parse(path.read_text()) for path in sorted((ROOT / "crds").glob("*.mirrorfleet.dev.yaml"), reverse=True)]


def page(definitions: list[dict]) -> str:
    return "\n".join([HEAD, *(kind(definition) for definition in definitions)])


def kind(definition: dict) -> str:
    names, version = definition["spec"]["names"], definition["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    told = [f"## {names['kind']}", one_line(schema["description"]), about(definition, version)]
    columns = [["column", "of", "with `-o wide` only"], *(
        [column["name"], code(column["jsonPath"]), "yes" if column.get("priority") else ""] for column in version["additionalPrinterColumns"]
    )]  # fmt: skip
    told.append(table(columns))
    top, *below = groups(names["kind"], schema)
    told += [*rules_of(top), *(section(group) for group in below)]
    return "\n\n".join(told) + "\n"


def about(definition: dict, version: dict) -> str:
    names = definition["spec"]["names"]
    selectable = ", ".join(code(entry["jsonPath"]) for entry in version.get("selectableFields", []))
    return (
        f"`apiVersion: {definition['spec']['group']}/{version['name']}`, {definition['spec']['scope'].lower()}; "
        f"`kubectl get {names['plural']}`, short {', '.join(map(code, names['shortNames']))}, also among `kubectl get {names['categories'][0]}`."
        + (f" Field selectors: {selectable}." if selectable else "")
    )


def groups(name: str, schema: dict) -> Iterator[Group]:
    """Every object that has fields, outer ones first. What Kubernetes itself puts around a spec is left out."""
    top = Group(name, {key: value for key, value in schema.items() if key != "description"})
    yield from _groups(top)


def _groups(group: Group) -> Iterator[Group]:
    required = group.schema.get("required", [])
    properties = group.schema.get("properties", {})
    group.rows = [(name, properties[name], name in required) for name in sorted(properties, key=lambda name: (name not in required, name))]
    yield group
    for name, schema, _ in group.rows:
        inner, suffix = inside(schema)
        if inner.get("properties"):
            yield from _groups(Group(f"{group.path}.{name}{suffix}", {"description": schema.get("description", ""), **inner}))


def inside(schema: dict) -> tuple[dict, str]:
    """The object that a field is, or that the items of its list are."""
    if isinstance(schema.get("items"), dict):
        return schema["items"], "[]"
    return schema, ""


def section(group: Group) -> str:
    rows = [["field", "type", "default", "meaning and rules"]]
    for name, schema, required in group.rows:
        label = code(name) + (" *(required)*" if required else "")
        rows.append([label, kind_of(group.path, name, schema), default(schema), meaning(schema)])
    told = [f"### {group.path}"]
    if group.schema.get("description"):
        told.append(one_line(group.schema["description"]))
    told.append(table(rows))
    return "\n\n".join([*told, *rules_of(group)])


def rules_of(group: Group) -> list[str]:
    rules = [f"- {rule(entry)}" for entry in group.schema.get("x-kubernetes-validations", [])]
    return ["Rules:", "\n".join(rules)] if rules else []


def kind_of(path: str, name: str, schema: dict) -> str:
    inner, suffix = inside(schema)
    if inner.get("properties"):
        below = f"{path}.{name}{suffix}"
        return f"[{'list of objects' if suffix else 'object'}](#{anchor(below)})"
    word = simple(inner)
    return f"list of {word}s" if suffix else word


def simple(schema: dict) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if isinstance(schema.get("additionalProperties"), dict):
        quantities = schema["additionalProperties"].get("x-kubernetes-int-or-string")
        return "map of quantities" if quantities else f"map of {simple(schema['additionalProperties'])}s"
    if schema.get("format") == "date-time":
        return "instant"
    return schema.get("type", "object")


def default(schema: dict) -> str:
    value = schema.get("default")
    # Of an object the defaults stand at its own fields.
    if value is None or (isinstance(value, dict) and schema.get("properties")):
        return ""
    return code(value if isinstance(value, str) else json.dumps(value))


def meaning(schema: dict) -> str:
    inner, suffix = inside(schema)
    rules = [*bounds(schema)]
    if suffix:
        rules += [f"each: {told}" for told in bounds(inner)]
    rules += [rule(entry) for entry in schema.get("x-kubernetes-validations", [])]
    if suffix and not inner.get("properties"):
        rules += [rule(entry) for entry in inner.get("x-kubernetes-validations", [])]
    if not suffix and schema.get("properties"):
        # They stand below the object's own table.
        rules = []
    text = one_line(schema.get("description", ""))
    return " ".join([text, *(f"<br>{told}" for told in rules)]).strip()


def bounds(schema: dict) -> Iterator[str]:
    if schema.get("enum"):
        yield "one of " + ", ".join(map(code, schema["enum"]))
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None or high is not None:
        yield f"{number(low)} to {number(high)}" if high is not None else f"at least {number(low)}"
    low, high = schema.get("minLength"), schema.get("maxLength")
    if high is not None:
        yield f"{low or 0} to {high} characters"
    low, high = schema.get("minItems"), schema.get("maxItems")
    if high is not None:
        yield f"{low or 0} to {high} items" + (", no two alike" if schema.get("x-kubernetes-list-type") == "set" else "")
    if keys := schema.get("x-kubernetes-list-map-keys"):
        yield "each " + " and ".join(map(code, keys)) + " once"
    if schema.get("maxProperties") is not None:
        yield f"at most {schema['maxProperties']} entries"
    if schema.get("pattern"):
        yield f"matches {code(schema['pattern'])}"


def rule(entry: dict) -> str:
    return f"{one_line(entry['message'])} ({code(one_line(entry['rule']))})"


def number(value: float | None) -> str:
    return "0" if value is None else f"{value:.0f}"


def one_line(text: str) -> str:
    # A bare angle bracket would begin HTML.
    return re.sub(r"<(?=[a-zA-Z/])(?![^`]*`(?:[^`]*`[^`]*`)*[^`]*$)", "&lt;", " ".join(text.split()))


def code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


def table(rows: list[list[str]]) -> str:
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9_\- ]", "", heading.lower()).replace(" ", "-")
