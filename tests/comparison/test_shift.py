"""Class shares against problems solved by hand."""

import numpy as np
import pytest

from xferlab.comparison import shift
from xferlab.errors import DataError


def answers(*counts):
    """`(predicted, labels)` from a table of counts, answers by row, truth by column."""
    cells = [(i, j) for i, row in enumerate(counts) for j, n in enumerate(row) for _ in range(n)]
    return np.array(cells).T


def test_shares_solve_the_confusion_by_hand():
    """Class 0 is answered right 80 %, class 1 90 %: 0.8 q + 0.1 (1 - q) = 0.31 where q = 0.3."""
    predicted, labels = answers((80, 5), (20, 45))
    target = [0] * 31 + [1] * 69
    found = shift.target_shares(predicted, labels, target, 2)
    assert found.estimate == pytest.approx([0.3, 0.7]) and found.source == pytest.approx([2 / 3, 1 / 3])
    assert found.distance == pytest.approx(11 / 30) and found.differs
    assert (found.low < found.estimate).all() and (found.estimate < found.high).all()
    # the naive count, 0.31, would be fooled much more by a weaker classifier
    weak = shift.target_shares(*answers((60, 40), (40, 60)), [0] * 44 + [1] * 56, 2)
    assert weak.estimate == pytest.approx([0.2, 0.8])


def test_the_interval_narrows_with_the_examples_and_holds_the_truth():
    rng, widths = np.random.default_rng(0), []
    for n in (60, 6000):
        labels, target = rng.integers(3, size=n), rng.choice(3, size=n, p=[0.6, 0.4, 0.0])

        def answer(y):
            return np.where(rng.random(len(y)) < 0.8, y, (y + 1) % 3)

        found = shift.target_shares(answer(labels), labels, answer(target), 3)
        assert (found.low <= [0.6, 0.4, 0.0]).all() and ([0.6, 0.4, 0.02] <= found.high + 0.02).all()
        widths.append((found.high - found.low).mean())
    assert widths[1] < widths[0] / 5


@pytest.mark.parametrize("right", [0.0, 0.05, 1 / 8])
def test_of_a_model_near_chance_the_interval_holds_the_truth(right):
    """All answers one class but for a share that is right; of none right nothing can be told. A bootstrap, which never draws what
    was not seen, held 4 % of the shares at 0, and 70 % at 0.05."""
    held, rng = [], np.random.default_rng(0)
    for _ in range(12):
        truth = rng.dirichlet(np.full(8, 0.7))
        labels, target = rng.integers(8, size=400), rng.choice(8, size=400, p=truth)
        predicted, on_target = (np.where(rng.random(400) < right, y, 0) for y in (labels, target))
        found = shift.target_shares(predicted, labels, on_target, 8)
        held.append((found.low <= truth + 1e-3) & (truth <= found.high + 1e-3))
        assert right or ((found.high > 0.5).all() and not found.differs), "one class for everything"
    assert np.mean(held) > 0.85


def test_the_same_shares_are_no_shift_and_a_class_never_answered_does_no_harm():
    predicted, labels = answers((50, 0, 25), (0, 50, 25), (0, 0, 0))
    found = shift.target_shares(predicted, labels, [0] * 75 + [1] * 75, 3)
    assert np.isfinite(found.estimate).all() and found.estimate.sum() == pytest.approx(1)
    same = shift.target_shares(*answers((40, 10), (10, 40)), [0] * 50 + [1] * 50, 2)
    assert same.estimate == pytest.approx([0.5, 0.5]) and not same.differs


def test_of_a_class_without_source_examples_nothing_is_said():
    found = shift.target_shares([0, 0, 1, 1], [0, 0, 1, 1], [0, 1], 3)
    assert np.isnan(found.estimate[2]) and found.estimate[:2] == pytest.approx([0.5, 0.5])
    with pytest.raises(DataError, match="expected as many"):
        shift.target_shares([0], [0, 1], [0], 2)
