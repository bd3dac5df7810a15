"""What a learner has done, kept on this machine alone."""

import json
import os

from ...errors import DataError
from ...storage import cache_folder, write_text
from .. import content

session: dict = {}  # what is not kept on disk


def progress() -> None:
    """Shows, by lab, which exercises passed, what was opened on the way, and the quiz. It never leaves this machine.

    Examples
    --------
    >>> xl.checks.progress()
    Lab 00: Start here...
    """
    done = so_far()
    for number in content.built():
        data = content.answers(number)
        print(f"Lab {number}: {content.entry(number)['title']}")
        for exercise in (name for name in data["exercises"] if ".p" not in name):
            work = done.get("exercises", {}).get(exercise, {})
            mark = "passed" if work.get("passed") else "tried" if work.get("tries") else "open"
            extras = [f"{work['hints']} hints"] if work.get("hints") else []
            extras += ["solution opened"] if work.get("solution") else []
            print(f"  {exercise}  {mark:7s} {', '.join(extras)}".rstrip())
        answers = [done.get("quiz", {}).get(f"{number}.{n}", {}) for n in range(1, len(data["quiz"]) + 1)]
        if answers:
            print(f"  quiz  {sum(a.get('right', False) for a in answers)} of {len(answers)} right")
    print(f"Kept in {cache_folder('progress.json')}, on this machine only; delete that file to start afresh.")


def strict() -> bool:
    """Whether a wrong answer raises: in worked notebooks and in tests."""
    return os.environ.get("XFERLAB_STRICT", "") not in ("", "0")


def so_far() -> dict:
    """By kind (exercises, predictions, quiz) and name, what was noted."""
    if strict():  # a worked notebook is not the learner's work
        return session
    try:
        state = json.loads(cache_folder("progress.json").read_text("utf-8"))
    except (OSError, ValueError):
        return session
    whole = isinstance(state, dict) and all(isinstance(kind, dict) for kind in state.values())
    return state if whole else session


def noted(kind: str, name: str) -> dict:
    """What was noted of one exercise, prediction or question."""
    return so_far().get(kind, {}).get(name, {})


def note(kind: str, name: str, **what) -> None:
    """Adds to that, and writes it down."""
    state = so_far()
    state.setdefault(kind, {}).setdefault(name, {}).update(what)
    if strict():
        return
    try:
        write_text(cache_folder("progress.json"), json.dumps(state, indent=1))
    except DataError:
        session.update(state)  # a read-only disk costs the record, not the lesson
