"""The pipeline from source to student and worked notebooks, on a course made up for the test."""

import ast
import builtins
import json
from pathlib import Path

import build
import nbformat
import pytest
import tiny_course
from authoring import tag

from xferlab import checks
from xferlab.course import content

LABS = Path(__file__).parents[2] / "labs"
SOURCE = """
# %%
from xferlab import checks, lab
import xferlab as xl

xl.checks, xl.lab = checks, lab
print("profile-free output")

# %% [markdown]
# ## Adding
#
# ### Predict

# %% tags=["exercise"] exercise="77.p1"
guess = ...
xl.checks.predict("77.p1", guess)

# %% tags=["solution"] exercise="77.p1"
guess = 4321
xl.checks.predict("77.p1", guess)

# %% tags=["exercise"] exercise="77.1"
def add(a, b):
    ...

# %% tags=["solution"] exercise="77.1"
def add(a, b):
    return a + b  # the secret sum

# %% [markdown] tags=["solution"] exercise="77.1"
# A sum explained at length.

# %% tags=["wrong"] exercise="77.1" mistake="minus"
def add(a, b):
    return a - b  # the secret difference

# %% tags=["wrong"] exercise="77.1" mistake="product"
def add(a, b):
    return a * b

# %% [markdown] tags=["mistakes"] exercise="77.1"
# - minus: Mind the sign.

# %% [markdown] tags=["hints"] exercise="77.1"
# 1. A nudge towards it.
# 2. The name is `plus`.
# 3. The code:
#    `return a + b`

# %% tags=["check"] exercise="77.1"
xl.checks.check("77.1", add)

# %% tags=["results"]
print("score 0.5")

# %% [markdown] tags=["quiz"]
# ### Is one < two?
# - [x] Yes, `always`.
#   Because of the order
#   of the integers.
# - [ ] No.
#   Then two would be smaller.

# %% [markdown] tags=["quiz"]
# Second question?
# - [ ] Wrong option.
#   Reason one.
# - [x] Right option.
#   Reason two.
"""
SECRETS = [
    "secret sum",
    "secret difference",
    "explained at length",
    "A nudge",
    "4321",
    "order",
    "smaller",
    "minus",
    "Mind the sign",
]


@pytest.fixture
def labs(tmp_path):
    folder = tiny_course.make(tmp_path / "course", SOURCE)
    (folder.parent / "README.md").write_text("# Read me\n<!-- labs -->\nold\n<!-- /labs -->\nend\n")
    return folder


def written(labs):
    return {str(path.relative_to(labs.parent)): path.read_bytes() for path in labs.parent.rglob("*") if path.is_file()}


def test_student_notebook_has_no_answers_and_no_outputs(labs):
    build.main([], labs)
    text = (labs / "77_tiny.ipynb").read_text()
    assert [secret for secret in SECRETS if secret in text] == []
    notebook = nbformat.reads(text, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert {tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])} <= {
        "install", "exercise", "check", "stuck", "results", "quiz",
    }  # fmt: skip
    sources = [cell.source for cell in code]
    assert sources.count('xl.checks.quiz("77")') == 1
    assert 'xl.checks.stuck("77.1")' in sources
    assert "def add(a, b):\n    ..." in sources


def test_worked_notebook_has_solutions_explained_quiz_and_is_strict(labs):
    build.main([], labs)
    notebook = nbformat.read(labs / "solutions" / "77_tiny.ipynb", 4)
    text = "\n".join(cell.source for cell in notebook.cells)
    for expected in [
        "secret sum",
        "explained at length",
        "guess = 4321",
        "Then two would be smaller.",
        "XFERLAB_STRICT",
    ]:
        assert expected in text
    assert "def add(a, b):\n    ..." not in text
    assert "secret difference" not in text
    assert "A nudge" not in text


def test_answers_sections_and_answer_key(labs, monkeypatch):
    build.main([], labs)
    packed = (labs / "answers" / "77.txt").read_text()
    assert "plus" not in packed and "Because" not in packed
    data = content.unpacked(packed)
    hints = data["exercises"]["77.1"]["hints"]
    assert hints[:2] == ["A nudge towards it.", "The name is `plus`."]
    assert "return a + b" in hints[2]
    assert data["quiz"][0]["question"] == "Is one < two?"
    assert data["quiz"][0]["options"][0] == {
        "text": "Yes, `always`.",
        "right": True,
        "why": "Because of the order of the integers.",
    }
    monkeypatch.chdir(labs)
    (section,) = content.sections("77")
    assert section["title"] == "Adding"
    assert "from xferlab import checks" in section["code"][0]
    assert section["code"][1:] == ['guess = ...\nxl.checks.predict("77.p1", guess)', 'print("score 0.5")']
    key = (labs / "teaching" / "77.md").read_text()
    assert "secret difference" in key
    assert "secret sum" in key


