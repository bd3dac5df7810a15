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
    model was not trained on `(N,)`; on_target  answers there `(M,)`. The interval is a percentile bootstrap over both.

    It takes the pictures of a class to look alike on both sides: where they do not, it is a hint.

    Raises
    ------
    DataError
        When there is nothing to count.
    """
    predicted, labels, on_target = (np.asarray(a, dtype=np.int64) for a in (predicted, labels, on_target))
    if not len(labels) or not len(on_target) or len(predicted) != len(labels):
        raise DataError(
            f"target_shares got {len(predicted)} answers, {len(labels)} labels and {len(on_target)} target answers; "
            "expected as many answers as labels, and one or more on each side"
        )
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        rows, others = rng.integers(len(labels), size=len(labels)), rng.integers(len(on_target), size=len(on_target))
        drawn.append(_solve(predicted[rows], labels[rows], on_target[others], classes))
    source = np.bincount(labels, minlength=classes) / len(labels)
    low, high = np.full((2, classes), np.nan)
    for k in np.flatnonzero(source):  # a draw may miss a rare class
        low[k], high[k] = np.nanpercentile([shares[k] for shares in drawn], [2.5, 97.5])
    return Shares(_solve(predicted, labels, on_target, classes), low, high, np.where(source > 0, source, np.nan))


def _solve(predicted: np.ndarray, labels: np.ndarray, on_target: np.ndarray, k: int) -> np.ndarray:
    from scipy.optimize import nnls

    counts = np.bincount(predicted * k + labels, minlength=k * k).reshape(k, k).astype(float)
    seen = np.flatnonzero(counts.sum(0))
    answers = counts[:, seen] / counts[:, seen].sum(0)
    q = np.full(k, np.nan)
    found = nnls(answers, np.bincount(on_target, minlength=k) / len(on_target))[0]
    q[seen] = found / found.sum() if found.sum() > 0 else np.nan
    return q
