"""From probabilities to decisions: a temperature, a threshold for a wanted sensitivity, and when to give no answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .errors import ArgumentError, DataError


def temperature(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """The T, 0.05 to 20, that makes `softmax(log p / T)` likeliest: temperature scaling (Guo et al., 2017, arXiv:1706.04599).

    One example more counts, as likely of each class as of another (Laplace's rule): where every answer is right, a T of its own would
    have them all certain.

    Parameters
    ----------
    probabilities, labels
        `(N, K)` and `(N,)`, of labeled examples that the model was not trained on.

    Returns
    -------
    float
        Above 1 where the model was too sure.

    Examples
    --------
    >>> xl.operating.temperature([[0.99, 0.01], [0.99, 0.01]], [0, 1]) > 1
    True
    """
    from scipy.optimize import minimize_scalar

    labels, rows = np.asarray(labels), np.arange(len(labels))

    def loss(log_t: float) -> float:
        losses = -np.log(scaled(probabilities, np.exp(log_t)).clip(1e-12))
        return float((losses[rows, labels].sum() + losses.mean()) / (len(rows) + 1))

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def scaled(probabilities: ArrayLike, t: float) -> np.ndarray:
    """Probabilities at another temperature, `softmax(log p / t)`.

    Parameters
    ----------
    probabilities
        `(N, K)`.
    t
        The temperature: above 1 makes answers less sure.

    Returns
    -------
    ndarray
        `(N, K)`, float64.

    Examples
    --------
    >>> xl.operating.scaled([[0.8, 0.2]], 2.0).round(2)
    array([[0.67, 0.33]])
    """
    from scipy.special import log_softmax

    return np.exp(log_softmax(np.log(np.asarray(probabilities, dtype=np.float64).clip(1e-12)) / t, axis=1))


@dataclass(frozen=True)
class Threshold:
    """Where to say yes, from `threshold`. Each rate is `(value, low, high)`: observed on held-out examples, with its exact 95 % interval.

    Parameters
    ----------
    value
        Yes from this score on.
    sensitivity
        Share of the members that get a yes. The interval is that of new members, the threshold being as it is.
    specificity
        Share of the others that get a no.

    Attributes
    ----------
    value : float
        Yes from this score on.
    sensitivity : tuple
        Share of the members that get a yes. The interval is that of new members, the threshold being as it is.
    specificity : tuple
        Share of the others that get a no.

    Examples
    --------
    >>> xl.operating.threshold([0.1, 0.4, 0.6, 0.9], [0, 0, 1, 1], sensitivity=1.0).specificity[0]
    1.0
    """

    value: float
    sensitivity: tuple[float, float, float]
    specificity: tuple[float, float, float]


def threshold(scores: ArrayLike, member: ArrayLike, sensitivity: float) -> Threshold:
    """The highest threshold that finds at least `sensitivity` of the members, and what it costs.

    It is the k-th highest of the n members' scores, so it finds a Beta(k, n + 1 - k) share of new members, whatever the
    scores' distribution; the others had no say in it, and their interval is Clopper and Pearson's (1934).

    Parameters
    ----------
    scores
        `(N,)`, such as the probability of one class, of held-out examples from where the threshold will be used.
    member
        Whether each belongs to that class `(N,)`.
    sensitivity
        Above 0, at most 1.

    Returns
    -------
    Threshold
        With both rates and their intervals.

    Raises
    ------
    ArgumentError
        For another sensitivity.
    DataError
        Where no example is a member, or all are, and for scores that are not finite.

    Examples
    --------
    >>> xl.operating.threshold([0.1, 0.7, 0.6, 0.9], [0, 0, 1, 1], sensitivity=1.0).value
    0.6
    """
    s, yes = np.asarray(scores, dtype=float), np.asarray(member, dtype=bool)
    if not 0 < sensitivity <= 1:
        raise ArgumentError(f"sensitivity is {sensitivity}, expected above 0 and at most 1, such as 0.95")
    if not np.isfinite(s).all():
        raise DataError(f"{(~np.isfinite(s)).sum()} of {len(s)} scores are NaN or infinite; leave those examples out")
    if yes.all() or not yes.any():
        raise DataError(f"of {len(yes)} held-out examples {yes.sum()} are of the class; expected members and others")
    inside, outside = np.sort(s[yes])[::-1], s[~yes]
    value = float(inside[int(np.ceil(sensitivity * len(inside) - 1e-9)) - 1])
    found, n = int((inside >= value).sum()), len(inside)
    reach = (found / n, _beta(0.025, found, n + 1 - found), _beta(0.975, found, n + 1 - found))
    return Threshold(value, reach, share(int((outside < value).sum()), len(outside)))


@dataclass(frozen=True)
class Abstention:
    """When to give no answer, from `abstention`, as observed on held-out examples.

    Parameters
    ----------
    value
        No answer below this confidence.
    answered
        Share that gets an answer.
    wrong
        Of these the share that is wrong, with its 95 % interval (that the confidence was chosen on them makes it a
        little too good).

    Examples
    --------
    >>> xl.operating.abstention([[0.9, 0.1], [0.6, 0.4]], [0, 1], wrong=0.0).answered
    0.5
    """

    value: float
    answered: float
    wrong: tuple[float, float, float]


def abstention(probabilities: ArrayLike, labels: ArrayLike, wrong: float) -> Abstention:
    """The lowest confidence from which on at most a share `wrong` of the answers is false.

    Geifman and El-Yaniv, 2017, arXiv:1705.08500, by the observed share and not its bound.

    Parameters
    ----------
    probabilities
        `(N, K)` on held-out examples.
    labels
        Their classes `(N,)`.
    wrong
        From 0 to below 1. Where no confidence is enough, nothing is answered, and `value` is infinite.

    Returns
    -------
    Abstention
        The confidence, the share that is answered and the share that is wrong.

    Raises
    ------
    ArgumentError
        For a share outside 0 to 1.

    Examples
    --------
    >>> xl.operating.abstention([[0.9, 0.1], [0.6, 0.4]], [0, 1], wrong=0.0).value
    0.9
    """
    if not 0 <= wrong < 1:
        raise ArgumentError(f"the share that may be wrong is {wrong}, expected 0 or more and below 1, such as 0.05")
    p = np.asarray(probabilities, dtype=float)
    confidence, false = p.max(1), p.argmax(1) != np.asarray(labels)
    order = np.argsort(-confidence, kind="stable")
    errors, n = false[order].cumsum(), np.arange(1, len(p) + 1)
    last = np.append(np.diff(confidence[order]) != 0, True)  # of those that are as sure
    enough = np.flatnonzero(last & (errors <= wrong * n + 1e-9))
    if not len(enough):
        return Abstention(float("inf"), 0.0, (0.0, 0.0, 1.0))
    at = enough[-1]
    return Abstention(float(confidence[order[at]]), float(n[at] / len(p)), share(int(errors[at]), int(n[at])))


def share(count: int, n: int) -> tuple[float, float, float]:
    """A share with its exact 95 % interval (Clopper and Pearson, 1934).

    Parameters
    ----------
    count, n
        So many of so many.

    Returns
    -------
    tuple of float
        `count / n`, and the interval's ends.

    Examples
    --------
    >>> [round(x, 2) for x in xl.operating.share(9, 10)]
    [0.9, 0.55, 1.0]
    """
    low = _beta(0.025, count, n - count + 1) if count else 0.0
    return count / n, low, _beta(0.975, count + 1, n - count) if count < n else 1.0


def _beta(level: float, a: int, b: int) -> float:
    from scipy.stats import beta

    return float(beta.ppf(level, a, b))