def test_table_links_what_is_built_and_marks_the_rest_planned(labs):
    build.main([], labs)
    readme = (labs.parent / "README.md").read_text()
    assert readme.startswith("# Read me\n<!-- labs -->")
    assert readme.endswith("<!-- /labs -->\nend\n")
    assert "[77 A tiny lab](labs/77_tiny.ipynb)" in readme
    assert "| 78 Later (planned) | What for? | 5 |\n" in readme
    assert "mybinder.org" not in readme and "Open" not in readme


def test_publishing_writes_the_address_everywhere_and_keeps_outputs(labs):
    """Without an address nothing mentions one; with it badges, clone line, citation and install cells follow, and again."""
    worked = executed(labs)
    (labs.parent / "README.md").write_text("<!-- clone -->\n<!-- /clone -->\n<!-- labs -->\n<!-- /labs -->\n")
    (labs.parent / "CITATION.cff").write_text("title: x\n")
    (labs.parent / "pyproject.toml").write_text("[project]\nname = 'x'\n\n[project.scripts]\na = 'b'\n")
    build.main([], labs)
    assert b"github.com" not in b"".join(written(labs).values()) + (labs.parent / "README.md").read_bytes()
    for address in ("someone/course", "else/where"):
        build.main(["--publish", address], labs)
        text = (labs / "77_tiny.ipynb").read_text()
        assert f"https://mybinder.org/v2/gh/{address}/main?urlpath=lab/tree/labs/77_tiny.ipynb" in text
        assert f"https://colab.research.google.com/github/{address}/blob/main/labs/77_tiny.ipynb" in text
        install = next(c.source for c in nbformat.reads(text, 4).cells if "install" in c.metadata.get("tags", []))
        compile(install, "install", "exec")
        assert f"git+https://github.com/{address}@main" in install
        assert "kept" in worked.read_text(), "outputs went with the address"
        for name in ("CITATION.cff", "pyproject.toml"):
            assert (labs.parent / name).read_text().count(f"https://github.com/{address}") == 1
            assert (labs.parent / name).read_text().count("https") == 1
        assert f"git clone https://github.com/{address}" in (labs.parent / "README.md").read_text()
    with pytest.raises(SystemExit):
        build.main(["--publish", "https://github.com/someone/course"], labs)


def test_building_twice_gives_the_same_bytes(labs):
    build.main([], labs)
    first = written(labs)
    build.main([], labs)
    assert written(labs) == first


def test_check_names_what_is_out_of_step_and_writes_nothing(labs, capsys):
    assert build.main(["--check"], labs) == 1
    assert not (labs / "77_tiny.ipynb").exists()
    build.main([], labs)
    assert build.main(["--check"], labs) == 0
    notebook = labs / "77_tiny.ipynb"
    notebook.write_text(notebook.read_text().replace("score 0.5", "score 0.9"))
    capsys.readouterr()
    assert build.main(["--check"], labs) == 1
    printed = capsys.readouterr().out
    assert "out of step: labs/77_tiny.ipynb" in printed
    assert "solutions" not in printed


def executed(labs):
    """The worked notebook, built and with an output, as if it had been run."""
    build.main([], labs)
    path = labs / "solutions" / "77_tiny.ipynb"
    notebook = nbformat.read(path, 4)
    install, code, *_ = (cell for cell in notebook.cells if cell.cell_type == "code")
    assert "install" in install.metadata.tags
    code.outputs, code.execution_count = [nbformat.v4.new_output("stream", text="kept\n")], 1
    path.write_text(build.write_notebook(notebook))
    return path


def test_executed_outputs_survive_a_rebuild_but_not_a_changed_source(labs):
    path = executed(labs)
    assert build.main(["--check"], labs) == 0
    build.main([], labs)
    assert "kept" in path.read_text()
    source = labs / "source" / "77_tiny.py"
    source.write_text(source.read_text().replace("score 0.5", "score 0.6"))
    assert build.main(["--check"], labs) == 1
    build.main([], labs)
    assert "kept" not in path.read_text()


def test_executed_outputs_survive_a_change_of_prose_alone(labs):
    path = executed(labs)
    source = labs / "source" / "77_tiny.py"
    source.write_text(source.read_text().replace("# ## Adding", "# ## Adding, told better"))
    build.main([], labs)
    assert "told better" in path.read_text()
    assert "kept" in path.read_text()


