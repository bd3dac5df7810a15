"""The benchmark of estimates: errors, coverage and what is fixed where, against rows written by hand."""

import importlib
from pathlib import Path

import pytest

from xferlab.comparison import findings
from xferlab.comparison.records import MOVED as QUOTED

MOVED = {"pair": "a -> b", "class": "c", "source": 0.95, "target": 0.4}


@pytest.fixture
def estimates(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "bench")
    return importlib.import_module("estimates")


def row(group, recipe, truth, near, far):
    found = {"near": (near, near - 0.01, near + 0.01), "far": (far, far - 0.01, far + 0.01)}
    validators = {
        "entropy": truth,
        "source_val": -truth,
        "information_maximization": truth,
    }  # one is right about everything, one wrong
    return dict(
        group=group, pair=group, recipe=recipe, seed=0, truth=truth, source=0.9, estimates=found, validators=validators
    )


def test_what_digits_say_fixes_nothing(estimates):
    """Elsewhere `near` is off by 0.03, so its interval grows by 0.02; on digits `far` would look better, and is not asked."""
    rows = [row(group, recipe, 0.6, 0.63, 0.7) for group in estimates.FIXING for recipe in estimates.RECIPES]
    rows += [row(estimates.HEADLINE, recipe, 0.5, 0.8, 0.5) for recipe in estimates.RECIPES]
    page = estimates.write(rows, [MOVED])
    assert "moves outward by\n0.020 (near), 0.090 (far)," in page and "puts near first" in page
    assert "near is off by 0.300 on average\n(beyond the 0.05 aimed at)" in page and "in 0% of 1 runs" in page
    assert "| 0.600 | 0.030; 0%; 100% | 0.100; 0%; 100% |" in page.replace("0.900 0.600", "0.600")


def test_regret_is_what_the_first_choice_loses(estimates):
    rows = [row("here", recipe, truth, 0.5, 0.5) for recipe, truth in (("a", 0.4), ("b", 0.9), ("c", 0.6))]
    lines = estimates.regrets(rows)
    (right,), (wrong,) = (
        [line for line in lines if line.startswith(f"| {name} |")] for name in ("entropy", "source_val")
    )
    assert right.startswith("| entropy | 0.000, 0.000 |") and wrong.startswith("| source_val | 0.500, 0.500 |")


def test_what_became_of_thresholds_by_hand(estimates):
    lines = estimates.moved([MOVED, MOVED | {"target": 0.95}, MOVED | {"target": 0.5}])
    assert "| a -> b | 3 | 0.950 | 0.400 | 0.500 | 0.950 |" in lines
    assert "Of 3 thresholds 1 kept it; half of them found less than 0.50." in lines


def test_the_package_quotes_the_table():
    """A table made anew without the package's numbers, or numbers changed by hand, would show."""
    page = (Path(__file__).parents[2] / "bench" / "tables" / "estimates.md").read_text("utf-8")
    assert "Of {n} thresholds {kept} kept it; half of them found less than {median}.".format(**QUOTED) in page
    assert f"sensitivity of {QUOTED['sensitivity']}" in page and f"of {QUOTED['n']} thresholds" in findings.THRESHOLDS
