"""What a model's own answers tell of the shift, without target labels: class shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..errors import DataError


@dataclass(frozen=True)
class Shares:
    """Each class's estimated share of the target with a 95 % interval, and its share of the held-out source; `(K,)` each.

    NaN for a class that the held-out source has no example of: nothing can be said of it.
    """

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    source: np.ndarray

    @property
    def distance(self) -> float:
        """Total variation between estimate and source, 0 to 1: the share of examples that changed class."""
        return float(np.nansum(np.abs(self.estimate - self.source)) / 2)

    @property
    def differs(self) -> bool:
        """A distance above 0.2, and some class's interval leaves out its share of the source."""
        return self.distance > 0.2 and bool(((self.low > self.source) | (self.high < self.source)).any())


def target_shares(
    predicted: ArrayLike, labels: ArrayLike, on_target: ArrayLike, classes: int, draws: int = 200, seed: int = 0
) -> Shares:
    """Black-box shift estimation: class shares of the target from how a classifier answers there.

        mu_i = sum_j P(answers i | is j) q_j,   q >= 0, sum q = 1

    Lipton et al. (2018, arXiv:1802.03916), section 4, with hard answers; solved for q by non-negative least squares, so that
    a class that is never answered does no harm. predicted, labels  answers and truth on labeled source examples that the
    model was not trained on `(N,)`; on_target  answers there `(M,)`.

    The interval is that of q over draws from the posteriors of P and mu: Dirichlet, with a prior of one example for all answers
    together. A bootstrap would never draw an answer that was not seen, and give a model that answers one class for everything,
    from which nothing can be told, an interval without width.

    It takes the pictures of a class to look alike on both sides: where they do not, it is a hint.

    Raises
    ------
    DataError
        When there is nothing to count.
    """
    predicted, labels, on_target = (np.asarray(a, dtype=np.int64) for a in (predicted, labels, on_target))
    if not len(labels) or not len(on_target) or len(predicted) != len(labels):
        got = f"{len(predicted)} answers, {len(labels)} labels and {len(on_target)} target answers"
        raise DataError(f"target_shares got {got}; expected as many answers as labels, and one or more on each side")
    counts = np.bincount(predicted * classes + labels, minlength=classes**2).reshape(classes, classes)
    answers, known = np.bincount(on_target, minlength=classes), counts.sum(0) > 0
    gamma, prior = np.random.default_rng(seed).standard_gamma, 1 / classes
    drawn = [_solve(gamma(counts[:, known] + prior), gamma(answers + prior)) for _ in range(draws)]
    found = np.full((4, classes), np.nan)
    found[0, known] = _solve(counts[:, known], answers)
    found[1:3, known] = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    found[3, known] = counts.sum(0)[known] / len(labels)
    return Shares(*found)


def _solve(counts: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Shares of the columns of `counts`, each scaled to sum to 1, whose mixture is nearest `answers`, scaled alike."""
    from scipy.optimize import nnls

    found = nnls(counts / counts.sum(0), answers / answers.sum())[0]
    return found / (found.sum() or np.nan)
