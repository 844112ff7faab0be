"""Helm, asked to render: also as the reader of YAML, which Python has none of its own for."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHARTS = [HERE / "mirrorfleet", HERE / "mirrorfleet-mirrors"]
sys.path.insert(0, str(HERE.parent / "e2e"))

from environment import test_environment  # noqa: E402 where the pinned Helm is

READER = """{{- range $path, $_ := .Files.Glob "documents/*" }}
---
# {{ $path }}
{{ dict "document" ($.Files.Get $path | fromYaml) | toJson }}
{{- end }}
"""
SEPARATOR = re.compile(r"^---$", re.MULTILINE)


def run(*arguments, check: bool = True) -> subprocess.CompletedProcess:
    environment = {**os.environ, **test_environment()}
    try:
        result = subprocess.run(
            ["helm", *map(str, arguments)], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120
        )
    except FileNotFoundError:
        raise RuntimeError("no helm on PATH: e2e/prepare.sh builds it") from None
    if check and result.returncode != 0:
        raise RuntimeError(f"helm {' '.join(map(str, arguments))}: {result.stderr}")
    return result


def template(chart: Path, *arguments, release: str = "fleet", namespace: str = "mirrorfleet-system") -> str:
    return run("template", release, chart, "--namespace", namespace, *arguments).stdout


def documents(text: str) -> list[str]:
    return [document for document in SEPARATOR.split(text) if re.search(r"^[^#\s]", document, re.MULTILINE)]


def parse_all(text: str) -> list[dict]:
    """All documents of a YAML text, as Helm reads them."""
    return list(_parse(tuple(documents(text))))


def parse(text: str) -> dict:
    """One document."""
    return _parse((text,))[0]


@functools.cache
def _parse(texts: tuple[str, ...]) -> tuple[dict, ...]:
    with tempfile.TemporaryDirectory() as folder:
        reader = Path(folder)
        (reader / "templates").mkdir()
        (reader / "documents").mkdir()
        (reader / "Chart.yaml").write_text("apiVersion: v2\nname: reader\nversion: 0.0.0\n")
        (reader / "templates" / "all.yaml").write_text(READER)
        for number, text in enumerate(texts):
            (reader / "documents" / f"{number:04}").write_text(text)
        output = run("template", "reader", reader).stdout
    read = {}
    for number, line in re.findall(r"^# documents/(\d+)\n(\{.*)$", output, re.MULTILINE):
        read[int(number)] = json.loads(line)["document"]
    if len(read) != len(texts):
        raise RuntimeError(f"{len(texts)} documents, {len(read)} read:\n{output}")
    wrong = [document["Error"] for document in read.values() if set(document) == {"Error"}]
    if wrong:
        raise RuntimeError(f"not YAML: {wrong}")
    return tuple(read[number] for number in sorted(read))
