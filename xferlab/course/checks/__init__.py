"""Exercises that answer back: checks, hints, solutions, quizzes and predictions, all served from the package.

What a learner has done is kept in `cache_folder("progress.json")` on this machine and goes nowhere else.
"""

import dis
import functools
import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...errors import ArgumentError
from .helping import exercise_of, hint, solution, stuck, tell
from .quizzes import quiz, quiz_answer
from .record import note, noted, progress, strict

__all__ = ["Mistake", "Verdict", "check", "predict", "recognizes", "reveal", "verdicts"]
__all__ += ["hint", "progress", "quiz", "quiz_answer", "solution", "stuck"]  # from the files beside this one


BLANK = "Not answered yet: replace each `...` above, run that cell, then this one again."


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


def among(near: Callable, right, mistakes: Mapping, otherwise: str = "") -> Iterator[tuple[object, str]]:
    """For recognizers: nothing where `near(right)`, else which of the known `mistakes` is near, each a name or a sentence with
    a value, or a list of them; last `otherwise`, if anything is said then."""
    if not near(right):
        for mistake, values in mistakes.items():
            yield any(map(near, values if isinstance(values, list) else [values])), mistake
        yield bool(otherwise), otherwise


def number(
    answer: float, right: float, mistakes: Mapping, otherwise: str = "", **tolerance: float
) -> Iterator[tuple[object, str]]:
    """For recognizers of one number, see `among`; the answer stands where `otherwise` has braces. `tolerance` is `math.isclose`'s."""
    yield isinstance(answer, str), f"{answer!r} is text; give the number itself, without quotes."
    near = functools.partial(math.isclose, answer, **tolerance)
    yield from among(near, right, mistakes, otherwise.format(answer))


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


def recognizes(exercise: str, right: str = ""):
    """Registers a function as the recognizer of an exercise.

    It is called with the learner's answer and returns None when that is right, a `Mistake` or a sentence when not. Or it
    yields what may be wrong with it, in order: whether it is, and the mistake's name or a sentence. The first that is counts.

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
        found: Mistake | str | None = Mistake("blank", BLANK)
    else:
        try:
            found = recognize(*answer, **named)
            if isinstance(found, Iterator):
                found = next((mistake for made, mistake in found if made), None)
                if isinstance(found, str) and found.isidentifier():
                    found = Mistake(found)
        except Exception as error:  # whatever a learner hands over, the verdict is a sentence
            nothing = " Does your function end with `return`?" if "NoneType" in str(error) else ""
            found = Mistake("unreadable", f"This answer could not be read: {type(error).__name__}: {error}.{nothing}")
    if isinstance(found, str):
        found = Mistake("unnamed", found)
    if found is None:
        verdict = Verdict(exercise, True, right or "Well done.")
    else:
        message = found.message or exercise_of(exercise)["mistakes"][found.name]
        verdict = Verdict(exercise, False, message, found.name)
    verdicts[exercise] = verdict
    before = noted("exercises", exercise)
    passed = verdict.passed or before.get("passed", False)
    note("exercises", exercise, passed=passed, tries=before.get("tries", 0) + 1)
    tell(str(verdict))
    if strict() and not verdict.passed:
        raise AssertionError(str(verdict))
    return verdict


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
        tell("Make a guess first: replace `...`, run this cell, then go on.")
        tell("A wrong guess teaches as much as a right one.")
        return
    if options and guess not in options:
        tell(f"{guess!r} is not one of {', '.join(map(repr, options))}. Choose one and run this cell again.")
        return
    note("predictions", exercise, guess=guess if isinstance(guess, (str, int, float, bool)) else repr(guess))
    tell(f"Noted: you predict {guess}.")


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
    guess = noted("predictions", exercise).get("guess")
    if guess is None:
        tell(f"The run says {actual}. You made no prediction this time.")
        return
    if isinstance(actual, (int, float)) and isinstance(guess, (int, float)) and not isinstance(actual, bool):
        tell(f"You predicted {guess:g}; the run says {actual:.3g}.")
    else:
        tell(f"You predicted {guess}; the run says {actual}.{' As you thought.' if guess == actual else ''}")
    if others := [answer for answer in tied if answer != actual]:
        yours = " Your guess is one of them, so it stands." if guess in others else ""
        tell(f"Not separated from '{actual}': {', '.join(map(repr, others))}.{yours}")


def _recognizer(exercise: str) -> tuple[Callable, str]:
    name = f"{__name__}.lab_{exercise.split('.')[0]}"
    if exercise not in _recognizers and importlib.util.find_spec(name):
        importlib.import_module(name)
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
