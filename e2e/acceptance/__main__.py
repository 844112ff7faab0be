"""`python3 -m acceptance [NAME...]`: tells the stories, two at a time, one line each."""

from __future__ import annotations

import os
import shutil
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from environment import test_environment

from .place import Place
from .registry import Skipped, Story, all_stories

WORK = Path(__file__).resolve().parent.parent / ".work" / "acceptance"
AT_ONCE = 2


def tell(story: Story) -> str:
    """What went wrong; nothing if all went well, and then nothing is kept."""
    workdir = WORK / story.name
    shutil.rmtree(workdir, ignore_errors=True)
    started = time.monotonic()
    problem = skipped = ""
    try:
        with Place(workdir) as place:
            story.tell(place)
    except Skipped as reason:
        skipped = f", skipped: {reason}"
    except Exception:  # noqa: BLE001 one failed story must not stop the others
        problem = traceback.format_exc()
    outcome = "FAILED" if problem else "skipped" if skipped else "ok"
    print(f"{outcome:<8} {time.monotonic() - started:6.1f} s  {story.title} ({story.name}){skipped}", flush=True)
    if problem:
        return f"--- {story.name}: everything is in {workdir}\n{problem}"
    shutil.rmtree(workdir, ignore_errors=True)
    return ""


def main(names: list[str]) -> int:
    os.environ.update(test_environment())
    stories = [story for story in all_stories() if not names or story.name in names]
    if unknown := set(names) - {story.name for story in stories}:
        print(f"no story {', '.join(sorted(unknown))}; there are: {', '.join(s.name for s in all_stories())}", file=sys.stderr)
        return 2
    with ThreadPoolExecutor(AT_ONCE) as pool:
        problems = [problem for problem in pool.map(tell, stories) if problem]
    print("\n".join(problems))
    print(f"{len(stories) - len(problems)} stories passed, {len(problems)} failed")
    return 1 if problems or not stories else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
