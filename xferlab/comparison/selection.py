"""Choose between trained models without target labels: a validator is `Candidate -> float`, higher is better.

None is to be trusted unseen: each looks at one symptom, and a method that optimizes the symptom scores well on it however
wrong it is. `compare(...).validator_quality()` ranks them against the oracle where there are target labels to test with.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..domains import Domain, Splits
from ..encoders import Classifier
from ..errors import DivergenceError, TargetLabelsError
from ..evaluation import evaluate, evaluating, in_batches, inference_batch
from ..machine import one_blas_thread
from ..objectives import (
    ADDA,
    CDAN,
    CORAL,
    DANN,
    JMMD,
    MDD,
    MMD,
    WDGRL,
    DeepJDOT,
    InformationMaximization,
    SlicedWasserstein,
    selftraining,
)
from ..recipe import Recipe

ALIGNING = (ADDA, CDAN, CORAL, DANN, JMMD, MDD, MMD, WDGRL, DeepJDOT, InformationMaximization, SlicedWasserstein)
ROWS = 2000  # what the classifiers inside DEV and reverse validation are fitted on, at most, from each side


def aligns(recipe: Recipe) -> bool:
    """Whether a recipe matches the whole of both domains, which draws examples into classes that the target lacks.

    Parameters
    ----------
    recipe
        A Recipe.

    Returns
    -------
    bool
        True for DANN, not for fine-tuning.

    Examples
    --------
    >>> xl.selection.aligns(xl.recipes["dann"]), xl.selection.aligns(xl.recipes["source_only"])
    (True, False)
    """
    return any(isinstance(objective, ALIGNING) for stage in recipe.stages for objective in stage.objectives())


@dataclass(frozen=True, eq=False)
class Candidate:
    """A trained model and all that a choice without target labels may look at.

    Parameters
    ----------
    model
        The Classifier, in whatever state training left it.
    recipe
        How it was trained, or None.
    source
        Labeled Splits; the model's training saw the train part.
    target
        The target's unlabeled Domain.
    retrain
        Trains the same recipe anew, `(labeled source, unlabeled target) -> Classifier`, or None.

    Raises
    ------
    TargetLabelsError
        When the target has labels.

    Examples
    --------
    >>> candidate = xl.selection.Candidate(model, None, source, target.val.unlabeled())
    >>> candidate.on_target[1].shape[1]
    10
    """

    model: Classifier
    recipe: Recipe | None
    source: Splits
    target: Domain
    retrain: Callable[[Domain, Domain], Classifier] | None = None

    def __post_init__(self):
        if self.target.labels is not None:
            raise TargetLabelsError(f"target {self.target.name!r} has labels to choose by; pass target.unlabeled()")

    @cached_property
    def on_target(self) -> tuple[Tensor, Tensor]:
        """Features `(N, D)` and logits `(N, K)` of the target, float64 on the CPU."""
        return self._outputs(self.target)

    @cached_property
    def on_source_val(self) -> tuple[Tensor, Tensor]:
        return self._outputs(self.source.val)

    @cached_property
    def source_val_labels(self) -> Tensor:
        labels = self.source.val.align(self.model.classes).labels
        assert labels is not None
        return labels.cpu()

    @cached_property
    def held_out(self) -> dict[str, float]:
        """By site of the source, balanced accuracy on its validation part after training on the others alone, with its own training
        examples, unlabeled, for a target. Empty without sites, NaN where training diverged."""
        train, val, retrain = self.source.train, self.source.val, self.retrain
        found: dict[str, float] = {}
        if retrain is None:
            return found
        for k, name in enumerate(train.sites):
            try:
                model = retrain(train[train.site != k], train[train.site == k].unlabeled())
                found[name] = evaluate(model, val[val.site == k]).balanced_accuracy
            except DivergenceError:
                found[name] = float("nan")
        return found

    @cached_property
    def on_source_train(self) -> tuple[Tensor, Tensor]:
        """Of at most `ROWS` training examples, drawn with seed 0."""
        return self._outputs(self.source.train.take(n=ROWS))

    def _outputs(self, domain: Domain) -> tuple[Tensor, Tensor]:
        model = self.model

        def both(inputs):
            z = model.features(inputs)
            return torch.cat([z, model.head(z)], dim=1)

        table = in_batches(model, both, domain, None).double()
        return table[:, : model.head.in_features], table[:, model.head.in_features :]


Validator = Callable[[Candidate], float]


def source_val(candidate: Candidate) -> float:
    """Accuracy on the source's validation part: what is there without any method, and blind to the shift.

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
    >>> isinstance(xl.selection.source_val(candidate), float)
    True
    """
    right = candidate.on_source_val[1].argmax(1) == candidate.source_val_labels
    return float(right.double().mean())


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
    return soft_neighborhood_density(p[_rows(len(p), 10_000)])


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
    weights = density_ratio(candidate.on_source_train[0], target[_rows(len(target), ROWS)], features)
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
    rows = _rows(len(features), ROWS)
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
    rows = _rows(len(labels), ROWS)
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


def _rows(n: int, limit: int) -> Tensor:
    """All rows, or `limit` of them drawn with seed 0, in order."""
    drawn = torch.randperm(n, generator=torch.Generator().manual_seed(0))[:limit].sort().values
    return torch.arange(n) if n <= limit else drawn


def _logistic(x: np.ndarray, y: np.ndarray, c: float):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    with warnings.catch_warnings(), one_blas_thread():
        warnings.simplefilter("ignore", ConvergenceWarning)  # nearly there is near enough for a probe
        return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=200)).fit(x, y)


def on_labels(labeled: Domain, candidate: Candidate) -> float:
    """Balanced accuracy on a few labeled target examples that no training saw.

    `partial(on_labels, domain)` is a validator, "target_labels" in `compare(..., labeled=domain)`.

    Parameters
    ----------
    labeled
        The Domain of those examples.
    candidate
        A Candidate.

    Returns
    -------
    float
        0 to 1.

    Examples
    --------
    >>> candidate = xl.selection.Candidate(model, None, source, target.train.unlabeled())
    >>> 0 <= xl.selection.on_labels(target.val, candidate) <= 1
    True
    """
    return evaluate(candidate.model, labeled).balanced_accuracy


def leave_one_site_out(candidate: Candidate) -> float:
    """Mean over the source's sites of balanced accuracy on one after training on the others: what a new site does to the recipe.

    Leave-one-domain-out: Gulrajani & Lopez-Paz, 2021, arXiv:2007.01434. As many more runs as there are sites.

    Parameters
    ----------
    candidate
        A Candidate with `retrain`, of a source with sites.

    Returns
    -------
    float
        0 to 1; NaN without sites.

    Examples
    --------
    >>> candidate = xl.selection.Candidate(model, None, source, target.val.unlabeled())
    >>> xl.selection.leave_one_site_out(candidate)
    nan
    """
    return float(np.mean(list(candidate.held_out.values()))) if candidate.held_out else float("nan")


validators: dict[str, Validator] = {
    validator.__name__: validator
    for validator in (source_val, entropy, information_maximization, bnm, snd, dev, reverse_validation, mixval)
}


def validate(candidate: Candidate, chosen: dict[str, Validator] | None = None) -> dict[str, float]:
    """Every validator's value for one candidate.

    Parameters
    ----------
    candidate
        A Candidate.
    chosen
        Validators by name; all of `validators` if None.

    Returns
    -------
    dict
        A number by name, higher is better.

    Examples
    --------
    >>> candidate = xl.selection.Candidate(model, None, source, target.val.unlabeled())
    >>> list(xl.selection.validate(candidate, {"bnm": xl.selection.bnm}))
    ['bnm']
    """
    return {name: float(validator(candidate)) for name, validator in (validators if chosen is None else chosen).items()}
