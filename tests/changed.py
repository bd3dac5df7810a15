"""The tests of what changed since a revision, for `make check`: prints their paths, the house's test always among them.

python tests/changed.py [--base main]

A module's tests stand where it stands: `xferlab/encoders/base.py` has `tests/encoders/test_base.py`, and a package's own file all of
its folder. What has no such file is tested where `ELSEWHERE` says, or left to `make test`.
"""

import argparse
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
# by module, else by folder: the tests of what has none of its own name
ELSEWHERE = {
    "comparison": "comparison/test_compare.py",
    **dict.fromkeys(
        (f"comparison/{name}" for name in ("card", "modelfile", "plan", "prediction", "reading", "report")),
        "comparison/test_commands.py",
    ),
    **dict.fromkeys(("comparison/confidence", "comparison/retraining"), "comparison/test_selection.py"),
    **dict.fromkeys(("distances", "matrices"), "test_transferability.py"),
    "course": "test_cli.py",
    "course/content": "course/test_lab.py",
    "course/display": "course/test_lab.py",
    "course/live": "course/test_widgets.py",
    "course/tables": "course/test_results.py",
    "domains": "domains/test_load.py",
    "encoders": "encoders/test_base.py",
    "objectives": "training/test_fit.py",
    "objectives/disparity": "objectives/test_adversarial.py",
    "training": "training/test_fit.py",
}


def mirrors(changed: list[str]) -> list[str]:
    """Paths of tests, for paths of changed files, all relative to the repository."""
    found = {"tests/test_house.py"}
    for name in map(Path, changed):
        if name.parts[0] == "tests" and name.name.startswith("test_") and name.suffix == ".py":
            found.add(name.as_posix())
        elif name.parts[0] in ("xferlab", "bench") and name.suffix == ".py":
            folder = Path("tests", *name.parts[1:-1]) if name.parts[0] == "xferlab" else Path("tests", "bench")
            own = folder / f"test_{name.stem}.py"
            if name.name == "__init__.py" and len(name.parts) > 2:
                found |= {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).glob("test_*.py")}
            tests = {own.as_posix(), folder.with_name(f"test_{folder.name}.py").as_posix()}
            if not any((ROOT / path).is_file() for path in tests) and name.parts[0] == "xferlab":
                module = "/".join(name.with_suffix("").parts[1:])
                tests = {f"tests/{ELSEWHERE.get(module) or ELSEWHERE.get(name.parts[1])}"}
            found |= tests
    return sorted(path for path in found if (ROOT / path).is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="HEAD", help="a revision; uncommitted and new files count as well")
    base = parser.parse_args().base

    def lines(*command):
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.split("\n")

    changed = lines("git", "diff", "--name-only", base) + lines("git", "ls-files", "--others", "--exclude-standard")
    print(" ".join(mirrors([name for name in changed if name])))


if __name__ == "__main__":
    main()
