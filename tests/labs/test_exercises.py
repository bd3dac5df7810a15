"""Every lab rehearsed in a kernel: each cell runs, each blank fails, each common wrong answer is named, each solution passes.

This runs all that a worked notebook holds, in the quick profile, so `make test` runs no notebook a second time.
"""

from pathlib import Path

import build
import nbformat
import pytest

from xferlab.course.content import course
from xferlab.course.notebooks import execute

LABS = Path(__file__).parents[2] / "labs"
BUILT = [entry["number"] for entry in course(LABS)["labs"] if entry["built"]]


def printed(notebook):
    """What the cells print whose output is the same in every profile."""
    fixed = [cell for cell in notebook.cells if "nbval-check-output" in cell.metadata.get("tags", ())]
    return [output.get("text", "") for cell in fixed for output in cell.outputs]


@pytest.mark.parametrize("number", BUILT)
def test_every_exercise_can_be_left_got_wrong_and_solved(number, monkeypatch, tmp_path):
    pytest.importorskip("nbclient")
    monkeypatch.setenv("XFERLAB_PROFILE", "quick")
    monkeypatch.setenv("PYTHONPATH", str(LABS.parent))
    for name in ("XFERLAB_STRICT", "XFERLAB_DATASET", "XFERLAB_RECORD"):
        monkeypatch.delenv(name, raising=False)
    source, manifest = build.load(LABS, number)
    exercises = {name: e for name, e in source.exercises.items() if ".p" not in name}
    assert len(exercises) >= 4, "a lab has at least four exercises"
    assert [name for name, e in exercises.items() if len(e["wrong"]) < 2] == [], "two named wrong answers each"
    lab = build.rehearsal(source, manifest)
    execute(lab, cwd=tmp_path)
    worked = printed(nbformat.read(LABS / "solutions" / f"{source.entry['name']}.ipynb", 4))
    assert printed(lab) and worked in (printed(lab), []), "none where the worked notebook awaits its execution"
