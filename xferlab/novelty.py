"""What is strange: how unlike the pictures of a reference a picture looks, as a p-value."""

import contextlib
import copy

import numpy as np
import torch
from torch import Tensor

from .domains import Domain
from .encoders import Classifier, recording
from .encoders.reading import Depth, mean_and_std, read_in_depth
from .errors import ArgumentError, DataError
from .evaluation import in_batches

COPY = 0.2  # of the usual distance to the nearest: what is nearer is a copy, and vouches for nothing


def looks(model: Classifier, domain: Domain) -> Tensor:
    """What pictures look like to a model, as features in depth: see `encoders.read_in_depth`.

    Parameters
    ----------
    model, domain
        Whose eyes, a Classifier, and on what.

    Returns
    -------
    Tensor
        `(N, D)`, for `p_values`; the encoder's output where it cannot be read in depth.

    Examples
    --------
    >>> len(xl.novelty.looks(model, target.val)) == len(target.val)
    True
    """
    return looks_and_logits(model, domain)[0]


def looks_and_logits(model: Classifier, domain: Domain) -> tuple[Tensor, Tensor]:
    """What pictures look like to a model, see `looks`, and its logits, from one pass.

    Parameters
    ----------
    model, domain
        Whose eyes, a Classifier, and on what.

    Returns
    -------
    tuple of Tensor
        `(N, D)` and `(N, K)`.

    Examples
    --------
    >>> looks, logits = xl.novelty.looks_and_logits(model, target.val)
    >>> logits.shape[1]
    10
    """
    names: tuple[str, ...] = ()
    if not isinstance(model.encoder.body, Depth):
        with contextlib.suppress(ArgumentError):  # it reads text, or gives no maps
            deep = read_in_depth(copy.deepcopy(model.encoder)).body
            names = deep.names if isinstance(deep, Depth) else ()
    with recording(model.encoder, names) as seen:

        def both(inputs: Tensor) -> Tensor:
            z = model.features(inputs)
            parts = [mean_and_std(seen[name].pop()) for name in names] or [z]
            return torch.cat([*parts, model.head(z)], 1)

        looks, logits = in_batches(model, both, domain, None).tensor_split([-len(model.classes)], 1)
    return looks, logits


def p_values(reference: Tensor, queries: Tensor, k: int = 5) -> np.ndarray:
    """The chance that a picture of the reference lies as far from the others as each query does: small is strange.

        p(x) = (1 + #{i : s_i >= s(x)}) / (1 + n),   s(x): mean distance to the k nearest in the reference

    s_i leaves picture i out. Conformal (Vovk et al., 2005; for outliers Bates et al., 2023, arXiv:2104.08279): a query drawn
    as the reference falls below t with a chance of at most t. Near-duplicates of a picture are not its neighbors, nor count for it.

    Parameters
    ----------
    reference
        Features `(N, D)`, N above k; they are standardized on the reference.
    queries
        Features `(M, D)`; they may hold pictures of the reference.
    k
        How many neighbors.

    Returns
    -------
    ndarray
        `(M,)`, from 1 / (N + 1) to 1.

    Raises
    ------
    DataError
        For too few pictures in the reference, or features that do not fit it.

    Examples
    --------
    >>> reference = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    >>> p = xl.novelty.p_values(reference, torch.tensor([[0.0] * 4, [9.0] * 4]))
    >>> bool(p[0] > 0.5), bool(p[1] < 0.02)
    (True, True)
    """
    r, q = reference.float(), queries.float()
    if r.ndim != 2 or q.ndim != 2 or r.shape[1] != q.shape[1] or len(r) <= k:
        raise DataError(f"features are {tuple(r.shape)} and {tuple(q.shape)}; expected (N, D) and (M, D), N above {k}")
    variance, mean = torch.var_mean(r, 0, unbiased=False)
    spread = torch.where(variance > 1e-6, variance, 1.0).sqrt()
    r, q = (r - mean) / spread, (q - mean) / spread
    within = torch.cdist(r, r).fill_diagonal_(torch.inf)
    near = COPY * within.min(1).values.median()
    usual = _nearest(within, within < near, k)
    found = []
    for part in q.split(1024):
        across = torch.cdist(part, r)
        copies = across < near
        as_far = usual >= _nearest(across, copies, k)[:, None]
        found.append((1 + (as_far & ~copies).sum(1)).double() / (1 + (~copies).sum(1)))
    return torch.cat(found).numpy()


def _nearest(distances: Tensor, copies: Tensor, k: int) -> Tensor:
    return distances.masked_fill(copies, torch.inf).topk(k, largest=False).values.mean(1)


def more_than_chance(p: np.ndarray, n: int, level: float = 0.01) -> bool:
    """Whether so many of the p-values lie below `level` that chance explains it in fewer than 1 of 20 cases.

    All rest on the same reference of `n` pictures, so their number is beta-binomial and not binomial; a reference of fewer than
    `1 / level` pictures gives no such p-value.

    Parameters
    ----------
    p
        P-values `(M,)` of `p_values`.
    n
        Pictures in their reference.
    level
        Below which a p-value counts as strange.

    Returns
    -------
    bool
        Whether chance does not explain them.

    Examples
    --------
    >>> xl.novelty.more_than_chance(np.array([0.005] * 5 + [0.5] * 5), n=500)
    True
    """
    from scipy.stats import betabinom

    rank = int(np.ceil(level * (n + 1))) - 1  # of n + 1, below level
    return rank > 0 and bool(betabinom.sf((p < level).sum() - 1, len(p), rank, n + 1 - rank) < 0.05)
