"""bench/sites.py: what counts as a loss to the better source, and the estimators of shares, from numbers written by hand."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest


@pytest.fixture
def sites(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "bench")
    return importlib.import_module("sites")


def board(values):
    """One whose every recipe reaches these, by seed."""
    scores = dict(enumerate(values))
    choice = SimpleNamespace(recipe="colour")
    return SimpleNamespace(target_scores=lambda name: scores, best=lambda load: choice, finished=lambda: [])


def test_both_sources_are_held_against_the_better_one_within_a_seed(sites, monkeypatch):
    """Against the mean of the two, or unpaired, the difference would be another."""
    three = dict.fromkeys(("a", "b", "c"), SimpleNamespace(train=None))
    monkeypatch.setattr(sites, "places", lambda: {"letters": (three, {})})
    monkeypatch.setattr(sites, "source_of", lambda splits: splits)
    monkeypatch.setattr(sites, "target_of", lambda splits: splits)
    boards = iter([board([0.5, 0.6]), board([0.7, 0.9]), board([0.6, 0.8]), None, board([0.5]), board([0.5])] * 2)
    monkeypatch.setattr(sites, "compare", lambda *a, **k: next(boards))
    lines = sites.several()
    row = next(line for line in lines if line.startswith("| letters | a, from b and c | source_only"))
    assert "-0.100 [-0.100, -0.100]" in row
    assert "below the better one in 12 of 12 rows" in lines[-1] and "No time yet for b." in lines[-1]


def test_shares_by_hand(sites):
    """A classifier that is right nine times of ten, on a target that holds one class only."""
    p, y = np.array([[0.9, 0.1], [0.1, 0.9]] * 5), np.array([0, 1] * 5)
    q = np.tile([0.9, 0.1], (20, 1))
    assert sites._soft(p, y, q) == pytest.approx([1, 0], abs=1e-9)
    assert sites._likeliest(q, np.array([0.5, 0.5])) == pytest.approx([1, 0], abs=1e-6)
