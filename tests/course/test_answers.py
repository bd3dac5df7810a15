"""Right answers in other words: as different learners would write them, each has to pass its exercise's check."""

import re
from pathlib import Path

import authoring
import pytest

from xferlab import checks

LABS = Path(__file__).parents[2] / "labs"
FILES = sorted(Path(__file__).with_name("answers").glob("lab_*.py"))


def answers(path: Path) -> tuple[str, list[tuple[str, str]]]:
    """What comes before the answers (imports, and what stands for earlier cells), and each answer with its exercise."""
    before, *parts = re.split(r"^# %% (\S+)\n", path.read_text("utf-8"), flags=re.MULTILINE)
    return before, list(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_right_answer_in_other_words_passes(path, monkeypatch):
    """A check that knows only the solution's way to write it would refuse one of these."""
    monkeypatch.delenv("XFERLAB_STRICT", raising=False)
    exercises = authoring.load(LABS, path.stem[-2:])[0].exercises
    before, given = answers(path)
    earlier: dict = {"xl": __import__("xferlab")}
    exec(before, earlier)
    refused = []
    for name, answer in given:
        exec(f"{answer}\n{exercises[name]['check']}", dict(earlier))
        if not checks.verdicts[name].passed:
            refused.append(f"{checks.verdicts[name]}\n{answer}")
    assert not refused, "\n".join(refused)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_exercise_has_answers_in_other_words(path):
    names = [name for name, _ in answers(path)[1]]
    exercises = {name for name in authoring.load(LABS, path.stem[-2:])[0].exercises if ".p" not in name}
    assert set(names) == exercises
    assert len(names) >= 10


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        *((exercise, "0.4") for exercise in ("01.1", "01.3", "02.2", "03.1", "03.3", "05.3", "06.1", "06.3", "06.5")),
        *((exercise, "0.4") for exercise in ("07.2", "07.4", "08.1", "09.3", "09.4")),
        ("06.6", ("0.74", 0.66)),
        ("06.6", (0.737, "0.66")),
        ("10.2", ("0.032", True)),
    ],
)
def test_a_number_in_quotes_is_called_text(exercise, answer, monkeypatch):
    """Fails if a message is formatted as of a number before anybody looked: an error of Python's would be the verdict."""
    monkeypatch.delenv("XFERLAB_STRICT", raising=False)
    assert "is text; give the number itself, without quotes" in checks.check(exercise, answer).message
