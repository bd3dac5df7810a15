"""Rejoining a lab: the code of earlier sections runs, that of later ones and the exercises do not."""

import pytest

from xferlab.course import rejoin
from xferlab.course.rejoin import resume
from xferlab.errors import ArgumentError

pytest.importorskip("IPython")
SECTIONS = [
    {"title": "The question", "code": ["import math\nx = 1", "print('noise')\ny = x + 1"]},
    {"title": "The middle", "code": ["def area(r):\n    return math.pi * r * r"]},
    {"title": "The end", "code": ["z = 1 / 0"]},
]


@pytest.fixture(autouse=True)
def packaged(monkeypatch):
    monkeypatch.setattr(rejoin, "sections", lambda number: SECTIONS)


def test_earlier_sections_leave_their_variables_and_say_nothing(capsys):
    mine = {"x": 99}
    resume("77", section=3, variables=mine)
    assert (mine["x"], mine["y"]) == (1, 2)
    assert mine["area"](1) == pytest.approx(3.14159, abs=1e-4)  # a function sees the notebook's variables
    assert "z" not in mine
    out = capsys.readouterr().out
    assert "noise" not in out
    assert "before section 3, 'The end'" in out


def test_the_first_section_needs_nothing(capsys):
    mine = {}
    resume("77", section=1, variables=mine)
    assert mine == {}


@pytest.mark.parametrize("section", [0, 4, -1])
def test_a_section_that_is_not_there_is_refused_with_the_list(section):
    with pytest.raises(ArgumentError, match="1 The question; 2 The middle; 3 The end"):
        resume("77", section=section, variables={})


def test_outside_a_notebook_it_asks_for_the_variables():
    with pytest.raises(ArgumentError, match="variables"):
        resume("77", section=2)
