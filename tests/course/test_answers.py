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
