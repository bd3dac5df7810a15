"""Every lab rehearsed in a kernel: each blank fails, each common wrong answer is named, each solution passes."""

from pathlib import Path

import build
import pytest

from xferlab.course.content import course
from xferlab.course.notebooks import execute

LABS = Path(__file__).parents[2] / "labs"
BUILT = [entry["number"] for entry in course(LABS)["labs"] if entry["built"]]


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
    execute(build.rehearsal(source, manifest), cwd=tmp_path)
