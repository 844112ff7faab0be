#!/usr/bin/env python3
"""All tests of alerts and dashboards, by promtool and Helm. MIRRORFLEET_BLESS=1 writes what is generated anew."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    sys.path.insert(0, str(ROOT))
    suite = unittest.defaultTestLoader.discover(str(ROOT / "monitoring" / "tests"), top_level_dir=str(ROOT))
    result = unittest.TextTestRunner().run(suite)
    print(f"{result.testsRun} passed" if result.wasSuccessful() else "FAILED", flush=True)
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main())
