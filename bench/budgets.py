"""What every lab costs: seconds from start to finish and peak memory, in a fresh kernel.

    python bench/budgets.py              # every built lab in profile lab, one after the other
    python bench/budgets.py 02 04 --profile quick

Writes `labs/budgets.json`, a list of `{"lab", "profile", "seconds", "peak_mb"}` which README and the teacher pack show. Each lab starts
with an empty cache, as a learner's first time does: nothing that an earlier run computed is read. Peak memory is the largest resident set of
any one process of the run, which is the kernel's. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from xferlab.lab import course
from xferlab.storage import write_atomically

LABS = Path(__file__).parents[1] / "labs"
BUDGET = {"seconds": 120, "peak_mb": 1600}
TEXT = {"seconds": 150, "peak_mb": 1800}


def measure(lab: str, profile: str) -> dict:
    """Runs the worked notebook of one lab; raises `CalledProcessError` when a cell fails."""
    command = [sys.executable, "-m", "xferlab.cli", "labs", "run", lab]
    with tempfile.TemporaryDirectory() as out, open(Path(out) / "log", "w+") as log:
        environment = os.environ | {"XFERLAB_PROFILE": profile, "XFERLAB_DATA": str(Path(out) / "data")}
        began = time.perf_counter()
        process = subprocess.Popen([*command, "--out", out], env=environment, cwd=LABS.parent, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)  # what it used includes the kernel, which it waited for
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise subprocess.CalledProcessError(process.returncode, command, log.read()[-2000:])
    return {"lab": lab, "profile": profile, "seconds": round(seconds, 1), "peak_mb": round(used.ru_maxrss / 1024)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labs", nargs="*", help="numbers; all that are built if none is given")
    parser.add_argument("--profile", default="lab", choices=("quick", "lab", "full"))
    options = parser.parse_args()
    path = LABS / "budgets.json"
    kept = {(row["lab"], row["profile"]): row for row in (json.loads(path.read_text()) if path.is_file() else [])}
    for lab in options.labs or [entry["number"] for entry in course(LABS)["labs"] if entry["built"]]:
        row = kept[lab, options.profile] = measure(lab, options.profile)
        budget = TEXT if lab == "09" else BUDGET
        over = [key for key in budget if row[key] > budget[key]] if options.profile == "lab" else []
        print(
            f"{lab}  {row['seconds']:6.1f} s  {row['peak_mb']:5d} MB  {'over: ' + ', '.join(over) if over else ''}",
            flush=True,
        )
        with write_atomically(path) as temporary:
            rows = [kept[key] for key in sorted(kept)]
            temporary.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", "utf-8")


if __name__ == "__main__":
    main()