SCHEDULE = """
[[schedule]]
title = "A morning"
start = "09:50"
plan = [["Welcome", 15], "77", ["Break", 10], "78"]
"""


def test_teacher_pack_has_a_timetable_misconceptions_and_figures_with_words(labs):
    folder = labs / "teaching"
    folder.mkdir()
    (folder / "schedule.toml").write_text(SCHEDULE)
    (folder / "rubric.md").write_text("# Rubric")
    cost = {"lab": "77", "profile": "lab", "seconds": 61.4, "peak_mb": 1230}
    (labs / "budgets.json").write_text(json.dumps([cost, cost | {"profile": "quick", "seconds": 9}]))
    build.main([], labs)
    rows = [line for line in (folder / "schedules.md").read_text().splitlines() if line.startswith("| 1")]
    assert rows == [
        "| 10:05 | 10:10 | 5 | Lab 77: A tiny lab |",
        "| 10:10 | 10:20 | 10 | Break |",
        "| 10:20 | 10:25 | 5 | Lab 78: Later (planned) |",
    ]
    assert "09:50 to 10:25: 35 minutes, 10 of them in labs." in (folder / "schedules.md").read_text()
    wrong = (folder / "misconceptions.md").read_text()
    assert "| 77.1 | minus | `return a - b  # the secret difference` | Mind the sign. |" in wrong
    assert "| 77.1 | product |" in wrong
    index = (folder / "README.md").read_text()
    assert all(f"({name})" in index for name in ("77.md", "schedules.md", "misconceptions.md", "rubric.md"))
    assert "5 minutes; runs in 61 s, 1.3 GB" in index  # 1,230 MiB
    path = labs / "solutions" / "77_tiny.ipynb"
    notebook = nbformat.read(path, 4)
    picture = nbformat.v4.new_output(
        "display_data", data={"image/png": "aGk="}, metadata={"image/png": {"alt": "a <rising> line"}}
    )
    next(cell for cell in notebook.cells if cell.cell_type == "code").outputs = [picture]
    path.write_text(build.write_notebook(notebook))
    assert build.main(["--check"], labs) == 1
    build.main([], labs)
    assert "![a &lt;rising&gt; line](figures/77_1.png)" in (folder / "figures.md").read_text()
    assert build.main(["--check"], labs) == 0


def test_one_lab_alone_leaves_the_pack_as_it_is(labs):
    build.main(["77"], labs)
    assert not (labs / "teaching" / "misconceptions.md").exists()


def test_both_notebooks_link_to_the_glossary(labs):
    build.main([], labs)
    assert "](glossary.md)" in (labs / "77_tiny.ipynb").read_text()
    assert "](../glossary.md)" in (labs / "solutions" / "77_tiny.ipynb").read_text()


def test_clean_drops_stderr_paths_and_duplicate_pictures(labs):
    alt = {"image/png": {"alt": "a line"}}
    picture = {"text/html": "<img>", "image/png": "aGk=", "text/plain": "a line"}
    outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="100%"),
        nbformat.v4.new_output("stream", name="stdout", text=f"in {labs.resolve()}/x and {Path.home()}/y"),
        nbformat.v4.new_output("display_data", data=picture, metadata=alt),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=outputs)])
    build.clean(notebook, labs)
    stream, shown = notebook.cells[0].outputs
    assert stream.text == "in ./x and ~/y"
    assert set(shown.data) == {"image/png", "text/plain"}


