"""Exercises that answer back: checks, hints, solutions, quizzes and predictions, all served from the package.

What a learner has done is kept in `cache_folder("progress.json")` on this machine and goes nowhere else.
"""

from __future__ import annotations

import dis
import html
import importlib
import json
import math
import os
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...errors import ArgumentError, DataError
from ...storage import cache_folder, write_text
from .. import content
from ..display import kernel_widgets, show_widget

LETTERS = "abcdefgh"  # what a quiz calls its options

__all__ = [
    "Mistake",
    "Verdict",
    "check",
    "hint",
    "predict",
    "progress",
    "quiz",
    "quiz_answer",
    "recognizes",
    "reveal",
    "solution",
    "stuck",
    "verdicts",
]


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that a recognizer knows by name.

    Parameters
    ----------
    name
        By which `course.toml` or the lab's source says what is wrong.
    message
        The sentence that says it here.

    Examples
    --------
    >>> xl.checks.Mistake("swapped", "These are the source's labels.").name
    'swapped'
    """

    name: str
    message: str = ""


def number(
    answer: float, right: float, mistakes: Sequence[tuple[float, str]], otherwise: str, **tolerance: float
) -> Mistake | str | None:
    """For recognizers of one number, see `among`. `tolerance` is `math.isclose`'s."""
    if isinstance(answer, str):
        return f"{answer!r} is text; give the number itself, without quotes."
    return among(lambda value: math.isclose(answer, value, **tolerance), right, mistakes, otherwise)


def among(near: Callable, right, mistakes: Sequence[tuple], otherwise: str) -> Mistake | str | None:
    """None where `near(right)`, else of the known `mistakes` the first whose value is near, a mistake's name or a sentence;
    `otherwise` where none is."""
    if near(right):
        return None
    found = next((said for value, said in mistakes if near(value)), otherwise)
    return Mistake(found) if found.isidentifier() else found


def letters(answer) -> set[str]:
    """For recognizers of a choice: its letters, given as a set, a list or a text, in any case."""
    return {letter for letter in "".join(map(str, answer)).lower() if letter.isalpha()}


@dataclass(frozen=True)
class Verdict:
    """What `check` found.

    Parameters
    ----------
    exercise
        Its name.
    passed
        Whether the answer is right.
    message
        What is said.
    mistake
        "" when passed, "blank", "unreadable", "unnamed" or a `Mistake`'s name.

    Examples
    --------
    >>> xl.checks.Verdict("02.1", passed=False, message="Look at the rows again.")
    Exercise 02.1: not yet. Look at the rows again.
    """

    exercise: str
    passed: bool
    message: str
    mistake: str = ""

    def __str__(self) -> str:
        return f"Exercise {self.exercise}: {'passed' if self.passed else 'not yet'}. {self.message}"

    __repr__ = __str__

    def _ipython_display_(self) -> None:
        """Nothing: `check` has printed it already."""


verdicts: dict[str, Verdict] = {}
"""The last verdict by exercise."""

_recognizers: dict[str, tuple[Callable, str]] = {}
_session: dict = {}


def recognizes(exercise: str, right: str = ""):
    """Registers a function as the recognizer of an exercise.

    It is called with the learner's answer and returns None when that is right, a `Mistake` or a sentence when not.

    Parameters
    ----------
    exercise
        Its name.
    right
        What is said on success.

    Returns
    -------
    callable
        A decorator.

    Examples
    --------
    >>> @xl.checks.recognizes("99.1", right="Yes: it is even.")
    ... def even(answer):
    ...     return None if answer % 2 == 0 else "This number is odd."
    >>> verdict = xl.checks.check("99.1", 4)
    Exercise 99.1: passed. Yes: it is even.
    """

    def register(function: Callable) -> Callable:
        _recognizers[exercise] = function, right
        return function

    return register


