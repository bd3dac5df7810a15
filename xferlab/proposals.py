"""Which examples to label next: spread over clusters of features, one from each, so that few labels show much."""

from typing import NamedTuple

import torch
from torch import Tensor

from .errors import ArgumentError, DataError

NEIGHBORS = 20  # within the cluster, over which typicality is the mean
KINDS = ("typical", "uncertain", "random")


class Proposal(NamedTuple):
    """One example to label, from `propose`.

    Parameters
    ----------
    row
        Of the features.
    cluster, size
        What it stands for, and how many examples that has (0 and 0 where drawn at random).

    Examples
    --------
    >>> xl.proposals.propose(torch.eye(4), 1, kind="random")[0].size
    0
    """

    row: int
    cluster: int
    size: int


def propose(
    features: Tensor,
    n: int,
    *,
    kind: str = "typical",
    labeled: Tensor | None = None,
    uncertainty: Tensor | None = None,
    seed: int = 0,
) -> list[Proposal]:
    """The `n` unlabeled examples to label next, those of the largest clusters first.

    Unlabeled and labeled examples are cut into `n + L` clusters by k-means. Of the largest clusters without a label each gives
    its most typical example (Hacohen et al., 2022, arXiv:2202.02794, equation 1):

        typicality(x) = 1 / mean of |x - x_i| over its K nearest in the cluster,  K = 20 at most

    Parameters
    ----------
    features : Tensor
        `(N, D)` of the unlabeled examples. They are standardized, then scaled to length 1.
    n : int
        How many; fewer come back where there are fewer examples.
    kind : str
        "typical"; "uncertain" takes each cluster's most uncertain example, among equals the most typical; "random" draws.
    labeled : Tensor, optional
        `(L, D)` of the examples that have labels.
    uncertainty : Tensor, optional
        `(N,)`, large where a label would tell most.
    seed : int
        Of k-means, and of the random draw.

    Returns
    -------
    list of Proposal
        At most `n`.

    Raises
    ------
    ArgumentError
        For `n` below 1, an unknown kind, or "uncertain" without uncertainty.
    DataError
        For features that are no finite `(N, D)`.

    Examples
    --------
    >>> features = torch.tensor([[0.0, 1], [0.1, 1], [0, 0.9], [5, 1], [5.1, 1]])
    >>> [p.size for p in xl.proposals.propose(features, 2)]
    [3, 2]
    """
    from sklearn.cluster import KMeans

    if n < 1 or kind not in KINDS or (kind == "uncertain" and uncertainty is None):
        raise ArgumentError(f"propose got n={n} and kind={kind!r}; expected 1 or more, one of {KINDS}, and uncertainty")
    if features.ndim != 2 or not torch.isfinite(features).all():
        raise DataError(f"features are {tuple(features.shape)}; expected finite (N, D), a row an example")
    if kind == "random":
        order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
        return [Proposal(row, 0, 0) for row in order[:n].tolist()]
    known = features[:0] if labeled is None else labeled
    z = torch.cat([features, known]).double()
    z = torch.nn.functional.normalize((z - z.mean(0)) / z.std(0, unbiased=False).clamp(min=1e-6), dim=1)
    means = KMeans(min(n + len(known), len(z)), n_init=1, random_state=seed)
    cluster = torch.from_numpy(means.fit_predict(z.numpy())).long()
    sizes, taken = cluster.bincount(), cluster[len(features) :].unique()
    free = [k for k in sizes.argsort(descending=True, stable=True).tolist() if sizes[k] and k not in taken]
    found = []
    for number, k in enumerate(free[:n], start=1):
        rows = (cluster == k).nonzero().squeeze(1)
        order = _typicality(z[rows]).argsort(descending=True, stable=True)
        if kind == "uncertain" and uncertainty is not None:
            order = order[uncertainty[rows[order]].argsort(descending=True, stable=True)]
        found.append(Proposal(int(rows[order[0]]), number, len(rows)))
    return found


def _typicality(z: Tensor) -> Tensor:
    """Of each row among the rows, `(N,)`."""
    # not itself: a row that is alone has no neighbor, its mean is NaN, and it comes first all the same
    nearest = torch.cdist(z, z).topk(min(NEIGHBORS + 1, len(z)), largest=False).values[:, 1:]
    return 1 / nearest.mean(1).clamp(min=1e-12)
