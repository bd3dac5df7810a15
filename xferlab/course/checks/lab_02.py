"""What lab 02's checks recognize."""

import math

import torch
from torch import nn

from ...strategies import Strategy
from . import among, number, recognizes


@recognizes("02.1", right="Only the head moves: for K classes, K x (1280 + 1) numbers.")
def strategy_trains_the_head(strategy):
    if not isinstance(strategy, Strategy):
        yield callable(strategy), "not_called"
        yield True, f"This is a {type(strategy).__name__}; the functions of xl.strategies return what is wanted."
    rates = {strategy.rate(i, 9, p / 10) for i in range(9) for p in range(11)}
    if rates != {0.0}:
        yield strategy.name == "norm_only", "norms_move"
        yield 0.0 not in rates, "trains_encoder"
        yield True, "This freezes the encoder only for a part of the run; look for one that never lets it move."


@recognizes("02.2", right="About 25 times slower than the head.")
def rate_of_the_first_block(rate):
    mistakes = dict(off_by_one=1e-3 * 0.7**8, multiplier_only=0.7**9, last_block=1e-3 * 0.7, faster=1e-3 / 0.7**9)
    otherwise = "{} is not lr * decay ** (n - i) for the first block; what are n and i?"
    return number(rate, 1e-3 * 0.7**9, mistakes, otherwise, rel_tol=1e-2)


@recognizes("02.3", right="One basophil now counts as much as twenty neutrophils.")
def balanced_weights(weights):
    weights = torch.as_tensor(weights, dtype=torch.float64)
    counts = torch.tensor([100.0, 20.0, 5.0], dtype=torch.float64)
    shape = tuple(weights.shape)
    yield shape != (3,), f"{shape} numbers are here; three are wanted, one for each class."
    right = 125 / (3 * counts)
    mistakes = dict(share_not_inverse=[counts / 125, counts], forgot_classes=[125 / counts, 1 / counts]) | {
        "The right numbers in the other order: neutrophils, eosinophils, basophils.": right.flip(0)
    }
    otherwise = "These are not N / (K n_k) for N = 125, K = 3 and n_k = 100, 20, 5."
    yield from among(lambda value: torch.allclose(weights, value, rtol=1e-2), right, mistakes, otherwise)


class _Probe(nn.Module):
    """Right on all but one of four pictures with running statistics, wrong on more with the batch's own."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2, affine=False)

    def forward(self, images):
        if images.ndim < 2:
            raise ValueError("a model takes a batch, (B, ...), and this is one picture")
        return self.norm(images.float().flatten(1))


@recognizes("02.4", right="Evaluation mode, arg max, and the model back as it came.")
def accuracy_in_evaluation_mode(accuracy):
    images = torch.tensor([[2.0, 1.0], [3.0, 1.0], [4.0, 1.0], [1.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 0])
    model, evaluated = _Probe(), _Probe().eval()
    answer = torch.as_tensor(accuracy(model, images, labels))
    yield answer.numel() != 1, f"These are {answer.numel()} answers; take their mean, as a number."
    answer = float(answer)
    with torch.no_grad():
        in_training = (_Probe()(images).argmax(1) == labels).float().mean().item()
        confidence = evaluated(images).softmax(1).max(1).values.mean().item()
    yield math.isclose(answer, in_training, abs_tol=1e-6) or model.norm.running_mean.any(), "train_mode"
    yield math.isclose(answer, confidence, abs_tol=1e-6), "mean_of_logits"
    yield math.isclose(answer, 75.0, abs_tol=1e-4), "percent"
    yield math.isclose(answer, 3.0), "That is how many are right; divide by the number of pictures."
    otherwise = f"On a model that is right on 3 of 4 pictures your function says {answer:.3f}, not 0.75."
    yield not math.isclose(answer, 0.75, abs_tol=1e-6), otherwise
    yield not model.training, "left_in_eval"
    accuracy(evaluated, images, labels)
    yield evaluated.training, "left_in_train"


@recognizes("02.5", right="Chosen on validation, reported on test: 0.79, although run C would have looked better.")
def reported_number(reported):
    yield isinstance(reported, str), "A number is wanted: the score that you would report for that run."
    mistakes = dict(selected_on_test=0.85, reported_validation=0.86)
    otherwise = "{} is not the test score of the run that validation would choose."
    yield from number(reported, 0.79, mistakes, otherwise, abs_tol=1e-6)
