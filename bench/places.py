"""Where things are: the cache that outlives a checkout, the work directory that does not, the helpers of `e2e/`."""

from __future__ import annotations

import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
WORK = BENCH / ".work"
#: Beside the programs, so that it is committed with the page: a row that is measured anew leaves the others as they were.
RESULTS = BENCH / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"
NATIVE = BENCH / "native"

# Signing keys, the cache's place and the installation of Debian packages are those of the tests.
sys.path.append(str(ROOT / "e2e"))
from environment import cache_root  # noqa: E402

CACHE = cache_root() / "bench"
