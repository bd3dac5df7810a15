"""What every lab costs: seconds in a fresh kernel, from its start to its end, and peak memory.

    python bench/budgets.py              # every built lab in profile lab, one after the other
    python bench/budgets.py 02 04 --profile quick

Writes `labs/budgets.json`, a list of `{"lab", "profile", "seconds", "peak_mb"}` which README and the teacher pack show. Each lab starts
with an empty cache, as a learner's first time does: nothing that an earlier run computed is read. Peak memory is the largest resident set of
any one process of the run, which is the kernel's. `xferlab labs run` takes a few seconds more: its own start, and writing the page. Run it
on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from xferlab.course.content import course
from xferlab.course.notebooks import execute
from xferlab.storage import write_atomically

LABS = Path(__file__).resolve().parents[1] / "labs"
sys.path.insert(0, str(LABS))
import build  # noqa: E402

BUDGET = {"seconds": 120, "peak_mb": 1600}
TEXT = {"seconds": 150, "peak_mb": 1800}


def measure(lab: str, profile: str) -> dict:
    """Runs the worked notebook of one lab; exits when a cell fails, with what it said."""
    notebook = build.worked(*build.load(LABS, lab))
    with tempfile.TemporaryDirectory() as cache:
        began = time.perf_counter()
        if not (child := os.fork()):  # a process a lab, so that each has a peak of its own
            try:
                execute(notebook, LABS.parent, None, {"XFERLAB_PROFILE": profile, "XFERLAB_DATA": cache})
                os._exit(0)
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(1)
        _, status, used = os.wait4(child, 0)  # what it used includes the kernel, which it waited for
        seconds = time.perf_counter() - began
    if status:
        sys.exit(f"lab {lab} failed")
    return {"lab": lab, "profile": profile, "seconds": round(seconds, 1), "peak_mb": round(used.ru_maxrss / 1024)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labs", nargs="*", help="numbers; all that are built if none is given")
    parser.add_argument("--profile", default="lab", choices=("quick", "lab", "full"))
    options = parser.parse_args()
    path = LABS / "budgets.json"
    kept = {(row["lab"], row["profile"]): row for row in (json.loads(path.read_text()) if path.is_file() else [])}
    measured = []
    for lab in options.labs or [entry["number"] for entry in course(LABS)["labs"] if entry["built"]]:
        row = kept[lab, options.profile] = measure(lab, options.profile)
        measured.append(row["seconds"])
        budget = TEXT if lab == "09" else BUDGET
        over = [key for key in budget if row[key] > budget[key]] if options.profile == "lab" else []
        print(
            f"{lab}  {row['seconds']:6.1f} s  {row['peak_mb']:5d} MB  {'over: ' + ', '.join(over) if over else ''}",
            flush=True,
        )
        with write_atomically(path) as temporary:
            rows = [kept[key] for key in sorted(kept)]
            temporary.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", "utf-8")
    minutes, seconds = divmod(round(sum(measured)), 60)
    print(f"in turn {minutes} min {seconds} s")


if __name__ == "__main__":
    main()
