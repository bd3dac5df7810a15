"""A learner's folder: filled without writing over anything changed, reset, and read by the teacher."""

import json

import pytest
from tiny_course import make, publish

from xferlab.course import workspace
from xferlab.errors import ArgumentError, DataError

SOURCE = """
# %% [markdown]
# ## First

# %%
x = {x}

# %% [markdown]
# ## Second

# %% tags=["exercise"] exercise="77.1"
y = ...

# %% tags=["solution"] exercise="77.1"
y = 2

# %% tags=["check"] exercise="77.1"
xl.checks.check("77.1", y)

# %% [markdown] tags=["hints"] exercise="77.1"
# 1. a
# 2. b
# 3. c
"""


@pytest.fixture
def labs(tmp_path, monkeypatch):
    folder = make(tmp_path / "checkout", "")
    (folder / "glossary.md").write_text("words")
    publish(folder, SOURCE.format(x=1))
    monkeypatch.chdir(folder)
    return folder


def test_a_folder_is_filled_and_updated_but_never_over_a_change(labs, tmp_path):
    to = tmp_path / "mine"
    assert workspace.fill(to)["new"] == ["77_tiny.ipynb", "glossary.md"]
    assert not (to / "solutions").exists() and not (to / "answers").exists()
    assert workspace.fill(to) == {"new": [], "updated": [], "kept": []}
    publish(labs, SOURCE.format(x=2))
    assert workspace.fill(to) == {"new": [], "updated": ["77_tiny.ipynb"], "kept": []}
    (to / "77_tiny.ipynb").write_text("my work")
    assert workspace.fill(to) == {"new": [], "updated": [], "kept": []}  # nothing newer to speak of
    publish(labs, SOURCE.format(x=3))
    assert workspace.fill(to) == {"new": [], "updated": [], "kept": ["77_tiny.ipynb"]}
    assert (to / "77_tiny.ipynb").read_text() == "my work"


def test_a_file_that_was_there_before_the_course_is_left_alone(labs, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "glossary.md").write_text("my own glossary")
    assert workspace.fill(tmp_path / "mine")["kept"] == ["glossary.md"]
    assert (tmp_path / "mine" / "glossary.md").read_text() == "my own glossary"


def test_reset_gives_a_fresh_notebook_and_keeps_every_old_one(labs, tmp_path):
    to = tmp_path / "mine"
    workspace.fill(to)
    for text in ("first try", "second try"):
        (to / "77_tiny.ipynb").write_text(text)
        fresh, kept = workspace.reset("77", to)
        assert kept.read_text() == text
        assert fresh.read_bytes() == (labs / "77_tiny.ipynb").read_bytes()
    assert (to / "77_tiny_old_1.ipynb").read_text() == "first try"
    with pytest.raises(ArgumentError, match="holds the course itself"):
        workspace.reset("77", labs)


def test_status_reads_passes_predictions_and_where_a_learner_stopped(labs, tmp_path):
    notebook = json.loads((labs / "77_tiny.ipynb").read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    check = next(cell for cell in code if "check" in cell["metadata"].get("tags", []))

    def said(text):
        return [{"output_type": "stream", "name": "stdout", "text": [text]}]

    for cell in code[: code.index(check) + 1]:
        cell["execution_count"] = 1
    code[1]["outputs"] = said("Noted: you predict 0.7.\n")
    for learner, outputs in (
        ("ann", said("Exercise 77.1: passed. Well done.\n")),
        ("ben", [{"output_type": "error", "ename": "NameError", "evalue": "y", "traceback": []}]),
    ):
        check["outputs"] = outputs
        (tmp_path / "class" / learner).mkdir(parents=True)
        (tmp_path / "class" / learner / "77_tiny.ipynb").write_text(json.dumps(notebook))
    ann, ben = workspace.status(tmp_path / "class")
    assert ann == {
        "learner": "ann", "lab": "77", "passed": 1, "exercises": 1, "section": "Second", "error": "", "predictions": ["0.7"],
    }  # fmt: skip
    assert (ben["passed"], ben["error"]) == (0, "NameError")
    lines = list(workspace.table([ann, ben]))
    assert "1 of 1" in lines[1] and lines[2].endswith("Second, with NameError")
    assert workspace.status(labs)[0]["section"] == ""  # a fresh notebook was not begun
    (tmp_path / "class" / "ann" / "77_tiny.ipynb").write_text("{")
    with pytest.raises(DataError, match="not a notebook"):
        workspace.status(tmp_path / "class")
    with pytest.raises(ArgumentError, match="no notebooks of the course"):
        workspace.status(tmp_path / "class" / "nobody")
