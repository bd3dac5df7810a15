"""What lab 02's checks recognize."""

from __future__ import annotations

import math

import torch
from torch import nn

from ...strategies import Strategy
from . import Mistake, among, number, recognizes


@recognizes("02.1", right="Only the head moves: for K classes, K x (1280 + 1) numbers.")
def strategy_trains_the_head(strategy):
    if callable(strategy) and not isinstance(strategy, Strategy):
        return Mistake("not_called")
    if not isinstance(strategy, Strategy):
        return f"This is a {type(strategy).__name__}; the functions of xl.strategies return what is wanted."
    rates = {strategy.rate(i, 9, p / 10) for i in range(9) for p in range(11)}
    if rates == {0.0}:
        return None
    if strategy.name == "norm_only":
        return Mistake("norms_move")
    if 0.0 in rates:
        return "This freezes the encoder only for a part of the run; look for one that never lets it move."
    return Mistake("trains_encoder")


@recognizes("02.2", right="About 25 times slower than the head.")
def rate_of_the_first_block(rate):
    mistakes = (
        (1e-3 * 0.7**8, "off_by_one"),
        (0.7**9, "multiplier_only"),
        (1e-3 * 0.7, "last_block"),
        (1e-3 / 0.7**9, "faster"),
    )
    otherwise = f"{rate} is not lr * decay ** (n - i) for the first block; what are n and i?"
    return number(rate, 1e-3 * 0.7**9, mistakes, otherwise, rel_tol=1e-2)


@recognizes("02.3", right="One basophil now counts as much as twenty neutrophils.")
def balanced_weights(weights):
    weights = torch.as_tensor(weights, dtype=torch.float64)
    counts = torch.tensor([100.0, 20.0, 5.0], dtype=torch.float64)
    if weights.shape != (3,):
        return f"{tuple(weights.shape)} numbers are here; three are wanted, one for each class."

    right = 125 / (3 * counts)
    mistakes = (
        (counts / 125, "share_not_inverse"),
        (counts, "share_not_inverse"),
        (125 / counts, "forgot_classes"),
        (1 / counts, "forgot_classes"),
        (right.flip(0), "The right numbers in the other order: neutrophils, eosinophils, basophils."),
    )
    otherwise = "These are not N / (K n_k) for N = 125, K = 3 and n_k = 100, 20, 5."
    return among(lambda value: torch.allclose(weights, value, rtol=1e-2), right, mistakes, otherwise)


class _Probe(nn.Module):
    """Right on all four pictures with running statistics, wrong on some with the batch's own."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2, affine=False)
        self.norm.running_mean.zero_()
        self.norm.running_var.fill_(1.0)

    def forward(self, images):
        if images.ndim < 2:
            raise ValueError("a model takes a batch, (B, ...), and this is one picture")
        return self.norm(images.float().flatten(1))


@recognizes("02.4", right="Evaluation mode, arg max, and the model back as it came.")
def accuracy_in_evaluation_mode(accuracy):
    images = torch.tensor([[2.0, 1.0], [3.0, 1.0], [4.0, 1.0], [1.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 0])
    model = _Probe().train()
    mean_before = model.norm.running_mean.clone()
    answer = torch.as_tensor(accuracy(model, images, labels))
    if answer.numel() != 1:
        return f"These are {answer.numel()} answers; take their mean, as a number."
    answer = float(answer)
    with torch.no_grad():
        in_training = (_Probe().train()(images).argmax(1) == labels).float().mean().item()
        confidence = _Probe().eval()(images).softmax(1).max(1).values.mean().item()
    if math.isclose(answer, in_training, abs_tol=1e-6) or not torch.equal(mean_before, model.norm.running_mean):
        return Mistake("train_mode")
    if math.isclose(answer, confidence, abs_tol=1e-6):
        return Mistake("mean_of_logits")
    if math.isclose(answer, 75.0, abs_tol=1e-4):
        return Mistake("percent")
    if math.isclose(answer, 3.0):
        return "That is how many are right; divide by the number of pictures."
    if not math.isclose(answer, 0.75, abs_tol=1e-6):
        return f"On a model that is right on 3 of 4 pictures your function says {answer:.3f}, not 0.75."
    if not model.training:
        return Mistake("left_in_eval")
    if not _keeps_eval(accuracy, images, labels):
        return Mistake("left_in_train")
    return None


def _keeps_eval(accuracy, images, labels) -> bool:
    model = _Probe().eval()
    accuracy(model, images, labels)
    return not model.training


@recognizes("02.5", right="Chosen on validation, reported on test: 0.79, although run C would have looked better.")
def reported_number(reported):
    if isinstance(reported, str):
        return "A number is wanted: the score that you would report for that run."
    mistakes = ((0.85, "selected_on_test"), (0.86, "reported_validation"))
    otherwise = f"{reported} is not the test score of the run that validation would choose."
    return number(reported, 0.79, mistakes, otherwise, abs_tol=1e-6)
