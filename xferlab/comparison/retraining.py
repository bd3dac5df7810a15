"""Validators that fit a further classifier: of the two domains, on the target's pseudo-labels, or on mixtures."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..evaluation import evaluating, inference_batch
from ..machine import one_blas_thread
from .confidence import drawn_rows

if TYPE_CHECKING:
    from .selection import Candidate

ROWS = 2000  # what the classifiers inside DEV and reverse validation are fitted on, at most, from each side


def dev_risk(weights: np.ndarray, losses: np.ndarray) -> float:
    """Importance-weighted risk with a control variate.

        R = mean(w l) + eta mean(w) - eta,   eta = -Cov(w l, w) / Var(w)

    You et al., 2019 (ICML), algorithm 1. The mean of w is 1 in expectation, which eta uses to lower the variance.

    Parameters
    ----------
    weights, losses
        Density ratios and losses, `(N,)`.

    Returns
    -------
    float
        The risk.

    Examples
    --------
    >>> xl.selection.dev_risk(np.ones(4), np.array([0.0, 0.0, 1.0, 1.0]))
    0.5
    """
    weighted = weights * losses
    spread = weights.var(ddof=1)
    eta = -np.cov(weighted, weights)[0, 1] / spread if spread > 0 else 0.0
    return float(weighted.mean() + eta * weights.mean() - eta)


def density_ratio(source: Tensor, target: Tensor, at: Tensor) -> np.ndarray:
    """`p_target(z) / p_source(z)` from a logistic regression that tells the two sides apart.

        w(z) = N_s / N_t * P(target | z) / P(source | z)

    The strength of its L2 penalty is the one, of three, with the least log loss on a held-out fifth. Domains that are told apart
    perfectly have no finite ratio: probabilities are cut at 1e-6.

    Parameters
    ----------
    source, target
        Features `(Ns, D)` and `(Nt, D)`.
    at
        Features `(M, D)`, where the ratio is wanted.

    Returns
    -------
    ndarray
        `(M,)`.

    Examples
    --------
    >>> z = torch.linspace(-1, 1, 40)[:, None]
    >>> low, high = xl.selection.density_ratio(z, z + 0.5, at=torch.tensor([[-1.0], [1.0]]))
    >>> bool(low < high)
    True
    """
    from sklearn.metrics import log_loss
    from sklearn.model_selection import train_test_split

    x = torch.cat([source, target]).numpy()
    d = np.repeat([0, 1], [len(source), len(target)])
    fit_x, held_x, fit_d, held_d = train_test_split(x, d, test_size=0.2, random_state=0, stratify=d)
    loss = {c: log_loss(held_d, _logistic(fit_x, fit_d, c).predict_proba(held_x)) for c in (1e-3, 1e-2, 1e-1)}
    p = _logistic(x, d, min(loss, key=loss.__getitem__)).predict_proba(at.numpy())[:, 1].clip(1e-6, 1 - 1e-6)
    return len(source) / len(target) * p / (1 - p)


def dev(candidate: Candidate) -> float:
    """Minus the deep embedded validation risk (You et al., 2019, ICML).

    The source's validation error, 0 or 1 an example, weighted by the density ratio of target to source in the model's own features. See
    `dev_risk`, `density_ratio`. Where features still separate the domains few validation examples carry all the weight, and it is noise.

    Parameters
    ----------
    candidate
        A Candidate.

    Returns
    -------
    float
        Near -1 to 0.

    Examples
    --------
    >>> candidate = xl.selection.Candidate(model, None, source, target.val.unlabeled())
    >>> isinstance(xl.selection.dev(candidate), float)
    True
    """
    target = candidate.on_target[0]
    features, logits = candidate.on_source_val
    weights = density_ratio(candidate.on_source_train[0], target[drawn_rows(len(target), ROWS)], features)
    return -dev_risk(weights, (logits.argmax(1) != candidate.source_val_labels).double().numpy())


def reverse_validation(candidate: Candidate) -> float:
    """Accuracy on the source's validation part of a classifier trained on the target's predicted labels.

    Zhong et al., 2010 (ECML); Ganin et al., 2016, arXiv:1505.07818, section 5.1.2. Here the reverse classifier is a
    probe, a logistic regression on the model's own features, rather than the whole method run backwards.

    Parameters
    ----------
    candidate
        A Candidate.

    Returns
    -------
    float
        0 to 1, higher is better.

    Examples
    --------
    >>> candidate = xl.selection.Candidate(model, None, source, target.val.unlabeled())
    >>> isinstance(xl.selection.reverse_validation(candidate), float)
    True
    """
    features, logits = candidate.on_target
    rows = drawn_rows(len(features), ROWS)
    labels, truth = logits[rows].argmax(1).numpy(), candidate.source_val_labels.numpy()
    if (labels == labels[0]).all():  # nothing to fit: the reverse classifier knows one class
        return float((truth == labels[0]).mean())
    return float(_logistic(features[rows].numpy(), labels, 0.1).score(candidate.on_source_val[0].numpy(), truth))


def mixval(candidate: Candidate, ratio: float = 0.55) -> float:
    """Mixed target samples as probes (Hu et al., 2023, NeurIPS): does the model answer a mixture with the larger part's label?

        x = r x_a + (1 - r) x_b,   score = 1/2 sum over kinds of pairs of  mean [argmax f(x) = argmax f(x_a)]

    One kind of pair shares its predicted label (density), the other does not (boundaries); no pair of a kind counts 0.
    The paper's scores for the two; that they are averaged is ours. On 2,000 rows at most.

    Parameters
    ----------
    candidate
        A Candidate.
    ratio
        r, above a half.

    Returns
    -------
    float
        0 to 1, higher is better; NaN for token ids, which do not mix.

    Examples
    --------
    >>> candidate = xl.selection.Candidate(model, None, source, target.val.unlabeled())
    >>> 0 <= xl.selection.mixval(candidate) <= 1
    True
    """
    if not candidate.target.is_image:
        return float("nan")
    labels = candidate.on_target[1].argmax(1)
    rows = drawn_rows(len(labels), ROWS)
    generator = torch.Generator().manual_seed(0)
    order = rows[torch.randperm(len(rows), generator=generator)]
    order = order[labels[order].argsort(stable=True)]
    shuffled, scores = rows[torch.randperm(len(rows), generator=generator)], []
    # neighbors in an order sorted by label mostly share it; shuffled ones mostly do not
    for a, b, alike in ((order, order.roll(1), True), (rows, shuffled, False)):
        keep = (labels[a] == labels[b]) & (a != b) if alike else labels[a] != labels[b]
        scores.append(_mixtures_right(candidate, labels, a[keep], b[keep], ratio) if keep.any() else 0.0)
    return sum(scores) / 2


def _mixtures_right(candidate: Candidate, labels: Tensor, a: Tensor, b: Tensor, ratio: float) -> float:
    model, target = candidate.model, candidate.target
    device, batch, answers = next(model.parameters()).device, inference_batch(model, target), []
    with evaluating(model):
        for i, j in zip(a.split(batch), b.split(batch), strict=True):
            mixed = ratio * target[i].inputs.float() + (1 - ratio) * target[j].inputs.float()
            answers.append(model(mixed.to(device)).argmax(1).cpu())
    return float((torch.cat(answers) == labels[a]).double().mean())


def _logistic(x: np.ndarray, y: np.ndarray, c: float):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    with warnings.catch_warnings(), one_blas_thread():
        warnings.simplefilter("ignore", ConvergenceWarning)  # nearly there is near enough for a probe
        return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=200)).fit(x, y)
