"""Temperature, thresholds and abstention against problems solved by hand."""

import numpy as np
import pytest

from xferlab import operating
from xferlab.errors import ArgumentError, DataError


def test_temperature_by_hand():
    """Sure at 90 %, right on 3 of 4 and on half of one more: 70 % are right, so 9 ** (1 / T) = 7 / 3."""
    p = np.array([[0.9, 0.1]] * 4)
    t = operating.temperature(p, [0, 0, 0, 1])
    assert t == pytest.approx(np.log(9) / np.log(7 / 3), abs=1e-3)
    assert operating.scaled(p, t)[0] == pytest.approx([0.7, 0.3], abs=1e-4)
    assert operating.scaled(p, 1.0) == pytest.approx(p)
    assert operating.temperature(p, [0, 0, 0, 0]) == pytest.approx(1.0, abs=1e-3), "all right is no proof of certainty"


def test_the_threshold_by_hand():
    """Ten members at 0.1 to 1.0: nine are found from 0.2 on. Of four others at 0.05, 0.15, 0.25 and 0.2 two are below."""
    scores, member = [*np.arange(1, 11) / 10, 0.05, 0.15, 0.25, 0.2], [True] * 10 + [False] * 4
    found = operating.threshold(scores, member, 0.9)
    assert found.value == pytest.approx(0.2) and found.sensitivity[0] == 0.9 and found.specificity[0] == 0.5
    assert found.specificity[1:] == pytest.approx((0.0676, 0.9324), abs=1e-4)  # Clopper and Pearson's table, 2 of 4
    assert operating.threshold(scores, member, 0.81).value == pytest.approx(0.2), "never fewer than asked for"
    lowest = operating.threshold(scores, member, 1.0)
    assert lowest.value == pytest.approx(0.1) and lowest.sensitivity[0] == 1
    assert lowest.sensitivity[1] == pytest.approx(0.025 ** (1 / 10))  # all ten: the least of ten uniforms


def test_the_sensitivity_interval_holds_for_new_members():
    """Thresholds from 40 members each; how many of a large new set they find lies in the interval 95 % of the time."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        found = operating.threshold(rng.random(80), np.arange(80) < 40, 0.9)
        held += found.sensitivity[1] <= 1 - found.value <= found.sensitivity[2]
    assert 0.92 <= held / 400 <= 0.98


def test_ties_are_one_step():
    found = operating.threshold([0.9, 0.5, 0.5, 0.5, 0.5], [True, True, True, False, False], 0.5)
    assert (found.value, found.sensitivity[0], found.specificity[0]) == (0.5, 1, 0)


def test_abstention_by_hand():
    """Sorted by confidence: right, right, wrong, right; up to the second none is wrong, over all a quarter is."""
    p, labels = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]), [0, 0, 0, 0]
    assert operating.abstention(p, labels, 0.0).value == pytest.approx(0.8)
    some = operating.abstention(p, labels, 0.25)
    assert (some.value, some.answered, some.wrong[0]) == (0.6, 1, 0.25)
    assert operating.abstention(p, labels, 0.24).answered == 0.5, "0.24 is less than a quarter, and a third is more"
    assert operating.abstention(p, [1, 1, 0, 1], 0.2) == operating.Abstention(np.inf, 0.0, (0.0, 0.0, 1.0))
    alike = operating.abstention([[0.6, 0.4], [0.4, 0.6]], [0, 0], 0.0)
    assert alike.answered == 0, "two equally sure answers stand or fall together"


@pytest.mark.parametrize("wanted", [0, 1.1, float("nan")])
def test_bad_input(wanted):
    with pytest.raises(ArgumentError, match="sensitivity is"):
        operating.threshold([0.1, 0.2], [True, False], wanted)
    with pytest.raises(ArgumentError, match="may be wrong"):
        operating.abstention([[0.5, 0.5]], [0], -1 if wanted == 0 else wanted)
    with pytest.raises(DataError, match="1 of 3 scores are NaN"):  # it would stand above all others
        operating.threshold([0.1, float("nan"), 0.3], [False, True, True], 0.9)
    with pytest.raises(DataError, match="of 2 held-out examples 2"):
        operating.threshold([0.1, 0.2], [True, True], 0.9)
