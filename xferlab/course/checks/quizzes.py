"""Quizzes: a button for each option where there is a notebook, else printed."""

import html
import re

from ...errors import ArgumentError
from .. import content
from ..display import kernel_widgets, show_widget
from .record import note

LETTERS = "abcdefgh"  # what a quiz calls its options


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
    call = f'xl.checks.quiz_answer("{lab}"'
    lines.append(f'Answer with {call}, question, letter), e.g. {call}, 1, "a").')
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
    right = asked["options"][letters.index(letter.lower())]["right"]
    print("Right." if right else "Not quite.")
    for mark, option in zip(letters, asked["options"], strict=True):
        print(f"   {mark}) {'right' if option['right'] else 'wrong'}: {option['text']}\n      {option['why']}")
    note("quiz", f"{str(lab).zfill(2)}.{question}", right=right)
    return right


def _question(widgets, lab: str, number: int, question: dict):
    """A button for each option, since Tab and Space reach buttons everywhere: JupyterLab takes the arrow keys of radio buttons."""
    explained, rows, small = widgets.HTML(), [], widgets.Layout(width="3em", flex="0 0 auto")

    def answer(chosen: int):
        right = question["options"][chosen]["right"]
        note("quiz", f"{str(lab).zfill(2)}.{number}", right=right)
        items = "".join(
            f"<li><b>{'Right' if option['right'] else 'Wrong'}:</b> {_marked(option['text'])}<br>{_marked(option['why'])}</li>"
            for option in question["options"]
        )
        letter = LETTERS[chosen]
        explained.value = f"<p><b>{letter}: {'right.' if right else 'not quite.'}</b></p><ol type='a'>{items}</ol>"

    for index, option in enumerate(question["options"]):
        tooltip = option["text"].replace("`", "")
        button = widgets.Button(description=LETTERS[index], tooltip=tooltip, layout=small)
        button.on_click(lambda _, index=index: answer(index))
        rows.append(widgets.HBox([button, widgets.HTML(_marked(option["text"]))]))
    return widgets.VBox([widgets.HTML(f"<b>{number}. {_marked(question['question'])}</b>"), *rows, explained])


def _marked(text: str) -> str:
    """Escaped HTML, with `code` in code tags."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
