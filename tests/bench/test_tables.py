"""The adaptation tables: whose committed rows may stand for runs that were not made again."""

import importlib
from pathlib import Path

import pytest

import xferlab as xl

PAIR = "digits/mnist", "digits/optdigits"


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "bench")
    return importlib.import_module("tables")


def record(recipe, seed, accuracy, strength=1.0, date="2026-02-02"):
    score = {"accuracy": accuracy}
    known = {"recipe": recipe, "seed": seed, "strength": strength, "date": date, "machine": "a machine", "seconds": 1.0}
    return known | {"source": score, "target": score, "validators": {"information_maximization": accuracy}}


def test_rows_are_taken_over_only_where_the_first_seed_gives_them_again(tables, monkeypatch):
    """A recipe whose code has changed, or that is now stronger, runs anew; the others keep their committed seeds."""
    names, asked = ["source_only", "dann", "mmd"], []
    committed = [
        {"pair": list(PAIR)} | record(name, seed, 0.5 + seed / 10, date="2026-01-01")
        for name in names
        for seed in (0, 1, 2)
    ]

    def compare(table, source, target, recipes=None, *, seeds, search=False, **options):
        if search:
            runs = [record("source_only", 0, 0.500001), record("dann", 0, 0.6), record("mmd", 0, 0.5, strength=3.0)]
        else:
            asked.extend((recipe.name, recipe.strength) for recipe in recipes)
            runs = [record(recipe.name, seed, 0.9, recipe.strength) for recipe in recipes for seed in seeds]
        return xl.Leaderboard(
            runs, names, ["information_maximization"], "information_maximization", setting="seeds [0]"
        )

    monkeypatch.setattr(tables, "compare", compare)
    board = tables.merged("digits", *PAIR, committed, seeds=3)
    assert asked == [("dann", 1.0), ("mmd", 3.0)]
    assert board.target_scores("source_only") == {0: 0.500001, 1: 0.6, 2: 0.7}
    assert board.target_scores("dann") == {0: 0.6, 1: 0.9, 2: 0.9}
    assert board.setting == "seeds [0, 1, 2]"
    assert "Further seeds of 1 recipes are of 2026-01-01" in board.notes[0] and "anew: dann, mmd" in board.notes[0]


def test_seeds_that_no_row_holds_are_run(tables, monkeypatch):
    """More seeds than were committed: only the ones that are missing run, at the same strength."""
    committed = [{"pair": list(PAIR)} | record("source_only", seed, 0.5) for seed in (0, 1)]

    def compare(table, source, target, recipes=None, *, seeds, search=False, **options):
        runs = [record("source_only", seed, 0.5 if seed < 2 else 0.7) for seed in ([0] if search else seeds)]
        return xl.Leaderboard(runs, ["source_only"], ["information_maximization"], "information_maximization")

    monkeypatch.setattr(tables, "compare", compare)
    board = tables.merged("digits", *PAIR, committed, seeds=3)
    assert board.target_scores("source_only") == {0: 0.5, 1: 0.5, 2: 0.7} and len(board.runs) == 3
    assert not board.notes
