"""Heads that are solved for and not trained: a linear probe on features in depth."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from .domains import Domain
from .encoders import Classifier
from .encoders.reading import Depth, read_in_depth, turned
from .errors import ArgumentError
from .evaluation import in_batches
from .machine import one_blas_thread

STRENGTHS = (0.005, 0.05, 0.5)  # scikit-learn's C; the middle one where there is too little to choose by
ROWS = 4096  # views become rows only while there are no more of them, and the strength is chosen on as many


def make_deep(model: Classifier) -> None:
    """The classifier reads its encoder in depth, under a head of zeros; one that does so already stays."""
    read_in_depth(model.encoder)
    if model.head.in_features != model.encoder.dim:
        model.head = nn.Linear(model.encoder.dim, len(model.classes)).to(model.head.weight.device)
        nn.init.zeros_(model.head.weight)
        nn.init.zeros_(model.head.bias)


def depth_probe(model: Classifier, source: Domain, views: bool = True) -> None:
    """Solves `model`'s head: features in depth are standardized on the source, then multinomial logistic regression.

    Where the source may be turned (`augmentation="any_way_up"`), its eight views are rows, and answers are the mean over the
    views from then on. The L2 strength is the one with the lowest log loss on splits inside the source, in which views of one
    picture and members of one group stay together.

    Parameters
    ----------
    model
        Made deep by `make_deep`; its head and standardization change, in place.
    source
        Labeled, a class each.
    views
        False leaves the pictures as they are.

    Raises
    ------
    ArgumentError
        For a domain without labels, or with several a picture.
    """
    if source.labels is None or source.multilabel:
        raise ArgumentError(f"a depth probe needs one class an example, and domain {source.name!r} has none or several")
    body = _body(model)
    device = model.head.weight.device
    labels, groups = source.labels.cpu(), source.groups
    groups = torch.arange(len(source)) if groups is None else groups.cpu()
    pictures, symmetric = source, views and source.augmentation == "any_way_up"
    if symmetric and 8 * len(source) <= ROWS:
        parts = turned(source.inputs)
        pictures = replace(source, inputs=torch.cat(parts), labels=None, groups=None, files=None)
        labels, groups = labels.repeat(len(parts)), groups.repeat(len(parts))
    z = _read(model, pictures)
    _standardize(body, z)
    weight, bias = _logistic(body.standard.cpu().eval()(z), labels, groups, len(model.classes))
    body.standard.to(device)
    model.head.load_state_dict({"weight": weight, "bias": bias})
    body.symmetric.fill_(symmetric)


def standardize(model: Classifier, target: Domain, views: bool = True) -> None:
    """Features in depth get mean 0 and variance 1 on the target instead: its own scanner, lamp and dyes are taken out."""
    _standardize(_body(model), _read(model, target))


def _body(model: Classifier) -> Depth:
    assert isinstance(model.encoder.body, Depth), "make_deep comes first"
    return model.encoder.body


def _read(model: Classifier, domain: Domain) -> Tensor:
    """Features in depth of the pictures as they are, before standardization, `(N, D)` on the CPU."""
    return in_batches(model, lambda x: _body(model).read(model.encoder.prepare(x)), domain, None)


def _standardize(body: Depth, z: Tensor) -> None:
    variance, mean = torch.var_mean(z, 0, unbiased=False)
    body.standard.get_buffer("running_mean").copy_(mean)
    # a feature that is the same everywhere says nothing; divided by next to nothing it would shout at the first change
    body.standard.get_buffer("running_var").copy_(torch.where(variance > 1e-6, variance, 1.0))


def _logistic(z: Tensor, labels: Tensor, groups: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Weight `(K, D)` and bias `(K,)` of a multinomial logistic regression whose strength is chosen inside the examples."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedGroupKFold

    x, y, present = z.numpy(), labels.numpy(), labels.unique()

    def fit(x, y, strength):
        with one_blas_thread():
            return LogisticRegression(C=strength, max_iter=1000).fit(x, y)

    best = STRENGTHS[1]
    if min(len(groups[labels == k].unique()) for k in present) >= 3:
        some = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:ROWS].sort().values.numpy()
        folds = StratifiedGroupKFold(3, shuffle=True, random_state=0)
        losses = dict.fromkeys(STRENGTHS, 0.0)
        for train, held in folds.split(x[some], y[some], groups.numpy()[some]):
            if len(set(y[some[train]])) == len(present):
                for strength in STRENGTHS:
                    p = fit(x[some[train]], y[some[train]], strength).predict_proba(x[some[held]])
                    losses[strength] += float(log_loss(y[some[held]], p, labels=present.numpy()))
        best = min(losses, key=lambda strength: losses[strength])
    solved = fit(x, y, best)
    weight, bias = (torch.from_numpy(part).float() for part in (solved.coef_, solved.intercept_))
    if len(weight) == 1:  # scikit-learn keeps the difference of two classes
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    full_weight, full_bias = torch.zeros(classes, z.shape[1]), torch.full((classes,), -10.0)
    full_weight[present], full_bias[present] = weight, bias  # a class without examples is never the answer
    return full_weight, full_bias
