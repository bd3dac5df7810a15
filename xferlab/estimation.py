"""How accurate a model is where nobody has labels: estimates from its own answers, never measurements.

Each takes what a classifier says on held-out source examples, which training never saw, and on the target. All trust that
confidence keeps its meaning from one place to the other; where they disagree, it does not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from .errors import DataError


def average_thresholded_confidence(held_out: ArrayLike, labels: ArrayLike, on_target: ArrayLike) -> float:
    """The share of target examples that the model is surer of than a threshold that leaves out as many as it gets wrong.

        accuracy = P_target(s(x) >= t),   P_source(s(x) < t) = P_source(wrong),   s(x) = sum_k p_k log p_k

    Garg et al. (2022, arXiv:2201.04234), with negative entropy.

    Parameters
    ----------
    held_out
        Probabilities `(N, K)` on source examples that were not trained on.
    labels
        Their classes `(N,)`.
    on_target
        Probabilities `(M, K)` on the target.

    Returns
    -------
    float
        An estimated accuracy, 0 to 1.

    Raises
    ------
    DataError
        For shapes that do not fit, or values that are not finite.

    Examples
    --------
    >>> sure, unsure = [[0.9, 0.1]], [[0.6, 0.4]]
    >>> xl.estimation.average_thresholded_confidence(sure * 3 + unsure, [0, 0, 0, 1], sure + unsure)
    0.5
    """
    p, y, q = _checked(held_out, labels, on_target)
    scores = np.sort(_negative_entropy(p))
    wrong = int((p.argmax(1) != y).sum())
    threshold = scores[wrong] if wrong < len(scores) else np.inf
    return float((_negative_entropy(q) >= threshold).mean())


def difference_of_confidences(held_out: ArrayLike, labels: ArrayLike, on_target: ArrayLike) -> float:
    """The accuracy on the source, less what mean confidence loses on the way to the target (Guillory et al., 2021, arXiv:2107.03315).

    Parameters
    ----------
    held_out, labels
        Probabilities `(N, K)` and classes `(N,)` of source examples that were not trained on.
    on_target
        Probabilities `(M, K)` on the target.

    Returns
    -------
    float
        An estimated accuracy, 0 to 1.

    Raises
    ------
    DataError
        For shapes that do not fit, or values that are not finite.

    Examples
    --------
    >>> round(xl.estimation.difference_of_confidences([[0.9, 0.1], [0.2, 0.8]], [0, 1], [[0.6, 0.4]]), 2)
    0.75
    """
    p, y, q = _checked(held_out, labels, on_target)
    accuracy = (p.argmax(1) == y).mean()
    return float(np.clip(accuracy - (p.max(1).mean() - q.max(1).mean()), 0, 1))


def agreement(answers: ArrayLike) -> float:
    """How often two of several models, trained alike from different seeds, give a target example the same class.

    For models that are calibrated as an ensemble it equals their accuracy (Jiang et al., 2022, arXiv:2106.13799).

    Parameters
    ----------
    answers
        Classes `(S, M)`, a row a model.

    Returns
    -------
    float
        A share, 0 to 1.

    Raises
    ------
    DataError
        For fewer than two models, or no examples.

    Examples
    --------
    >>> xl.estimation.agreement([[0, 1, 2, 2], [0, 1, 2, 1]])
    0.75
    """
    given = np.asarray(answers)
    if given.ndim != 2 or len(given) < 2 or not given.shape[1]:
        raise DataError(f"answers are {given.shape}, expected (S, M): a row for each of two or more models")
    pairs = [(given[i] == given[j]).mean() for i in range(len(given)) for j in range(i)]
    return float(np.mean(pairs))


def expected_confusion(on_target: ArrayLike) -> np.ndarray:
    """Shares of truth and answer that the probabilities themselves expect.

    Scale the logits by a temperature first: raw probabilities are too sure.

    Parameters
    ----------
    on_target
        Probabilities `(M, K)` on the target.

    Returns
    -------
    ndarray
        `(K, K)`, truth by row, answer by column; sums to 1.

    Raises
    ------
    DataError
        For what is no `(M, K)`.

    Examples
    --------
    >>> xl.estimation.expected_confusion([[0.75, 0.25], [0.5, 0.5]])
    array([[0.625, 0.   ],
           [0.375, 0.   ]])
    """
    q = np.asarray(on_target, dtype=float)
    if q.ndim != 2 or not len(q):
        raise DataError(f"probabilities are {q.shape}, expected (M, K)")
    return q.T @ np.eye(q.shape[1])[q.argmax(1)] / len(q)


def interval(
    estimate: Callable[[np.ndarray, np.ndarray, np.ndarray], float],
    held_out: ArrayLike,
    labels: ArrayLike,
    on_target: ArrayLike,
    draws: int = 200,
    seed: int = 0,
) -> tuple[float, float, float]:
    """An estimate with the ends of its 95 % percentile bootstrap over both sides: what other examples would have given.

    That the estimate's assumption may fail is not in it.

    Parameters
    ----------
    estimate
        One of the estimates above.
    held_out, labels, on_target
        What it takes, `(N, K)`, `(N,)` and `(M, K)`.
    draws, seed
        Of the bootstrap.

    Returns
    -------
    tuple of float
        The estimate, and the ends of its interval.

    Raises
    ------
    DataError
        For shapes that do not fit, or values that are not finite.

    Examples
    --------
    >>> p, labels = [[0.9, 0.1], [0.2, 0.8]], [0, 1]
    >>> value, low, high = xl.estimation.interval(xl.estimation.difference_of_confidences, p, labels, p, draws=20)
    >>> low <= value <= high
    True
    """
    p, y, q = _checked(held_out, labels, on_target)
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(draws):
        rows, others = rng.integers(len(y), size=len(y)), rng.integers(len(q), size=len(q))
        drawn.append(estimate(p[rows], y[rows], q[others]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return estimate(p, y, q), float(low), float(high)


def _negative_entropy(p: np.ndarray) -> np.ndarray:
    return (p * np.log(np.clip(p, 1e-12, None))).sum(1)


def _checked(held_out: ArrayLike, labels: ArrayLike, on_target: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    p, q, y = np.asarray(held_out, dtype=float), np.asarray(on_target, dtype=float), np.asarray(labels)
    if p.ndim != 2 or q.ndim != 2 or p.shape[1] != q.shape[1] or y.shape != (len(p),) or not len(p) or not len(q):
        raise DataError(
            f"held-out probabilities are {p.shape}, labels {y.shape}, target probabilities {q.shape}; expected (N, K), (N,) and (M, K)"
        )
    if not (np.isfinite(p).all() and np.isfinite(q).all()):
        raise DataError("probabilities hold NaN or infinity; look for the run that diverged")
    return p, y, q
