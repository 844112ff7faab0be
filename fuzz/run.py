#!/usr/bin/env python3
"""Builds the fuzz targets with a stable compiler and runs them.

    run.py [--seconds N] [--fresh] [target...]
    run.py --build

Each target runs for so many seconds (60), as many targets at once as there are processors, from the committed corpus
and from what earlier runs have found, which is kept in the cache; `--fresh` begins from the committed corpus alone and
keeps nothing. An input that breaks a target is written to `artifacts/`; mend the code, then put the input into
`corpus/<target>/` under a name that says what it is.

`cargo +nightly fuzz run <target>` works in this folder too. Here libFuzzer's instrumentation is asked for by the
flags that cargo-fuzz would pass; only the sanitizers need a nightly compiler, and our own code has no use for them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FUZZ = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mirrorfleet"
COVERAGE = [
    "--cfg fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
]
# What no parser may need: memory for an input of 64 KiB, and time for one.
RSS_LIMIT_MIB = 512
MAX_INPUT_BYTES = 64 << 10
TIMEOUT_SECONDS = 20


def targets() -> list[str]:
    return sorted(file.stem for file in (FUZZ / "fuzz_targets").glob("*.rs"))


def build(names: list[str]) -> Path:
    """The folder with the programs."""
    target_dir = Path(os.environ.get("MIRRORFLEET_FUZZ_TARGET_DIR") or CACHE / "fuzz-target")
    # Replaces the flags of .cargo/config.toml, which make the one static program.
    env = {**os.environ, "CARGO_TARGET_DIR": str(target_dir), "RUSTFLAGS": " ".join(COVERAGE)}
    env.pop("CARGO_ENCODED_RUSTFLAGS", None)
    command = ["cargo", "build", "--release", "--locked"]
    for name in names:
        command += ["--bin", name]
    subprocess.run(command, cwd=FUZZ, env=env, check=True)
    host = next(
        line.split()[1] for line in subprocess.check_output(["rustc", "-vV"], text=True).splitlines() if line.startswith("host:")
    )
    return target_dir / host / "release"


def fuzz(program: Path, name: str, seconds: int, found: Path) -> tuple[str, int, str]:
    artifacts = FUZZ / "artifacts" / name
    artifacts.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    command = [
        str(program), str(found), str(FUZZ / "corpus" / name), f"-max_total_time={seconds}", f"-max_len={MAX_INPUT_BYTES}",
        f"-rss_limit_mb={RSS_LIMIT_MIB}", f"-timeout={TIMEOUT_SECONDS}", f"-artifact_prefix={artifacts}/",
        "-print_final_stats=1", "-verbosity=1",
    ]
    done = subprocess.run(command, cwd=FUZZ, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    return name, done.returncode, done.stdout + done.stderr


def summary(output: str) -> str:
    lines = output.splitlines()
    runs = next((line.split()[-1] for line in lines if line.startswith("stat::number_of_executed_units")), "?")
    coverage = [line for line in lines if " cov: " in line]
    edges = coverage[-1].split(" cov: ")[1].split()[0] if coverage else "?"
    return f"{runs:>9} inputs  {edges:>6} edges"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--build", action="store_true", help="build the targets and run none")
    parser.add_argument("targets", nargs="*")
    arguments = parser.parse_args()
    names = arguments.targets or targets()
    for name in names:
        if name not in targets():
            parser.error(f"no target {name}; there are {', '.join(targets())}")
        if not any((FUZZ / "corpus" / name).glob("*")):
            parser.error(f"corpus/{name} holds no input to begin with")
    programs = build(names)
    if arguments.build:
        return 0
    failed = []
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        kept = Path(scratch) if arguments.fresh else CACHE / "fuzz-corpus"
        jobs = [pool.submit(fuzz, programs / name, name, arguments.seconds, kept / name) for name in names]
        for job in jobs:
            name, code, output = job.result()
            print(f"{'ok' if code == 0 else 'FAILED':<8} {name:<16} {summary(output)}", flush=True)
            if code:
                failed.append(name)
                print("\n".join(f"    {line}" for line in output.splitlines()[-60:]), flush=True)
    print(f"{len(names) - len(failed)} targets passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
