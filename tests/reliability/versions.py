"""The tests on the oldest versions that pyproject.toml allows, or on the newest, in an environment of their own (5 GB).

    python tests/reliability/versions.py oldest --python python3.11 --write
    python tests/reliability/versions.py newest --python python3.13 --write
    python tests/reliability/versions.py pins                    # writes tests/oldest.txt from pyproject.toml

"Oldest" is the last patch of the oldest minor release: a first patch may have been withdrawn.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PINS = ROOT / "tests" / "oldest.txt"
TOLD = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "timm", "pandas", "matplotlib", "transformers")


def pins() -> str:
    """A constraints file: for each `name>=1.2` or `name>=1.2.3`, `name==1.2.*`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [
        "# Made from pyproject.toml by tests/reliability/versions.py pins: the oldest versions that the tests must pass on."
    ]
    for text in [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]:
        requirement = Requirement(text)
        lowest = [specifier.version for specifier in requirement.specifier if specifier.operator == ">="]
        lines += [f"{requirement.name}=={'.'.join(lowest[0].split('.')[:2])}.*"] if lowest else []
    return "\n".join(dict.fromkeys(lines)) + "\n"


def main(which: str, python: str, keep: Path | None) -> tuple[list[str], int]:
    """Lines for the page, and pytest's exit code."""
    with tempfile.TemporaryDirectory() as fresh:
        here = keep or Path(fresh)
        subprocess.run([python, "-m", "venv", here], check=True)
        own = here / ("Scripts" if os.name == "nt" else "bin") / "python"
        how = ["--constraint", PINS] if which == "oldest" else ["--upgrade", "--upgrade-strategy", "eager"]
        subprocess.run([own, "-m", "pip", "install", "--quiet", *how, "--editable", f"{ROOT}[dev]"], check=True)
        # once "-q", which pyproject.toml has: twice would leave out the last line, which counts
        done = subprocess.run([own, "-m", "pytest", "-rfEs"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        print(done.stdout[-4000:])
        asked = "import sys, importlib.metadata as m; print(sys.version.split()[0], *(n + ' ' + m.version(n) for n in sys.argv[1:]), sep=', ')"
        have = subprocess.run([own, "-c", asked, *TOLD], check=True, capture_output=True, text=True).stdout.strip()
    lines = done.stdout.splitlines()
    skipped: Counter[str] = Counter()
    for line in lines:
        if found := re.match(r"SKIPPED \[(\d+)\] \S+: (.*)", line):
            skipped[found[2]] += int(found[1])
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    reasons = [f"skipped, {n}: {reason}" for reason, n in skipped.items()]
    return [f"Python {have}", lines[-1].strip("= "), *failed, *reasons], done.returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("oldest", "newest", "pins"))
    parser.add_argument("--python", default=sys.executable, help="the interpreter to make the environment with")
    parser.add_argument("--keep", type=Path, help="make the environment here and leave it")
    parser.add_argument("--write", action="store_true", help="into tests/README.md")
    options = parser.parse_args()
    if options.which == "pins":
        PINS.write_text(pins(), "utf-8")
        sys.exit()
    found, code = main(options.which, options.python, options.keep)
    from figures import report

    # what is recorded is how to repeat it anywhere: not where the environment lies here
    sys.argv = [sys.argv[0], options.which, "--python", Path(options.python).name, "--write"]
    report(options.which, found, options.write)
    sys.exit(code)
