"""bench/labels.py: what labels bought, and the rule for the default, from rows written by hand; and what the package keeps of it."""

import importlib
import json
from pathlib import Path

import pytest

from xferlab.comparison import labeling
from xferlab.proposals import KINDS


@pytest.fixture
def labels(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "bench")
    return importlib.import_module("labels")


def rows(labels, gains):
    """Six draws: random takes 0.5 plus a little luck, the ways that much more, with a little luck of their own."""
    found = [{"draw": None, "way": "none", "labels": 0, "score": 0.4}]
    for draw in range(6):
        for n in labels.BUDGETS:
            for way in KINDS:
                luck = 0.02 * draw + (0 if way == "random" else 0.001 * (draw % 2))
                found.append({"draw": draw, "way": way, "labels": n, "score": 0.5 + gains.get(way, 0) + luck})
    return found


def test_bought_and_won_are_paired_within_draws(labels):
    """Differences of means, whose interval holds the luck of the draws, would not be separated."""
    cell = labels.summary(rows(labels, {"typical": 0.01}))["typical"]["20"]
    assert cell["bought"][0] == pytest.approx(0.1 + 0.01 + 0.05 + 0.0005)
    assert cell["over_random"]["gain"] == pytest.approx(0.0105) and cell["over_random"]["verdict"] == "separated"


@pytest.mark.parametrize(
    "gains, chosen",
    [
        ([{"typical": 0.01}, {"typical": 0.01, "uncertain": -0.01}], "typical"),
        ([{"typical": -0.01, "uncertain": 0.01}], "uncertain"),
        ([{"typical": 0.01, "uncertain": -0.01}, {"typical": -0.01, "uncertain": -0.01}], "random"),
    ],
)
def test_the_default_is_what_wins_more_cells_than_it_loses_else_random(labels, gains, chosen):
    pairs = [{"name": "a -> b"} | labels.summary(rows(labels, each)) for each in gains]
    assert labels.default(pairs)[0] == chosen
    assert f"is **{chosen}**" in labels.page(pairs)


def test_the_package_follows_the_table():
    """Results made anew without the table, or a default changed by hand, would show."""
    page = (Path(__file__).parents[2] / "bench" / "tables" / "labels.md").read_text("utf-8")
    assert f"The default of `compare --propose` is **{labeling.KIND}**" in page
    header, table = labeling.bought()
    assert header == ["pair", "without", "20 labels", "40 labels", "80 labels"] and all(row[0] in page for row in table)
    assert json.loads(Path(labeling.__file__).with_name("labels.json").read_text("utf-8"))["default"] == labeling.KIND
