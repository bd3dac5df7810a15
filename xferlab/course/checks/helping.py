"""Hints, one after another, and the worked solution."""

import textwrap

from ...errors import ArgumentError
from .. import content
from ..display import WIDTH, kernel_widgets, say, show_widget
from .record import note, noted


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
    hints = exercise_of(exercise)["hints"]
    opened = min(noted("exercises", exercise).get("hints", 0) + 1, len(hints))
    note("exercises", exercise, hints=opened)
    for number, text in enumerate(hints[:opened], 1):
        tell(f"Hint {number} of {len(hints)}: {text}")
    if opened == len(hints):
        tell(f'That was the last hint. xl.checks.solution("{exercise}") shows an answer.')


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
    note("exercises", exercise, solution=True)
    for kind, text in exercise_of(exercise)["solution"]:
        print(text if kind == "code" else textwrap.fill(text, WIDTH))


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
    exercise_of(exercise)
    widgets = kernel_widgets()
    instead = (
        f'Stuck? xl.checks.hint("{exercise}") opens a hint, and one more each time you call it; '
        f'xl.checks.solution("{exercise}") shows a solution.'
    )
    if widgets is None:
        print(instead)
        return
    output, buttons = widgets.Output(), []
    for text, action in (("Next hint", hint), ("Show a solution", solution)):
        button = widgets.Button(description=text, tooltip=f"{text} for exercise {exercise}")
        button.on_click(output.capture(clear_output=True)(lambda _, action=action: action(exercise)))
        buttons.append(button)
    show_widget(widgets.VBox([widgets.HBox(buttons), output]), instead)


def tell(text: str) -> None:
    """Prints a text whose further lines are indented, so that one can be told from the next."""
    say(text, indent="  ")


def exercise_of(exercise: str) -> dict:
    """Hints, solution and mistakes of an exercise; `ArgumentError` where there is none of this name."""
    exercises = content.answers(exercise.split(".")[0])["exercises"]
    if exercise not in exercises:
        raise ArgumentError(f"no exercise {exercise!r}; this lab has {', '.join(exercises)}")
    return exercises[exercise]
