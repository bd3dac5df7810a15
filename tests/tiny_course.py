"""A course made up for a test: lab 77, which is there, and lab 78, which is planned."""

from pathlib import Path

import build

MANIFEST = """
repository = ""
branch = "main"
[[lab]]
number = "77"
slug = "tiny"
title = "A tiny lab"
minutes = 5
accelerator = "CPU"
data = "none"
objectives = ["add two numbers"]
[[lab]]
number = "78"
slug = "later"
title = "Later"
question = "What for?"
minutes = 5
accelerator = "CPU"
data = "none"
objectives = ["wait"]
"""


def make(root: Path, source: str) -> Path:
    """The folder `labs` of a checkout at `root`, with what an author writes: `course.toml` and the source of lab 77."""
    labs = root / "labs"
    (labs / "source").mkdir(parents=True)
    (labs / "course.toml").write_text(MANIFEST)
    (labs / "source" / "77_tiny.py").write_text(source)
    return labs


def publish(labs: Path, source: str) -> None:
    """The source of lab 77 anew, and what is built from it."""
    (labs / "source" / "77_tiny.py").write_text(source)
    build.main(["77"], labs)
