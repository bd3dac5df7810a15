"""Exercises that answer back: verdicts, hints, quizzes, predictions, and what is remembered."""

import ast
import json
from pathlib import Path

import pytest

from xferlab import checks
from xferlab.course import content
from xferlab.course.checks import helping, quizzes, record
from xferlab.errors import ArgumentError

LABS = Path(__file__).parents[2] / "labs"
LAB = {
    "exercises": {
        "77.1": {
            "hints": ["nudge", "name", "`code`"],
            "mistakes": {"off_by_one": "That is one too many."},
            "solution": [["code", "answer = 2"], ["markdown", "Because."]],
        },
        "77.p1": {"hints": [], "solution": []},
    },
    "quiz": [
        {
            "question": "Is 1 < 2?",
            "options": [
                {"text": "<b>Yes</b>", "right": True, "why": "By `order`."},
                {"text": "No", "right": False, "why": "Count & see."},
            ],
        }
    ],
}


@pytest.fixture(autouse=True)
def made_up(monkeypatch, tmp_path):
    """A made-up lab 77, an empty memory and a lenient mode."""
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path))
    monkeypatch.delenv("XFERLAB_STRICT", raising=False)
    monkeypatch.setattr(content, "answers", lambda number: {"77": LAB}[number])
    monkeypatch.setattr(content, "entry", lambda number: {"title": "A made-up lab"})
    monkeypatch.setattr(content, "built", lambda: ["77"])
    monkeypatch.setattr(record, "session", {})
    monkeypatch.setattr(checks, "_recognizers", {})

    @checks.recognizes("77.1", right="Two it is.")
    def two(answer):
        if answer == 3:
            return checks.Mistake("off_by_one")
        return None if answer + 0 == 2 else "The answer is a number near 2."

    return tmp_path


def test_right_answer_passes_and_says_why(capsys):
    verdict = checks.check("77.1", 2)
    assert (verdict.passed, verdict.mistake) == (True, "")
    assert "Two it is." in capsys.readouterr().out
    assert checks.verdicts["77.1"] is verdict


def test_wrong_answers_are_named_and_explained(capsys):
    assert checks.check("77.1", 3).mistake == "off_by_one"
    assert "one too many" in capsys.readouterr().out
    assert checks.check("77.1", 9).mistake == "unnamed"


def empty(a, b): ...


def documented(a):
    """Says what it should do."""


@pytest.mark.parametrize(
    "answer", [..., None, empty, documented, lambda x: ..., {"a": ...}, [1, ...], (..., 2)], ids=lambda a: str(a)[:20]
)
def test_blank_answers_are_recognized_without_asking_the_recognizer(answer):
    assert checks.check("77.1", answer).mistake == "blank"


def test_no_answer_at_all_is_blank():
    assert checks.check("77.1").mistake == "blank"


@pytest.mark.parametrize("answer", [0, False, "", [], {}, lambda x: x, int, print])
def test_answers_that_only_look_empty_are_not_blank(answer):
    assert checks.check("77.1", answer).mistake != "blank"


def test_an_answer_the_recognizer_chokes_on_is_a_sentence_not_a_traceback(capsys):
    assert checks.check("77.1", "two").mistake == "unreadable"
    assert "TypeError" in capsys.readouterr().out


def test_a_function_without_return_is_told_so(capsys):
    """Its None would otherwise come out as a TypeError that names nothing of the learner's."""

    @checks.recognizes("77.1")
    def two(function):
        return None if function() + 0 == 2 else "no"

    def forgot():
        print(2)

    checks.check("77.1", forgot)
    assert "end with `return`" in capsys.readouterr().out


def test_further_lines_of_a_message_are_indented(capsys):
    """Three hints in a row could not be told apart, and the worked notebooks show them so."""
    checks.predict("77.p1", "a long guess " * 12)
    first, *further = capsys.readouterr().out.splitlines()
    assert first.startswith("Noted") and further and all(line.startswith("  ") for line in further)


def test_strict_raises_and_leaves_the_learners_progress_alone(monkeypatch, made_up):
    monkeypatch.setenv("XFERLAB_STRICT", "1")
    with pytest.raises(AssertionError, match="one too many"):
        checks.check("77.1", 3)
    checks.check("77.1", 2)
    checks.predict("77.p1", 5)
    assert list(made_up.iterdir()) == []


def test_strict_predictions_are_still_revealed(monkeypatch, capsys):
    monkeypatch.setenv("XFERLAB_STRICT", "1")
    checks.predict("77.p1", "full")
    checks.reveal("77.p1", "probe")
    assert "You predicted full; the run says probe." in capsys.readouterr().out


def test_unknown_exercises_and_labs_are_refused():
    with pytest.raises(ArgumentError, match=r"77\.9"):
        checks.check("77.9", 1)
    with pytest.raises(ArgumentError, match=r"77\.1"):
        checks.hint("77.9")


