"""What lab 04's checks recognize."""

import math

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from ...recipe import recipes
from . import Mistake, among, recognizes


@recognizes("04.1", right="The adversary goes down its loss, the encoder up, in one backward pass.")
def reversal(function):
    gradient = torch.tensor([3.0, 4.0])
    passed = function(gradient.clone(), 0.5)
    if not isinstance(passed, torch.Tensor):
        yield True, f"Return the gradient alone, one tensor of its shape; this is a {type(passed).__name__}."
    mistakes = dict(wrong_sign=gradient / 2, no_strength=-gradient, divided=-2 * gradient)
    otherwise = f"For a gradient of [3, 4] at strength 0.5 this passes back {passed.tolist()}, not [-1.5, -2]."
    yield from among(lambda value: torch.equal(passed, value), -gradient / 2, mistakes, otherwise)


@recognizes("04.2", right="Against it, 15 points may be five, or none.")
def joint_baseline(baseline):
    baseline = str(getattr(baseline, "name", baseline)).strip()
    if baseline != "source_only_joint_bn":
        yield baseline == "source_only", "target_unseen"
        unknown = f"{baseline!r} is not the name of a recipe: copy one from the table's first column, in quotes."
        yield baseline not in recipes, unknown
        missing = "what is missing is the same forward pass without any"
        yield True, Mistake("other_method", f"{baseline!r} is a method of adaptation; {missing}.")


@recognizes("04.3", right="The way to one half is what tells them apart.")
def which_is_dead(verdicts):
    verdicts = {key: str(value).strip().upper() for key, value in dict(verdicts).items()}
    whole = set(verdicts) == {"dead", "won", "healthy"} and set(verdicts.values()) == {"A", "B", "C"}
    yield not whole, "Give each of the words dead, won and healthy one of the letters A, B and C."
    yield verdicts["healthy"] == "B", "half_is_success"
    yield verdicts["healthy"] == "A", "accurate_is_healthy"
    yield verdicts["dead"] == "A", "C is healthy. Of the other two, one never moved and one stayed on top."


@recognizes("04.4", right="Logits in, finite gradient out.")
def loss_of_one_logit(origin_loss):
    logits = torch.tensor([[0.3], [-1.2], [2.0], [0.1]], requires_grad=True)
    origin = torch.tensor([1.0, 0.0, 0.0, 1.0])
    try:
        loss = origin_loss(logits, origin)
    except IndexError:
        yield True, "cross_entropy_of_one"
    except (ValueError, RuntimeError) as error:
        advice = "Take `logits[:, 0]`, and a loss that takes logits."
        yield True, f"For logits (4, 1) and origins (4,) this fails: {error}. {advice}"
    shape = tuple(loss.shape)
    yield loss.numel() != 1, f"One number is wanted, the mean over examples; this has shape {shape}."
    (gradient,) = torch.autograd.grad(loss, logits, allow_unused=True)
    yield gradient is None or not gradient.abs().sum() > 0, "softmax_of_one"
    right = binary_cross_entropy_with_logits(logits[:, 0], origin)
    everyone = binary_cross_entropy_with_logits(logits, origin.mean().expand_as(logits))
    mistakes = dict(flipped=binary_cross_entropy_with_logits(-logits[:, 0], origin), broadcast=everyone)
    otherwise = f"On four examples this gives {loss.item():.3f}, where the cross-entropy is {right.item():.3f}."
    yield from among(lambda value: torch.allclose(loss, value), right, mistakes, otherwise)
    far = torch.tensor([[200.0], [-200.0]], requires_grad=True)
    extreme = origin_loss(far, torch.tensor([0.0, 1.0]))
    yield not math.isfinite(extreme.item()), "sigmoid_then_log"
    (pull,) = torch.autograd.grad(extreme, far)
    yield not pull.abs().min() > 0, "saturated"
