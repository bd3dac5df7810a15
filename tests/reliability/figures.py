"""What the runs of this folder found: kept in results.json, shown in tests/README.md. Both are written by runs alone.

python tests/reliability/figures.py      # writes tests/README.md again from results.json
"""

import datetime
import json
import sys
from pathlib import Path

from xferlab.machine import describe as machine
from xferlab.storage import write_atomically

HERE = Path(__file__).parent
RESULTS, README = HERE / "results.json", HERE.parent / "README.md"

SUBJECTS = {
    "crashes": "Crashes: killed at a random moment, is a rerun the undisturbed run?",
    "network": "Network: whatever a server does, is it the right file or one sentence?",
    "files": "Untrusted files: refused before memory is taken, nothing run, nothing written outside",
    "layouts": "Folders of any layout, damaged files: read as they were written, or refused?",
    "fuzz": "Bad input: every call works or raises a documented error",
    "mutation": "Silent wrongness: do the tests notice a changed operator, number or line?",
    "poison": "Silent wrongness: do target labels reach training or choice?",
    "determinism": "Determinism: the same bits twice, in processes of their own, and at other thread counts?",
    "oldest": "Versions: the tests on the oldest that we claim to work with",
    "newest": "Versions: the tests on the newest that can be had",
}

HEAD = """# What the reliability runs found

`make test` runs a small share of each of these. Each figure below is that of the command above it; the long runs' commands
stand in [CONTRIBUTING.md](../CONTRIBUTING.md). Those commands write this page: change the code, not the page.
"""


def record(subject: str, lines: list[str]) -> None:
    """Puts a run's figures, with the command that is running, date and machine, in results.json and in the page."""
    command = " ".join(["python", f"tests/reliability/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    found = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    run = {"command": command, "date": datetime.date.today().isoformat(), "machine": machine(), "lines": lines}
    with write_atomically(RESULTS) as temporary:
        temporary.write_text(json.dumps(found | {subject: run}, indent=1, ensure_ascii=False) + "\n", "utf-8")
    with write_atomically(README) as temporary:
        temporary.write_text(page(), "utf-8")


def report(subject: str, lines: list[str], write: bool) -> None:
    """How each harness ends: its figures printed and, with `--write`, recorded."""
    print(*lines, sep="\n")
    if write:
        record(subject, lines)


def page() -> str:
    found = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    parts = [HEAD]
    for subject, title in SUBJECTS.items():
        parts.append(f"## {title}\n")
        if run := found.get(subject):
            parts.append(f"`{run['command']}`, {run['date']}, {run['machine']}:\n")
            parts.append("\n".join(f"- {line}" for line in run["lines"]) + "\n")
        else:
            parts.append("No long run has been recorded yet.\n")
    return "\n".join(parts)


if __name__ == "__main__":
    with write_atomically(README) as temporary:
        temporary.write_text(page(), "utf-8")