def check(exercise: str, *answer, **named) -> Verdict:
    """Says whether an answer is right and, when it is not, what is wrong with it.

    A wrong answer never raises, except with `XFERLAB_STRICT=1` (worked notebooks and tests), where it is an `AssertionError`.

    Parameters
    ----------
    exercise
        Its name.
    answer, named
        What the learner made.

    Returns
    -------
    Verdict
        After it was printed.

    Raises
    ------
    ArgumentError
        For an exercise that does not exist.

    Examples
    --------
    >>> verdict = xl.checks.check("00.1", ...)
    Exercise 00.1: not yet. Not answered yet: replace each `...` above, run that cell, then this one again.
    """
    recognize, right = _recognizer(exercise)
    if any(map(_blank, (*answer, *named.values()))) or not (answer or named):
        found = Mistake("blank", "Not answered yet: replace each `...` above, run that cell, then this one again.")
    else:
        try:
            found = recognize(*answer, **named)
        except Exception as error:  # whatever a learner hands over, the verdict is a sentence
            nothing = " Does your function end with `return`?" if "NoneType" in str(error) else ""
            found = Mistake("unreadable", f"This answer could not be read: {type(error).__name__}: {error}.{nothing}")
    if isinstance(found, str):
        found = Mistake("unnamed", found)
    passed = found is None
    message = (right or "Well done.") if passed else found.message or _exercise(exercise)["mistakes"][found.name]
    verdict = Verdict(exercise, passed, message, "" if passed else found.name)
    verdicts[exercise] = verdict
    before = _noted("exercises", exercise)
    _note("exercises", exercise, passed=passed or before.get("passed", False), tries=before.get("tries", 0) + 1)
    _print(str(verdict))
    if _strict() and not passed:
        raise AssertionError(str(verdict))
    return verdict


def hint(exercise: str) -> None:
    """Opens the next of the three hints of an exercise: a nudge, then what to look for, then code.

    Parameters
    ----------
    exercise
        Its name.

    Examples
    --------
    >>> xl.checks.hint("00.1")
    Hint 1 of 3: ...
    """
    hints = _exercise(exercise)["hints"]
    opened = min(_noted("exercises", exercise).get("hints", 0) + 1, len(hints))
    _note("exercises", exercise, hints=opened)
    for number, text in enumerate(hints[:opened], 1):
        _print(f"Hint {number} of {len(hints)}: {text}")
    if opened == len(hints):
        _print(f'That was the last hint. xl.checks.solution("{exercise}") shows an answer.')


def solution(exercise: str) -> None:
    """Shows a solution of an exercise, and notes that it was opened.

    Parameters
    ----------
    exercise
        Its name.

    Examples
    --------
    >>> print("A solution:"), xl.checks.solution("00.1")
    A solution:
    ...
    """
    _note("exercises", exercise, solution=True)
    for kind, text in _exercise(exercise)["solution"]:
        print(text if kind == "code" else textwrap.fill(text, 100))


def stuck(exercise: str) -> None:
    """Two buttons, next hint and solution, where there is a notebook; else the calls that do the same.

    Parameters
    ----------
    exercise
        Its name.

    Examples
    --------
    >>> xl.checks.stuck("00.1")
    Stuck? xl.checks.hint("00.1") opens a hint, and one more each time you call it; xl.checks.solution("00.1") shows ...
    """
    _exercise(exercise)
    widgets = kernel_widgets()
    instead = (
        f'Stuck? xl.checks.hint("{exercise}") opens a hint, and one more each time you call it; '
        f'xl.checks.solution("{exercise}") shows a solution.'
    )
    if widgets is None:
        print(instead)
        return
    output = widgets.Output()
    buttons = []
    for text, action in (("Next hint", hint), ("Show a solution", solution)):
        button = widgets.Button(description=text, tooltip=f"{text} for exercise {exercise}")

        def clicked(_, action=action):
            output.clear_output()
            with output:
                action(exercise)

        button.on_click(clicked)
        buttons.append(button)
    show_widget(widgets.VBox([widgets.HBox(buttons), output]), instead)


def predict(exercise: str, guess, options: list | None = None) -> None:
    """Commits to a guess before the run; `reveal` compares it with what came out. A blank guess is asked for again.

    Parameters
    ----------
    exercise
        Its name.
    guess
        A number or a word; blank is `...`.
    options
        Words to choose among.

    Examples
    --------
    >>> xl.checks.predict("00.p1", 0.8)
    Noted: you predict 0.8.
    """
    if _blank(guess):
        print(
            "Make a guess first: replace `...`, run this cell, then go on. A wrong guess teaches as much as a right one."
        )
        return
    if options and guess not in options:
        print(f"{guess!r} is not one of {', '.join(map(repr, options))}. Choose one and run this cell again.")
        return
    _note("predictions", exercise, guess=guess if isinstance(guess, (str, int, float, bool)) else repr(guess))
    print(f"Noted: you predict {guess}.")


