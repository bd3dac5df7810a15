"""What a model file keeps of the pictures it was judged on, so that `predict` gives probabilities, thresholds and doubts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import novelty, operating
from ..domains import Domain, Splits
from ..encoders import Classifier
from ..evaluation import predict

ROWS, LOOKS, FEWEST = (
    2000,
    500,
    20,
)  # answers and looks that are kept, at most; below so many looks nothing is called strange


@dataclass(frozen=True)
class Reference:
    """Answers on labeled pictures that training never saw, and what pictures of both sides look like to the model.

    Attributes
    ----------
    probabilities, labels : Tensor
        `(N, K)`, after the temperature, and `(N,)`.
    source, target : Tensor
        Features `(., D)`, float16, of held-out source pictures and of the target's that it was adapted to; a sample of each.
    """

    probabilities: Tensor
    labels: Tensor
    source: Tensor
    target: Tensor


@dataclass(frozen=True)
class Answers:
    """What a model says of pictures: probabilities `(M, K)`, and how like the source's and the target's they look, a p-value
    `(M,)` each, None where too few pictures were there to tell."""

    classes: tuple[str, ...]
    pictures: Domain
    reference: Reference | None
    probabilities: np.ndarray
    like_source: np.ndarray | None
    like_target: np.ndarray | None


def calibrate(model: Classifier, source: Splits, target: Domain, held: Domain | None = None) -> tuple[float, Reference]:
    """Divides the head of `model` by its temperature, in place, so that its softmax is calibrated, and says how it answers.

    Temperature and answers rest on the labeled target pictures `held` where there are any; else the temperature on the
    source's validation part, and the answers on its validation and test parts. Labels of `target` are never looked at.
    """
    fitted = source.val if held is None else held.align(model.classes)
    assert fitted.labels is not None
    t = operating.temperature(predict(model, fitted).numpy(), fitted.labels.cpu().numpy())
    with torch.no_grad():
        model.head.weight.div_(t)
        model.head.bias.div_(t)

    n = ROWS // 2 if held is None else LOOKS // 2
    parts = [part.take(n=n) for part in (source.val, source.test)]
    looks, logits = zip(*(novelty.looks_and_logits(model, part) for part in parts), strict=True)
    answers = torch.cat(logits).softmax(1) if held is None else predict(model, fitted)
    labels = [part.labels.cpu() for part in (parts if held is None else [fitted]) if part.labels is not None]
    on_source = torch.cat([part[: LOOKS // 2] for part in looks])  # a smaller draw is the beginning of a larger one
    on_target = novelty.looks(model, target.take(n=LOOKS))
    return t, Reference(answers, torch.cat(labels), on_source.half(), on_target.half())


def answer(model: Classifier, reference: Reference | None, pictures: Domain) -> Answers:
    """What the calibrated model says of pictures, whose labels, if any, are not looked at."""
    pictures = pictures.unlabeled()
    looks, logits = novelty.looks_and_logits(model, pictures)
    like: list = [None, None]
    if reference is not None:
        sides = reference.source, reference.target
        like = [novelty.p_values(known, looks) if len(known) >= FEWEST else None for known in sides]
    return Answers(model.classes, pictures, reference, logits.softmax(1).numpy(), *like)
