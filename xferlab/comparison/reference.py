"""What a model file keeps of the pictures it was judged on, so that `predict` gives probabilities, thresholds and doubts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import operating
from ..domains import Domain, Splits
from ..encoders import Classifier
from ..evaluation import predict

ROWS = 2000  # held-out answers that are kept, at most


@dataclass(frozen=True)
class Reference:
    """Answers on labeled pictures that training never saw.

    Attributes
    ----------
    probabilities : Tensor
        `(N, K)`, after the temperature.
    labels : Tensor
        Their classes `(N,)`.
    """

    probabilities: Tensor
    labels: Tensor


def calibrate(model: Classifier, source: Splits, held: Domain | None = None) -> tuple[float, Reference]:
    """Divides the head of `model` by its temperature, in place, so that its softmax is calibrated, and says how it answers.

    Temperature and answers rest on the labeled target pictures `held` where there are any; else the temperature on the
    source's validation part, and the answers on its validation and test parts.
    """
    fitted = source.val if held is None else held.align(model.classes)
    assert fitted.labels is not None
    t = operating.temperature(predict(model, fitted).numpy(), fitted.labels.cpu().numpy())
    with torch.no_grad():
        model.head.weight /= t
        model.head.bias /= t
    parts = [part.take(n=ROWS // 2) for part in (source.val, source.test)] if held is None else [fitted]
    return t, Reference(torch.cat([predict(model, p) for p in parts]), torch.cat([p.labels.cpu() for p in parts]))
