"""Choose between trained models without target labels: a validator is `Candidate -> float`, higher is better.

None is to be trusted unseen: each looks at one symptom, and a method that optimizes the symptom scores well on it however
wrong it is. `compare(...).validator_quality()` ranks them against the oracle where there are target labels to test with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..domains import Domain, Splits
from ..encoders import Classifier
from ..errors import DivergenceError, TargetLabelsError
from ..evaluation import evaluate, in_batches
from ..objectives import ADDA, CDAN, CORAL, DANN, JMMD, MDD, MMD, WDGRL, InformationMaximization
from ..objectives.discrepancy import DeepJDOT, SlicedWasserstein
from ..recipe import Recipe
from . import retraining
from .confidence import bnm, entropy, information_maximization, mano, snd, soft_neighborhood_density
from .retraining import density_ratio, dev, dev_risk, mixval, reverse_validation

__all__ = ["Candidate", "aligns", "leave_one_site_out", "on_labels", "source_val", "validate", "validators"]
__all__ += ["bnm", "entropy", "information_maximization", "mano", "snd", "soft_neighborhood_density"]
__all__ += ["density_ratio", "dev", "dev_risk", "mixval", "reverse_validation"]

ALIGNING = (ADDA, CDAN, CORAL, DANN, JMMD, MDD, MMD, WDGRL, DeepJDOT, InformationMaximization, SlicedWasserstein)


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
        """Of at most `retraining.ROWS` training examples, drawn with seed 0."""
        return self._outputs(self.source.train.take(n=retraining.ROWS))

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


_ALL = (source_val, entropy, information_maximization, bnm, snd, dev, reverse_validation, mixval)
validators: dict[str, Validator] = {validator.__name__: validator for validator in _ALL}


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
