"""What lab 04's checks recognize."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from ...recipe import recipes
from . import Mistake, among, recognizes


@recognizes("04.1", right="The adversary goes down its loss, the encoder up, in one backward pass.")
def reversal(function):
    gradient = torch.tensor([3.0, 4.0])
    passed = function(gradient.clone(), 0.5)
    if not isinstance(passed, torch.Tensor):
        return f"Return the gradient alone, one tensor of its shape; this is a {type(passed).__name__}."
    mistakes = ((gradient / 2, "wrong_sign"), (-gradient, "no_strength"), (-2 * gradient, "divided"))
    otherwise = f"For a gradient of [3, 4] at strength 0.5 this passes back {passed.tolist()}, not [-1.5, -2]."
    return among(lambda value: torch.equal(passed, value), -gradient / 2, mistakes, otherwise)


@recognizes("04.2", right="Against it, 15 points may be five, or none.")
def joint_baseline(baseline):
    baseline = str(getattr(baseline, "name", baseline)).strip()
    if baseline == "source_only_joint_bn":
        return None
    if baseline == "source_only":
        return Mistake("target_unseen")
    if baseline not in recipes:
        return f"{baseline!r} is not the name of a recipe: copy one from the table's first column, in quotes."
    return Mistake(
        "other_method", f"{baseline!r} is a method of adaptation; what is missing is the same forward pass without any."
    )


@recognizes("04.3", right="The way to one half is what tells them apart.")
def which_is_dead(verdicts):
    verdicts = {key: str(value).strip().upper() for key, value in dict(verdicts).items()}
    if verdicts == {"dead": "B", "won": "A", "healthy": "C"}:
        return None
    if set(verdicts) != {"dead", "won", "healthy"} or set(verdicts.values()) != {"A", "B", "C"}:
        return "Give each of the words dead, won and healthy one of the letters A, B and C."
    if verdicts["healthy"] == "B":
        return Mistake("half_is_success")
    if verdicts["healthy"] == "A":
        return Mistake("accurate_is_healthy")
    return "C is healthy. Of the other two, one never moved and one stayed on top."


@recognizes("04.4", right="Logits in, finite gradient out.")
def loss_of_one_logit(origin_loss):
    logits = torch.tensor([[0.3], [-1.2], [2.0], [0.1]], requires_grad=True)
    origin = torch.tensor([1.0, 0.0, 0.0, 1.0])
    try:
        loss = origin_loss(logits, origin)
    except IndexError:
        return Mistake("cross_entropy_of_one")
    except (ValueError, RuntimeError) as error:
        return f"For logits (4, 1) and origins (4,) this fails: {error}. Take `logits[:, 0]`, and a loss that takes logits."
    if loss.numel() != 1:
        return f"One number is wanted, the mean over examples; this has shape {tuple(loss.shape)}."
    (gradient,) = torch.autograd.grad(loss, logits, allow_unused=True)
    if gradient is None or not gradient.abs().sum() > 0:
        return Mistake("softmax_of_one")
    expected = F.binary_cross_entropy_with_logits(logits[:, 0], origin)
    if torch.allclose(loss, F.binary_cross_entropy_with_logits(-logits[:, 0], origin)):
        return Mistake("flipped")
    everyone = F.binary_cross_entropy_with_logits(logits, origin.mean().expand_as(logits))
    if torch.allclose(loss, everyone):
        return Mistake("broadcast")
    if not torch.allclose(loss, expected):
        return f"On four examples this gives {loss.item():.3f}, where the cross-entropy is {expected.item():.3f}."
    far = torch.tensor([[200.0], [-200.0]], requires_grad=True)
    extreme = origin_loss(far, torch.tensor([0.0, 1.0]))
    if not math.isfinite(extreme.item()):
        return Mistake("sigmoid_then_log")
    (pull,) = torch.autograd.grad(extreme, far)
    return None if pull.abs().min() > 0 else Mistake("saturated")