def test_recognizers_of_a_lab_are_imported_when_first_needed(monkeypatch, tmp_path):
    (tmp_path / "lab_77.py").write_text(
        "from xferlab.course.checks import recognizes\n@recognizes('77.5')\ndef f(a): return 'from the file'\n"
    )
    monkeypatch.setattr(checks, "__path__", [str(tmp_path)])
    assert checks.check("77.5", 1).message == "from the file"


def test_a_broken_recognizer_file_is_not_taken_for_a_missing_one(monkeypatch, tmp_path):
    (tmp_path / "lab_76.py").write_text("import no_such_module_at_all\n")
    monkeypatch.setattr(checks, "__path__", [str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        checks.check("76.1", 1)


def test_each_call_opens_exactly_one_more_hint(capsys):
    opened = []
    for _ in range(4):
        checks.hint("77.1")
        out = capsys.readouterr().out
        opened.append([word for word in ("nudge", "name", "`code`") if word in out])
    assert opened == [["nudge"], ["nudge", "name"], ["nudge", "name", "`code`"], ["nudge", "name", "`code`"]]


def test_solution_is_shown(capsys):
    checks.solution("77.1")
    assert "answer = 2\nBecause." in capsys.readouterr().out


def test_progress_is_stored_and_shown(made_up, capsys):
    checks.check("77.1", 3)
    checks.check("77.1", 2)
    checks.check("77.1", 3)  # trying something else later does not undo a pass
    checks.hint("77.1")
    checks.quiz_answer("77", 1, "a")
    state = json.loads((made_up / "progress.json").read_text())
    assert state["exercises"]["77.1"] == {"passed": True, "tries": 3, "hints": 1}
    capsys.readouterr()
    checks.progress()
    out = capsys.readouterr().out
    assert "77.1  passed  1 hint" in out
    assert "1 of 1 right" in out
    assert "77.p1" not in out


def test_a_quiz_asked_for_without_the_zero_counts(monkeypatch):
    monkeypatch.setattr(content, "answers", lambda number: {"7": LAB}[number])
    checks.quiz_answer("7", 1, "a")
    assert record.noted("quiz", "07.1") == {"right": True}


@pytest.mark.parametrize("damage", ["{", "[]", '{"exercises": []}', "\x00"])
def test_a_damaged_progress_file_does_not_stop_a_lesson(made_up, damage):
    (made_up / "progress.json").write_text(damage)
    assert checks.check("77.1", 2).passed
    assert json.loads((made_up / "progress.json").read_text())["exercises"]["77.1"]["passed"]


def test_a_folder_that_cannot_be_written_does_not_stop_a_lesson(monkeypatch, made_up, capsys):
    (made_up / "file").write_text("")
    monkeypatch.setenv("XFERLAB_DATA", str(made_up / "file"))
    checks.hint("77.1")
    checks.hint("77.1")
    assert "Hint 2 of 3" in capsys.readouterr().out


def test_predictions_wait_for_a_guess_and_are_compared(capsys):
    checks.predict("77.p1", ...)
    checks.predict("77.p1", "nonsense", options=["probe", "full"])
    checks.reveal("77.p1", "probe")
    out = capsys.readouterr().out
    assert "Make a guess first" in out
    assert "'nonsense' is not one of 'probe', 'full'" in out
    assert "You made no prediction" in out
    checks.predict("77.p1", "probe", options=["probe", "full"])
    checks.reveal("77.p1", "probe")
    assert "As you thought." in capsys.readouterr().out
    checks.reveal("77.p1", "full", ["full", "probe"])
    assert "Not separated from 'full': 'probe'. Your guess is one of them, so it stands." in capsys.readouterr().out
    checks.predict("77.p1", 0.8)
    checks.reveal("77.p1", 0.71234)
    assert "You predicted 0.8; the run says 0.712." in capsys.readouterr().out


def test_quiz_without_a_notebook_is_printed_without_answers(capsys):
    checks.quiz("77")
    out = capsys.readouterr().out
    assert "a) <b>Yes</b>" in out
    assert "order" not in out


@pytest.mark.parametrize(("letter", "right"), [("a", True), ("B", False)])
def test_quiz_answer_explains_every_option(letter, right, capsys):
    assert checks.quiz_answer("77", 1, letter) is right
    out = capsys.readouterr().out
    assert "By `order`." in out
    assert "Count & see." in out


@pytest.mark.parametrize(("question", "letter"), [(2, "a"), (0, "a"), (1, "c"), (1, "ab"), (1, "")])
def test_quiz_answers_that_do_not_exist_are_refused(question, letter):
    with pytest.raises(ArgumentError):
        checks.quiz_answer("77", question, letter)


def test_quiz_widget_explains_every_option_escaped(made_up):
    widgets = pytest.importorskip("ipywidgets")
    _, *rows, explained = quizzes._question(widgets, "77", 1, LAB["quiz"][0]).children
    assert explained.value == ""
    assert [row.children[0].description for row in rows] == list("abc")[: len(rows)]
    texts = [quizzes._marked(option["text"]) for option in LAB["quiz"][0]["options"]]
    assert [row.children[1].value for row in rows] == texts  # in the order of the letters
    rows[1].children[0].click()
    assert "b: not quite." in explained.value
    assert "&lt;b&gt;Yes&lt;/b&gt;" in explained.value
    assert "<code>order</code>" in explained.value
    assert "Count &amp; see." in explained.value
    assert json.loads((made_up / "progress.json").read_text())["quiz"] == {"77.1": {"right": False}}


def test_stuck_buttons_open_hints(monkeypatch):
    widgets = pytest.importorskip("ipywidgets")
    shown = []
    monkeypatch.setattr(helping, "kernel_widgets", lambda: widgets)
    monkeypatch.setattr(helping, "show_widget", lambda widget, instead: shown.append(widget))
    checks.stuck("77.1")
    buttons, _ = shown[0].children
    buttons.children[0].click()
    buttons.children[0].click()
    buttons.children[1].click()
    assert record.noted("exercises", "77.1") == {"hints": 2, "solution": True}


def test_stuck_without_a_notebook_names_the_calls(capsys):
    checks.stuck("77.1")
    assert 'xl.checks.hint("77.1")' in capsys.readouterr().out


def test_a_saved_page_shows_words_where_the_widget_was(monkeypatch):
    widgets = pytest.importorskip("ipywidgets")
    if int(widgets.__version__.split(".")[0]) < 8:
        pytest.skip("ipywidgets 7 brings its own words")
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda data, raw: shown.append(data))
    for module in (helping, quizzes):
        monkeypatch.setattr(module, "kernel_widgets", lambda: widgets)
    checks.quiz("77")
    checks.stuck("77.1")
    assert all("application/vnd.jupyter.widget-view+json" in data for data in shown)
    assert "a) <b>Yes</b>" in shown[0]["text/plain"]
    assert "order" not in shown[0]["text/plain"]
    assert 'xl.checks.hint("77.1")' in shown[1]["text/plain"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (0.24, "Well done."),
        (0.5, "Half is too much."),
        (0.75, "0.75 is not it."),
        ("0.24", "'0.24' is text; give the number itself, without quotes."),
    ],
)
def test_what_a_recognizer_yields_counts_in_order(answer, message):
    """Fails if a number in quotes reaches the arithmetic, whose error says nothing to a learner."""

    @checks.recognizes("77.1")
    def quarter(answer):
        yield from checks.number(answer, 0.25, {"Half is too much.": [0.5]}, "{:.2f} is not it.", abs_tol=0.02)

    assert checks.check("77.1", answer).message == message


