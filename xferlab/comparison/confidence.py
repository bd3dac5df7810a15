"""Validators that read what a model says of the target: how sure it is, how its answers spread and cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..objectives import selftraining

if TYPE_CHECKING:
    from .selection import Candidate


def entropy(candidate: Candidate) -> float:
    """Minus the mean entropy of target predictions, `-1/N sum_i H(p_i)`: sure is good (Morerio et al., 2018, arXiv:1711.10288).

    A model that gives every example one class with certainty scores best.

    Parameters
    ----------
    candidate
        A Candidate.

    Returns
    -------
    float
        -log K to 0, higher is better.

    Examples
    --------
    >>> candidate = xl.selection.Candidate(model, None, source, target.val.unlabeled())
    >>> isinstance(xl.selection.entropy(candidate), float)
    True
    """
    return -float(selftraining.entropy(candidate.on_target[1]).mean())


def information_maximization(candidate: Candidate) -> float:
    """Sure of each, even over all: `H(1/N sum_i p_i) - 1/N sum_i H(p_i)` over target predictions.

    The mutual information of input and prediction, used to select by Musgrave et al. (2022, arXiv:2208.07360). It takes
    target classes to be equally frequent, and does not notice classes that are swapped.

    Parameters
    ----------
    candidate
        A Candidate.

    Returns
    -------
    float
        0 to log K, higher is better.

    Examples
    --------
    >>> candidate = xl.selection.Candidate(model, None, source, target.val.unlabeled())
    >>> isinstance(xl.selection.information_maximization(candidate), float)
    True
    """
    logits = candidate.on_target[1]
    return float(selftraining.marginal_entropy(logits) - selftraining.entropy(logits).mean())


def bnm(candidate: Candidate) -> float:
    """`||P||_* / N`, the nuclear norm of the target's predictions: sure and varied (Cui et al., 2020, arXiv:2003.12237).

    To select: Musgrave et al., 2022, arXiv:2208.07360.

    Parameters
    ----------
    candidate
        A Candidate.

    Returns
    -------
    float
        Depends on N: compare on one target.

    Examples
    --------
    >>> candidate = xl.selection.Candidate(model, None, source, target.val.unlabeled())
    >>> isinstance(xl.selection.bnm(candidate), float)
    True
    """
    return float(selftraining.nuclear_norm(candidate.on_target[1]))


def mano(candidate: Candidate, p: int = 4, eta: float = 5.0) -> float:
    """Matrix norm of normalized target logits (Xie et al., 2024, arXiv:2405.18979): far from the boundaries.

        S = (1 / NK sum_ik Q_ik^p)^(1/p),   Q_i = v(q_i) / sum_k v(q_ik)

    v is exp where the model is sure, in that -1/NK sum_ik log softmax(q)_ik is above `eta`, else its expansion 1 + q + q^2 / 2, which
    trusts it less. Not one of `validators`: in `bench/tables/estimates.md` its choice lost up to 0.54, on other laboratories, and that of
    information maximization 0.03.

    Parameters
    ----------
    candidate
        A Candidate.
    p, eta
        The paper's unless given.

    Returns
    -------
    float
        0 to 1, higher is better.

    Examples
    --------
    >>> candidate = xl.selection.Candidate(model, None, source, target.val.unlabeled())
    >>> 0 < xl.selection.mano(candidate) < 1
    True
    """
    logits = candidate.on_target[1]
    sure = -logits.log_softmax(1).mean() > eta
    q = logits.softmax(1) if sure else F.normalize(1 + logits + logits.square() / 2, p=1, dim=1)
    return float(q.pow(p).mean() ** (1 / p))


def soft_neighborhood_density(probabilities: Tensor, temperature: float = 0.05) -> float:
    """Mean entropy of each row's softmax over its similarities to the other rows.

        P_ij = exp(s_ij / T) / sum_{k != i} exp(s_ik / T),  s = cosine;   SND = -1/N sum_i sum_{j != i} P_ij log P_ij

    Saito et al., 2021, arXiv:2108.10860, equations 1 to 3, on softmax outputs.

    Parameters
    ----------
    probabilities
        `(N, K)`.
    temperature
        T; the paper's unless given.

    Returns
    -------
    float
        Up to log(N - 1).

    Examples
    --------
    >>> round(xl.selection.soft_neighborhood_density(torch.tensor([[0.9, 0.1]] * 3)), 3)
    0.693
    """
    p = F.normalize(probabilities, dim=1)
    total = 0.0
    for rows in torch.arange(len(p)).split(1024):
        similarity = p[rows] @ p.T / temperature
        similarity[torch.arange(len(rows)), rows] = float("-inf")
        log_p = similarity.log_softmax(1)
        total -= float((log_p.exp() * log_p.clamp(min=-1e30)).sum())
    return total / len(p)


def snd(candidate: Candidate) -> float:
    """Soft neighborhood density of target predictions (Saito et al., 2021, arXiv:2108.10860): large where they form few dense clusters.

    See `soft_neighborhood_density`; of a larger target 10,000 rows, drawn with seed 0. One cluster is densest: a collapsed model scores
    best.

    Parameters
    ----------
    candidate
        A Candidate.

    Returns
    -------
    float
        Up to log(N - 1).

    Examples
    --------
    >>> candidate = xl.selection.Candidate(model, None, source, target.val.unlabeled())
    >>> isinstance(xl.selection.snd(candidate), float)
    True
    """
    p = candidate.on_target[1].softmax(1)
    return soft_neighborhood_density(p[drawn_rows(len(p), 10_000)])


def drawn_rows(n: int, limit: int) -> Tensor:
    """All rows, or `limit` of them drawn with seed 0, in order."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(0))[:limit].sort().values