def reveal(exercise: str, actual, tied: Sequence = ()) -> None:
    """Puts the guess given to `predict` beside what the run gave.

    Parameters
    ----------
    exercise
        Its name.
    actual
        What the run gave.
    tied
        Answers that the run cannot tell apart from that, `Results.tied`.

    Examples
    --------
    >>> xl.checks.predict("00.p1", 0.8)
    Noted: you predict 0.8.
    >>> xl.checks.reveal("00.p1", 0.612)
    You predicted 0.8; the run says 0.612.
    """
    guess = _noted("predictions", exercise).get("guess")
    if guess is None:
        print(f"The run says {actual}. You made no prediction this time.")
        return
    _note("predictions", exercise, actual=actual if isinstance(actual, (str, int, float, bool)) else repr(actual))
    if isinstance(actual, (int, float)) and isinstance(guess, (int, float)) and not isinstance(actual, bool):
        print(f"You predicted {guess:g}; the run says {actual:.3g}.")
    else:
        print(f"You predicted {guess}; the run says {actual}.{' As you thought.' if guess == actual else ''}")
    if others := [answer for answer in tied if answer != actual]:
        yours = " Your guess is one of them, so it stands." if guess in others else ""
        print(f"Not separated from '{actual}': {', '.join(map(repr, others))}.{yours}")


def quiz(lab: str) -> None:
    """The quiz of a lab: a button for each option where there is a notebook, else printed.

    Every option is explained once answered.

    Parameters
    ----------
    lab
        Its number.

    Examples
    --------
    >>> xl.checks.quiz("00")
    1. ...
    """
    questions = content.answers(lab)["quiz"]
    widgets, lines = kernel_widgets(), []
    for number, question in enumerate(questions, 1):
        lines.append(f"{number}. {question['question']}")
        lines += [f"   {a}) {option['text']}" for a, option in zip(LETTERS, question["options"], strict=False)]
    lines.append(
        f'Answer with xl.checks.quiz_answer("{lab}", question, letter), e.g. xl.checks.quiz_answer("{lab}", 1, "a").'
    )
    if widgets is None:
        print("\n".join(lines))
    else:
        box = widgets.VBox([_question(widgets, lab, n, q) for n, q in enumerate(questions, 1)])
        show_widget(box, "\n".join(lines))


def quiz_answer(lab: str, question: int, letter: str) -> bool:
    """Answers a question of a quiz; prints why each option is right or wrong.

    Parameters
    ----------
    lab
        Its number.
    question
        From 1.
    letter
        Of the option.

    Returns
    -------
    bool
        Whether it was right.

    Raises
    ------
    ArgumentError
        For a question or a letter that is not there.

    Examples
    --------
    >>> xl.checks.quiz_answer("00", 1, "a")
    Not quite.
       a) wrong: To choose the learning rate, if the test part is left alone.
       ...
    """
    questions = content.answers(lab)["quiz"]
    if not 1 <= question <= len(questions):
        raise ArgumentError(f"lab {lab} has questions 1 to {len(questions)}, not {question!r}")
    asked = questions[question - 1]
    letters = LETTERS[: len(asked["options"])]
    if str(letter).lower() not in letters or len(str(letter)) != 1:
        raise ArgumentError(f"question {question} has options {', '.join(letters)}, not {letter!r}")
    chosen = letters.index(letter.lower())
    print("Right." if asked["options"][chosen]["right"] else "Not quite.")
    for mark, option in zip(letters, asked["options"], strict=True):
        print(f"   {mark}) {'right' if option['right'] else 'wrong'}: {option['text']}\n      {option['why']}")
    return _answered(lab, question, chosen)


def progress() -> None:
    """Shows, by lab, which exercises passed, what was opened on the way, and the quiz. It never leaves this machine.

    Examples
    --------
    >>> xl.checks.progress()
    Lab 00: Start here...
    """
    done = _state()
    for number in content.built():
        data = content.answers(number)
        print(f"Lab {number}: {content.entry(number)['title']}")
        for exercise in (name for name in data["exercises"] if ".p" not in name):
            noted = done.get("exercises", {}).get(exercise, {})
            mark = "passed" if noted.get("passed") else "tried" if noted.get("tries") else "open"
            extras = [f"{noted['hints']} hints"] if noted.get("hints") else []
            extras += ["solution opened"] if noted.get("solution") else []
            print(f"  {exercise}  {mark:7s} {', '.join(extras)}".rstrip())
        answers = [done.get("quiz", {}).get(f"{number}.{n}", {}) for n in range(1, len(data["quiz"]) + 1)]
        if answers:
            print(f"  quiz  {sum(a.get('right', False) for a in answers)} of {len(answers)} right")
    print(f"Kept in {cache_folder('progress.json')}, on this machine only; delete that file to start afresh.")


