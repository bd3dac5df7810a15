"""What `fit` refuses before it changes anything: each refusal names the value, what was expected and what to do."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

from ..domains import Domain
from ..encoders import Classifier
from ..errors import ArgumentError, DataError, TargetLabelsError
from ..objectives import Objective

REMEDY = {
    "source": "a source Domain",
    "target": "a target Domain, such as target.train.unlabeled()",
    "source_labels": "a labeled source",
    "target_labels": "a labeled target with target_labels=True",
}


def checked(
    model: Classifier, source: Domain | None, target: Domain | None, objectives: list[Objective], target_labels: bool
) -> dict[str, Domain]:
    """The sides that there are, by the model's classes; warns of absent ones.

    Raises
    ------
    ArgumentError, DataError, TargetLabelsError
        For what cannot be trained on.
    """
    if not isinstance(model, Classifier):
        raise ArgumentError(f"fit got a {type(model).__name__}, expected xl.Classifier(xl.encoder(...), classes=...)")
    sides = {side: domain for side, domain in (("source", source), ("target", target)) if domain is not None}
    for side, domain in sides.items():
        if not isinstance(domain, Domain):
            raise ArgumentError(f"{side} is a {type(domain).__name__}, expected a Domain; of Splits, pass .train")
        if len(domain) < 2:
            raise DataError(f"{side} {domain.name!r} has 1 example, expected at least 2: batch norm needs a batch")
    if not sides:
        raise ArgumentError("fit got neither a source nor a target; pass at least one Domain")
    if target is not None and target.labels is not None and not target_labels:
        raise TargetLabelsError(
            f"target {target.name!r} has labels; pass target.unlabeled(), or target_labels=True if you mean to train on them"
        )
    have = {*sides, *(f"{side}_labels" for side, domain in sides.items() if domain.labels is not None)}
    for objective in objectives:
        if missing := sorted(objective.needs - have):
            raise ArgumentError(f"{type(objective).__name__} needs {' and '.join(missing)}; pass {REMEDY[missing[0]]}")
    refuse_multilabel(objectives, source, target)
    if source is not None and source.labels is not None and not source.multilabel and len(source.labels.unique()) < 2:
        only = source.classes[int(source.labels[0])]
        raise DataError(
            f"every label of source {source.name!r} is {only!r}; there is nothing to tell apart: give at least two classes"
        )
    if target is not None and target.classes and (absent := [k for k in model.classes if k not in target.classes]):
        lacks = f"target {target.name!r} lacks the classes {absent}; adapting to a part of the source's classes"
        warnings.warn(lacks, stacklevel=3)
    return {side: domain.align(model.classes) for side, domain in sides.items()}


def refuse_multilabel(objectives: Sequence[Objective], *domains: Domain | None) -> None:
    """

    Raises
    ------
    ArgumentError
        Where an objective that reads one class an example would get a multi-label domain.
    """
    several = [domain.name for domain in domains if domain is not None and domain.multilabel]
    if several and (single := [type(objective).__name__ for objective in objectives if objective.single_label]):
        raise ArgumentError(
            f"{single[0]} reads one class an example, from a softmax, but domain {several[0]!r} is multi-label; use an objective "
            "on features, such as DANN or CORAL"
        )


def check_given(steps, batch_size, lr, weight_decay, warmup, val, val_every, checkpoint_every, precision, seed) -> None:
    """

    Raises
    ------
    ArgumentError
        For a number out of its range, a validation part without labels, or a precision that fit does not know.
    """
    for name, value, ok, expected in (
        ("steps", steps, steps >= 1, "1 or more"),
        ("batch_size", batch_size, batch_size >= 2, "2 or more"),
        ("lr", lr, 0 < lr < math.inf, "a finite number above 0"),
        ("weight_decay", weight_decay, 0 <= weight_decay < math.inf, "a finite number, 0 or more"),
        ("warmup", warmup, 0 <= warmup <= 1, "a share of the steps, 0 to 1"),
        ("val", val, val is None or getattr(val, "labels", None) is not None, "a labeled Domain, such as source.val"),
        ("val_every", val_every, val_every is None or val_every >= 1, "1 or more, or None"),
        ("checkpoint_every", checkpoint_every, checkpoint_every >= 1, "1 or more"),
        ("precision", precision, precision in ("auto", "fp32", "bf16"), "'auto', 'fp32' or 'bf16'"),
        ("seed", seed, -(2**63) <= seed < 2**63, "a whole number of 64 bits"),
    ):
        if not ok:
            raise ArgumentError(f"{name} is {value!r}, expected {expected}")
