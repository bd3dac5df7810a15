"""Labels that may be wrong: a probe that never saw an example disagrees with its label, and is sure of it."""

from typing import NamedTuple

import torch
from torch import Tensor

from .errors import DataError
from .machine import one_blas_thread


class Suspect(NamedTuple):
    """An example whose label may be wrong: its row, the class that the probe gives it, and its probabilities of both."""

    row: int
    label: int
    answer: int
    p_label: float
    p_answer: float


def held_out_probabilities(features: Tensor, labels: Tensor, groups: Tensor | None = None, folds: int = 5) -> Tensor:
    """Class probabilities of each example by a linear probe on the others: logistic regression, C 0.05, standardized features.

    Parameters
    ----------
    features : Tensor
        `(N, D)`.
    labels : Tensor
        int64 `(N,)`, from 0 on.
    groups : Tensor, optional
        int64 `(N,)`: a patient's examples are held out together.
    folds : int
        At most; as many as the rarest class has examples (or patients) where these are fewer.

    Returns
    -------
    Tensor
        `(N, K)`, K one more than the largest label; 0 for a class that a fold's probe never saw.

    Raises
    ------
    DataError
        Where fewer than two classes have two examples (or patients) each.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = features.numpy(), labels.numpy()
    units = torch.arange(len(y)) if groups is None else groups
    sizes = [int(units[labels == k].unique().numel()) for k in labels.unique()]
    if sum(size >= 2 for size in sizes) < 2:
        raise DataError(f"classes have {sizes} examples or patients; expected at least two of two classes")
    p = torch.zeros(len(y), int(y.max()) + 1)
    splits = StratifiedGroupKFold(max(2, min(folds, *sizes)), shuffle=True, random_state=0)
    for train, held in splits.split(x, y, units.numpy()):
        if len(set(y[train])) < 2:
            continue
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=1000))
        with one_blas_thread():
            probe.fit(x[train], y[train])
        answers = torch.from_numpy(probe.predict_proba(x[held])).float()
        p[torch.from_numpy(held)[:, None], torch.from_numpy(probe.classes_)] = answers
    return p


def suspects(probabilities: Tensor, labels: Tensor) -> list[Suspect]:
    """Examples counted as another class than their label's, the surest first (Northcutt et al., 2021, arXiv:1911.00068).

    An example with label i counts as class j, the likeliest of the classes k with `p_k >= t_k`, where `t_k` is the mean of
    `p_k` over the examples that are labeled k. `probabilities` `(N, K)` are held out, `labels` int64 `(N,)`.
    """
    k = probabilities.shape[1]
    # a class without examples has no threshold, and nothing counts as it
    typical = [probabilities[labels == j, j].mean() if (labels == j).any() else torch.tensor(2.0) for j in range(k)]
    counted = torch.where(probabilities >= torch.stack(typical), probabilities, -1.0)
    p_answer, answer = counted.max(1)
    own = probabilities.gather(1, labels[:, None]).squeeze(1)
    rows = ((answer != labels) & (p_answer > own)).nonzero().squeeze(1)
    rows = rows[(p_answer - own)[rows].argsort(descending=True, stable=True)]
    return [Suspect(i, int(labels[i]), int(answer[i]), float(own[i]), float(p_answer[i])) for i in rows.tolist()]