# ------------------------------------------------------------------ quiz widget


def _question(widgets, lab: str, number: int, question: dict):
    """A button for each option, since Tab and Space reach buttons everywhere: JupyterLab takes the arrow keys of radio buttons."""
    explained, rows = widgets.HTML(), []

    def answer(chosen: int):
        right = _answered(lab, number, chosen)
        items = "".join(
            f"<li><b>{'Right' if option['right'] else 'Wrong'}:</b> {_marked(option['text'])}<br>{_marked(option['why'])}</li>"
            for option in question["options"]
        )
        letter = LETTERS[chosen]
        explained.value = f"<p><b>{letter}: {'right.' if right else 'not quite.'}</b></p><ol type='a'>{items}</ol>"

    for index, option in enumerate(question["options"]):
        button = widgets.Button(
            description=LETTERS[index],
            tooltip=option["text"].replace("`", ""),
            layout=widgets.Layout(width="3em", flex="0 0 auto"),
        )
        button.on_click(lambda _, index=index: answer(index))
        rows.append(widgets.HBox([button, widgets.HTML(_marked(option["text"]))]))
    return widgets.VBox([widgets.HTML(f"<b>{number}. {_marked(question['question'])}</b>"), *rows, explained])


def _answered(lab: str, question: int, chosen: int) -> bool:
    right = content.answers(lab)["quiz"][question - 1]["options"][chosen]["right"]
    _note("quiz", f"{lab}.{question}", right=right)
    return right


def _marked(text: str) -> str:
    """Escaped HTML, with `code` in code tags."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _print(text: str) -> None:
    for line in text.splitlines():
        print(line if line.startswith((" ", "```")) else textwrap.fill(line, 110, subsequent_indent="  "))


# ------------------------------------------------------------------ what the package knows


def _exercise(exercise: str) -> dict:
    exercises = content.answers(exercise.split(".")[0])["exercises"]
    if exercise not in exercises:
        raise ArgumentError(f"no exercise {exercise!r}; this lab has {', '.join(exercises)}")
    return exercises[exercise]


def _recognizer(exercise: str) -> tuple[Callable, str]:
    name = f"{__name__}.lab_{exercise.split('.')[0]}"
    if exercise not in _recognizers:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    if exercise not in _recognizers:
        known = ", ".join(sorted(_recognizers)) or "none"
        raise ArgumentError(f"nothing checks exercise {exercise!r}; known exercises: {known}")
    return _recognizers[exercise]


def _blank(answer) -> bool:
    """Whether an answer is still the starter's: `...`, None, a function without a body, or a container holding `...`."""
    parts = answer.values() if isinstance(answer, dict) else answer
    parts = parts if isinstance(answer, (dict, list, tuple, set)) else [answer]
    if answer is None or any(part is Ellipsis for part in parts):
        return True
    if isinstance(answer, type) or not hasattr(answer, "__code__"):
        return False
    steps = [step for step in dis.get_instructions(answer) if step.opname not in ("RESUME", "NOP")]
    returns = all(step.opname in ("LOAD_CONST", "RETURN_CONST", "RETURN_VALUE") for step in steps)
    return returns and all(step.argval in (None, Ellipsis) for step in steps if "CONST" in step.opname)


# ------------------------------------------------------------------ what a learner has done


def _strict() -> bool:
    return os.environ.get("XFERLAB_STRICT", "") not in ("", "0")


def _state() -> dict:
    if _strict():  # a worked notebook is not the learner's work
        return _session
    try:
        state = json.loads(cache_folder("progress.json").read_text("utf-8"))
    except (OSError, ValueError):
        return _session
    whole = isinstance(state, dict) and all(isinstance(kind, dict) for kind in state.values())
    return state if whole else _session


def _noted(kind: str, name: str) -> dict:
    return _state().get(kind, {}).get(name, {})


def _note(kind: str, name: str, **what) -> None:
    state = _state()
    state.setdefault(kind, {}).setdefault(name, {}).update(what)
    if _strict():
        return
    try:
        write_text(cache_folder("progress.json"), json.dumps(state, indent=1))
    except DataError:
        _session.update(state)  # a read-only disk costs the record, not the lesson
