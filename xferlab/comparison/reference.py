"""What a model file keeps of the pictures it was judged on, so that `predict` gives probabilities, thresholds and doubts."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import novelty, operating
from ..domains import Domain, Splits
from ..encoders import Classifier
from ..evaluation import predict

ROWS, LOOKS = 2000, 500  # answers and looks that are kept, at most
FEWEST = 20  # looks, below which nothing is called strange


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


def calibrate(
    model: Classifier, source: Splits, target: Domain, held: Domain | None = None
) -> tuple[float, Reference, Answers]:
    """Divides the head of `model` by its temperature, in place, so that its softmax is calibrated, and says how it answers.

    Temperature and answers rest on the labeled target pictures `held` where there are any; else the temperature on the
    source's validation part, and the answers on its validation and test parts, `ROWS // 2` of each at most. Each part is walked
    once; labels of `target` are never looked at. Returns the temperature, what to keep, and the answers on `target`.
    """
    n = ROWS // 2 if held is None else LOOKS // 2
    val, test = (part.take(n=n) for part in (source.val, source.test))
    val_looks, val_logits = novelty.looks_and_logits(model, val)
    fitted = val if held is None else held.align(model.classes)
    raw = val_logits.softmax(1) if held is None else predict(model, fitted)
    t = operating.temperature(raw.numpy(), _labels(fitted).numpy())
    with torch.no_grad():
        model.head.weight.div_(t)
        model.head.bias.div_(t)
    test_looks, test_logits = novelty.looks_and_logits(model, test)
    if held is None:
        answers, labels = torch.cat([val_logits / t, test_logits]).softmax(1), torch.cat([_labels(val), _labels(test)])
    else:
        answers, labels = predict(model, fitted), _labels(fitted)
    # a smaller draw is the beginning of a larger one
    on_source = torch.cat([val_looks[: LOOKS // 2], test_looks[: LOOKS // 2]]).half()
    looks, logits = novelty.looks_and_logits(model, target.unlabeled())
    sample = torch.randperm(len(target), generator=torch.Generator().manual_seed(0))[:LOOKS]
    reference = Reference(answers, labels, on_source, looks[sample].half())
    return t, reference, answer(model, reference, target, (looks, logits))


def _labels(part: Domain) -> Tensor:
    assert part.labels is not None
    return part.labels.cpu()


def answer(model: Classifier, reference: Reference | None, pictures: Domain, seen: tuple | None = None) -> Answers:
    """What the calibrated model says of pictures, whose labels, if any, are not looked at; `seen` are their looks and logits."""
    looks, logits = seen or novelty.looks_and_logits(model, pictures.unlabeled())
    like: list = [None, None]
    if reference is not None:
        sides = reference.source, reference.target
        like = [novelty.p_values(known, looks) if len(known) >= FEWEST else None for known in sides]
    return Answers(model.classes, pictures.unlabeled(), reference, logits.softmax(1).numpy(), *like)
