"""From probabilities to decisions: a temperature, a threshold for a wanted sensitivity, and when to give no answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def temperature(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """The T, 0.05 to 20, that makes `softmax(log p / T)` likeliest: temperature scaling (Guo et al., 2017, arXiv:1706.04599).

    Probabilities `(N, K)` and labels `(N,)` of labelled examples that the model was not trained on.
    """
    from scipy.optimize import minimize_scalar

    labels, rows = np.asarray(labels), np.arange(len(labels))
    loss = lambda t: -np.log(scaled(probabilities, np.exp(t))[rows, labels].clip(1e-12)).mean()
    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def scaled(probabilities: ArrayLike, t: float) -> np.ndarray:
    """`softmax(log p / t)`, `(N, K)` float64."""
    from scipy.special import log_softmax

    return np.exp(log_softmax(np.log(np.asarray(probabilities, dtype=np.float64).clip(1e-12)) / t, axis=1))
