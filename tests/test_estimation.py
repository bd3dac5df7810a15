import numpy as np
import pytest

from xferlab import estimation
from xferlab.errors import DataError


def binary(*first):
    """Probabilities of two classes from the first one's."""
    return np.array([[p, 1 - p] for p in first])


def test_thresholded_confidence_by_hand():
    held, labels = binary(0.99, 0.9, 0.8, 0.6), [0, 0, 0, 1]  # the least sure answer is the wrong one: t is at 0.8
    target = binary(0.95, 0.79, 0.7, 0.15, 0.5)  # surer than 0.8 are the first and the fourth
    assert estimation.average_thresholded_confidence(held, labels, target) == pytest.approx(2 / 5)
    assert estimation.average_thresholded_confidence(held, labels, held) == pytest.approx(3 / 4)
    assert estimation.average_thresholded_confidence(held, [1, 1, 1, 1], held) == 0
    assert estimation.average_thresholded_confidence(held, [0, 0, 0, 0], held) == 1


def test_difference_of_confidences_by_hand():
    held, labels = binary(0.9, 0.9, 0.9, 0.9), [0, 0, 0, 1]
    target = binary(0.7, 0.3)  # both answers at 0.7
    assert estimation.difference_of_confidences(held, labels, target) == pytest.approx(0.75 - 0.2)
    assert estimation.difference_of_confidences(binary(0.9), [1], binary(0.5)) == 0, "no accuracy is below zero"


def test_agreement_is_the_mean_over_pairs():
    assert estimation.agreement([[0, 1, 2, 0], [0, 1, 2, 1], [0, 1, 0, 1]]) == pytest.approx((3 + 2 + 3) / 12)
    with pytest.raises(DataError, match="two or more models"):
        estimation.agreement([[0, 1]])


def test_agreement_of_calibrated_models_is_their_accuracy():
    """Models that draw their answers from the true posterior, independently, are as often right as alike."""
    rng = np.random.default_rng(0)
    share = rng.dirichlet(np.ones(4), size=20_000)

    def draw():
        return (share.cumsum(1) > rng.random((len(share), 1))).argmax(1)

    truth, answers = draw(), np.stack([draw() for _ in range(3)])
    assert estimation.agreement(answers) == pytest.approx((answers == truth).mean(), abs=0.01)


def test_expected_confusion_by_hand_and_true_where_calibrated():
    assert np.allclose(estimation.expected_confusion(binary(0.8, 0.3)), [[0.4, 0.15], [0.1, 0.35]])
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), size=20_000)
    truth = (p.cumsum(1) > rng.random((len(p), 1))).argmax(1)
    counted = np.zeros((3, 3))
    np.add.at(counted, (truth, p.argmax(1)), 1 / len(p))
    assert np.abs(estimation.expected_confusion(p) - counted).max() < 0.01


def test_the_interval_holds_its_estimate_and_narrows_with_examples():
    rng = np.random.default_rng(0)

    def sides(n):
        p = rng.dirichlet(np.ones(3) * 0.3, size=n)
        return p, (p.cumsum(1) > rng.random((n, 1))).argmax(1), rng.dirichlet(np.ones(3) * 0.5, size=n)

    widths = []
    for n in (50, 2000):
        value, low, high = estimation.interval(estimation.difference_of_confidences, *sides(n))
        assert low <= value <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3


@pytest.mark.parametrize(
    ("held", "labels", "target", "says"),
    [
        (binary(0.5), [0, 1], binary(0.5), r"labels \(2,\)"),
        (binary(0.5), [0], np.ones((1, 3)) / 3, r"\(1, 3\)"),
        (binary(0.5), [0], np.zeros((0, 2)), r"\(0, 2\)"),
        (binary(np.nan), [0], binary(0.5), "NaN"),
    ],
)
def test_bad_input(held, labels, target, says):
    with pytest.raises(DataError, match=says):
        estimation.average_thresholded_confidence(held, labels, target)
