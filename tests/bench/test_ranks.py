"""The benchmark of scores and validators: correlations, regret and advice against numbers worked out by hand."""

import importlib
import math
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def ranks(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "bench")
    return importlib.import_module("ranks")


def test_rank_correlation_by_hand(ranks):
    rho, low, high = ranks.correlation([0.1, 0.2, 0.3, 0.4, 9.0], [0.5, 0.7, 0.6, 0.8, 0.4])
    assert rho == pytest.approx(1 - 6 * 22 / 120) and -1 <= low < rho < high <= 1
    assert ranks.correlation(range(6), [2.0**n for n in range(6)]) == pytest.approx((1, 1, 1))


def test_a_constant_score_orders_nothing(ranks):
    assert all(math.isnan(value) for value in ranks.correlation([1.0] * 5, range(5)))


def test_regret_is_what_the_first_choice_loses_for_each_truth(ranks):
    rows = [
        {"candidate": "a", "labels": 0.9, "none": 0.2, "LogME": 1.0},
        {"candidate": "b", "labels": 0.6, "none": 0.5, "LogME": 3.0},
        {"candidate": "c", "labels": 0.5, "none": 0.3, "LogME": 2.0},
    ]
    (entry,) = ranks.ranked(rows)
    assert entry["labels"][3] == pytest.approx(0.3) and entry["none"][3] == 0
    assert entry["labels"][0] == pytest.approx(-0.5) and entry["none"][0] == pytest.approx(1)


def test_advice_asks_for_an_interval_above_zero_everywhere(ranks):
    nan = math.nan
    places = {
        "good": {"digits": (0.9, 0.7, 1.0, 0.0), "cells": (0.6, 0.2, 0.8, 0.03)},
        "half": {"digits": (0.9, 0.7, 1.0, 0.0), "cells": (0.1, -0.4, 0.5, 0.2)},
        "flat": {"digits": (nan, nan, nan, 0.1), "cells": (0.9, 0.8, 1.0, 0.0)},
    }
    trusted, rest = ranks.advice(places).split("**Not to trust")
    assert "good (worst rank correlation 0.60, worst regret 0.030)" in trusted and "half" not in trusted
    assert "half (worst rank correlation 0.10" in rest and "flat" in rest


def test_a_draw_of_labels_holds_as_many_of_each_class(ranks):
    labels = np.repeat([0, 1, 2], [50, 40, 5])
    drawn = ranks._draw(labels, 0)
    assert np.bincount(labels[drawn]).tolist() == [20, 20, 5] and len(set(drawn)) == 45
    assert not np.array_equal(drawn, ranks._draw(labels, 1))