def test_a_name_that_is_yielded_is_a_mistake_with_its_sentence():
    @checks.recognizes("77.1")
    def two(answer):
        yield answer == 3, "off_by_one"
        yield answer == 4, checks.Mistake("off_by_two", "That is two too many.")
        yield 1 / (2 - answer), "never reached for 3 and 4"

    assert (checks.check("77.1", 3).mistake, checks.check("77.1", 3).message) == ("off_by_one", "That is one too many.")
    assert checks.check("77.1", 4).message == "That is two too many."
    assert checks.check("77.1", 2).mistake == "unreadable"


@pytest.mark.parametrize("path", sorted(Path(checks.__file__).parent.glob("lab_*.py")), ids=lambda path: path.stem)
def test_every_mistake_that_a_recognizer_names_has_its_sentence(path):
    tree, number = ast.parse(path.read_text()), path.stem[-2:]
    exercises = content.unpacked((LABS / "answers" / f"{number}.txt").read_text())["exercises"]
    sentences = {name for exercise in exercises.values() for name in exercise["mistakes"]}
    nodes = list(ast.walk(tree))
    # names of mistakes: those that are yielded, those in the tables that `number` and `among` get, and `Mistake`'s own
    pairs = [node.value for node in nodes if isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple)]
    yielded = {pair.elts[-1].value for pair in pairs if isinstance(pair.elts[-1], ast.Constant)}
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    places = [node for node in calls if ast.unparse(node.func) in ("number", "among")]
    places += [node for node in nodes if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "mistakes"]
    inner = [node for place in places for node in ast.walk(place) if isinstance(node, ast.Call)]
    tabled = {word.arg for node in inner if ast.unparse(node.func) == "dict" for word in node.keywords}
    names = tabled | {said for said in yielded if said.isidentifier()}
    own = {node.args[0].value: len(node.args) for node in calls if ast.unparse(node.func) == "Mistake"}
    names |= {name for name, given in own.items() if given == 1}  # without a sentence of its own
    assert names, "no mistake was found"
    assert names <= sentences, "a mistake without a sentence"
    assert sentences <= names | own.keys(), "a sentence that no recognizer uses"