def test_executing_fills_in_outputs_and_fails_on_a_wrong_solution(labs, monkeypatch, tmp_path):
    pytest.importorskip("nbclient")
    from nbclient.exceptions import CellExecutionError

    monkeypatch.setenv("PYTHONPATH", str(LABS.parent))
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path))
    monkeypatch.delenv("XFERLAB_PROFILE", raising=False)
    source = labs / "source" / "77_tiny.py"
    recognizer = "checks.recognizes('77.1')(lambda add: None if add(1, 2) == 3 else 'not a sum')"
    profile = "import os, sys; print(os.environ['XFERLAB_PROFILE']); print('noise', file=sys.stderr)"
    source.write_text(source.read_text().replace('print("profile-free output")', f"{recognizer}\n{profile}"))
    build.main(["--execute"], labs)
    path = labs / "solutions" / "77_tiny.ipynb"
    text = path.read_text()
    assert "Exercise 77.1: passed." in text
    assert '"lab\\n"' in text
    assert "noise" not in text.replace("print('noise'", "")
    assert build.main(["--check"], labs) == 0
    source.write_text(source.read_text().replace("return a + b  #", "return a - b  #"))
    with pytest.raises(CellExecutionError, match="not a sum"):
        build.main(["--execute"], labs)
    assert not (tmp_path / "progress.json").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# ## Adding", "# # Adding", "sections start at ##"),
        ("# ### Predict", "# ##### Predict", "none may be skipped"),
        ("# 3. The code:", "# The code:", "three numbered hints"),
        ('"solution"] exercise="77.1"', '"solution"] exercise="99.1"', "needs exercise="),
        ('tags=["check"] exercise="77.1"', "", "no check cell"),
        ("# - [x] Yes", "# - [ ] Yes", "one `[x]`"),
        ("# - minus: Mind", "# minus, mind", "name: sentence"),
        ('exercise="77.1" mistake="minus"', 'exercise="77.1"', "mistake="),
    ],
)
def test_a_source_that_breaks_the_format_is_refused(labs, old, new, message):
    path = labs / "source" / "77_tiny.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SystemExit, match=message.replace("[", r"\[")):
        build.main([], labs)


def test_planned_and_unknown_labs_are_refused(labs):
    with pytest.raises(SystemExit, match="planned"):
        build.main(["78"], labs)
    with pytest.raises(SystemExit, match="unknown"):
        build.main(["79"], labs)


def test_rehearsal_tries_blank_wrong_and_right_answers(labs, monkeypatch, tmp_path):
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path))
    monkeypatch.delenv("XFERLAB_STRICT", raising=False)

    def recognize(add):
        named = {3: None, -1: checks.Mistake("minus", "signs"), 2: checks.Mistake("product", "times")}
        return named[add(1, 2)]

    monkeypatch.setitem(checks._recognizers, "77.1", (recognize, ""))
    source, manifest = build.load(labs, "77")

    def rehearse():
        space = {}
        for cell in build.rehearsal(source, manifest).cells:
            if cell.cell_type == "code":
                exec(cell.source, space)

    rehearse()
    monkeypatch.setitem(checks._recognizers, "77.1", (lambda add: None, ""))
    with pytest.raises(AssertionError):
        rehearse()


BUILT = sorted(path.stem[:2] for path in (LABS / "source").glob("*.py"))


def everything(value):
    """Every string in a JSON value, keys too."""
    if isinstance(value, dict):
        return [text for key, inner in value.items() for text in (key, *everything(inner))]
    if isinstance(value, list):
        return [text for inner in value for text in everything(inner)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("number", BUILT)
def test_the_real_student_notebooks_carry_no_answers_and_no_outputs(number):
    source, _ = build.load(LABS, number)
    notebook = json.loads((LABS / f"{source.entry['name']}.ipynb").read_text())
    assert all(cell.get("outputs", []) == [] and cell.get("execution_count") is None for cell in notebook["cells"])
    for cell in notebook["cells"]:  # nbformat may store a source as lines
        cell["source"] = "".join(cell["source"])
    text = "\n".join(everything(notebook))
    shared = "\n".join(cell.source for cell in source.cells if tag(cell) in ("", "exercise", "check"))
    answers = [option["why"] for question in source.quiz for option in question["options"]]
    for exercise in source.exercises.values():
        answers += exercise["hints"] + [code for _, code in exercise["wrong"] + exercise["solution"]]
        answers += [line.strip() for _, code in exercise["solution"] for line in code.splitlines() if len(line) > 15]
        answers += [mistake for mistake, _ in exercise["wrong"] if "_" in mistake]
    answers = [answer for answer in answers if answer not in shared]
    assert answers, "a lab without answers has no exercises"
    assert [answer for answer in answers if answer in text] == []


@pytest.mark.parametrize("number", BUILT)
def test_the_real_notebooks_are_in_step_and_small(number, capsys):
    assert build.main([number, "--check"]) == 0, capsys.readouterr().out
    source, _ = build.load(LABS, number)
    worked = LABS / "solutions" / f"{source.entry['name']}.ipynb"
    assert worked.stat().st_size < 1_000_000


@pytest.mark.parametrize("number", BUILT)
def test_no_cell_of_a_lab_needs_what_only_an_exercise_makes(number):
    """Else a blank exercise stops the lab, and `xl.lab.resume` with it."""
    made, needed = set(dir(builtins)), {}
    for code in (code for section in content.sections(number) for code in section["code"]):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                needed.setdefault(node.id, code.splitlines()[0])
            elif isinstance(node, ast.Name):
                made.add(node.id)
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                made.add(node.name)
            elif isinstance(node, ast.arg):
                made.add(node.arg)
            elif isinstance(node, ast.alias):
                made.add((node.asname or node.name).split(".")[0])
            elif isinstance(node, ast.ExceptHandler) and node.name:
                made.add(node.name)
    assert {name: cell for name, cell in needed.items() if name not in made} == {}
