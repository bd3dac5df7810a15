"""What a learner reads in a cell is the lesson: bookkeeping lives in the package, and this counts what is left of it."""

import ast
import re
from pathlib import Path

import build
import pytest

from xferlab.course.content import course

LABS = Path(__file__).parents[2] / "labs"
BUILT = [entry["number"] for entry in course(LABS)["labs"] if entry["built"]]
LINES = 12
PLUMBING = re.compile(r"\bpivot_table\b|\bto_string\b|\bgroupby\b|\.iterrows\(|\.itertuples\(")


def plumbing(code: str) -> str:
    """Why a cell is not for a learner's eyes, or nothing."""
    lines = sum(bool(line.strip()) for line in code.splitlines())
    if lines > LINES:
        return f"{lines} lines"
    if found := PLUMBING.search(code):
        return found[0]
    over = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.DictComp)]
    return "a dict comprehension" if over else ""


@pytest.mark.parametrize("number", BUILT)
def test_a_learners_cells_hold_no_plumbing(number):
    """A cell tagged `lesson` is exempt: there, writing it is what is learned."""
    source, manifest = build.load(LABS, number)
    cells = [c for c in build.student(source, manifest).cells if c.cell_type == "code"]
    found = [
        f"{why}: {cell.source.splitlines()[0][:60]}"
        for cell in cells
        if not {"lesson", "install"} & set(cell.metadata.get("tags", [])) and (why := plumbing(cell.source))
    ]
    assert found == []


def test_plumbing_is_recognized():
    assert plumbing("print(frame.to_string())")
    assert plumbing("x = {k: v for k, v in rows}")
    assert plumbing("a = 1\n" * 13)
    assert not plumbing("# to a string\nresults.table()")
